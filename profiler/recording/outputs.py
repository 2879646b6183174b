"""What the run made: the picture or video, and the tensors that qualities are computed from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from profiler.recording.marks import replaced


class Capture:
    """Latents and transformer output of the first and last step of one call, copied to the CPU as float32."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self.steps = 0

    @contextmanager
    def watching(self, pipe: Any) -> Iterator[None]:
        """Capture from the scheduler's steps of `pipe` while inside; a pipeline without a scheduler gives nothing."""
        scheduler = getattr(pipe, "scheduler", None)
        inner = getattr(scheduler, "step", None)
        if not callable(inner):
            yield
            return

        def step(model_output: Any, timestep: Any, sample: Any, *args: Any, **kwargs: Any) -> Any:
            result = inner(model_output, timestep, sample, *args, **kwargs)
            self._note(model_output, result[0] if isinstance(result, tuple) else result.prev_sample)
            return result

        with replaced(scheduler, "step", step):
            yield

    def _note(self, model_output: Any, latents: Any) -> None:
        self.steps += 1
        self._last = {"transformer_output": _to_cpu(model_output), "latents": _to_cpu(latents)}
        self._first = self._first or self._last

    def arrays(self) -> dict[str, Any]:
        """Names to float32 arrays: `first_latents`, `first_transformer_output`, `last_...`, and `steps`."""
        named = {f"first_{k}": v for k, v in self._first.items()} | {f"last_{k}": v for k, v in self._last.items()}
        return named | ({"steps": self.steps} if named else {})

    @property
    def finite(self) -> bool | None:
        """Whether all that was captured is finite; None where nothing was."""
        import numpy as np

        values = [each for name, each in self.arrays().items() if name != "steps"]
        return all(bool(np.isfinite(each).all()) for each in values) if values else None


def save_arrays(arrays: dict[str, Any], path: Path) -> None:
    """Write `output.npz`."""
    import numpy as np

    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


def first_result(output: Any) -> tuple[str, Any] | None:
    """("image", picture) or ("video", frames) of a pipeline's output; None where it holds neither."""
    for attribute in ("images", "frames"):
        found = getattr(output, attribute, None)
        if found is None and isinstance(output, tuple) and output:
            found = output[0]
        if found is not None and len(found):
            first = found[0]
            if getattr(first, "ndim", 3) < 3:  # latents, packed or not decoded: no picture
                return None
            return ("video", list(first)) if _is_video(first) else ("image", first)
    return None


def save_image(picture: Any, path: Path) -> None:
    """Write a picture (PIL, or an array in 0..1) as PNG."""
    _to_pil(picture).save(path, format="PNG")


def save_video(frames: list[Any], path: Path, fps: int = 8) -> None:
    """Write frames as MP4; raises ImportError where no encoder is installed."""
    import imageio
    import numpy as np

    try:
        import imageio_ffmpeg  # noqa: F401
    except ImportError:
        raise ImportError("no MP4 encoder here: install imageio-ffmpeg") from None
    with imageio.get_writer(str(path), format="FFMPEG", fps=fps, macro_block_size=1) as writer:
        for frame in frames:
            writer.append_data(np.asarray(_to_pil(frame)))


def _is_video(first: Any) -> bool:
    return isinstance(first, list) or getattr(first, "ndim", 0) == 4


def _to_cpu(tensor: Any) -> Any:
    import torch

    return tensor.detach().to("cpu", torch.float32).numpy()


def _to_pil(picture: Any) -> Any:
    from PIL import Image

    if isinstance(picture, Image.Image):
        return picture
    import numpy as np

    array = np.asarray(picture, dtype="float32")
    return Image.fromarray((np.nan_to_num(array).clip(0, 1) * 255).round().astype("uint8"))
