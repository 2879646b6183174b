"""A pipeline call whose output must have the size that was asked for."""

from __future__ import annotations

from typing import Any

from profiler.core.errors import RecordedProgramFailed
from profiler.recording.calls import PipelineCall
from profiler.recording.outputs import first_result


class CheckedCall(PipelineCall):
    """A PipelineCall that fails where the output's shape is not the one asked for.

    A VAE decoding tile by tile returns another size where its tiles do not fit together, and says nothing.
    """

    def check(self, output: Any, steps: int) -> None:
        """Compare the output's shape with what the call asked for.

        Raises:
            RecordedProgramFailed: the output has another shape.
        """
        check_shape(output, self._make_kwargs(steps), tiling=_tiles(self.pipe))


def check_shape(output: Any, kwargs: dict[str, Any], *, tiling: bool = False) -> None:
    """Compare an output with the arguments of the call; what the call left open is not compared.

    Args:
        kwargs: the call's own: `height`, `width` (pixels), `num_frames`, the prompts and the images of each.
        tiling: whether the VAE decodes tile by tile, for the hint.

    Raises:
        RecordedProgramFailed: with the shape expected and the shape found.
    """
    found = shape_of(output)
    expected = {"count": _count(kwargs), "frames": kwargs.get("num_frames")}
    expected |= {"height": kwargs.get("height"), "width": kwargs.get("width")}
    wrong = {name: size for name, size in expected.items() if size is not None and name in found and found[name] != size}
    if not wrong:
        return
    asked = found | {name: size for name, size in expected.items() if size is not None and name in found}
    hint = (
        "the VAE's tiles do not fit together: record without --vae-tiling"
        if tiling
        else "ask for a size and a batch that the pipeline makes"
    )
    raise RecordedProgramFailed(f"the output is {_words(found)}, and {_words(asked)} was asked for", hint)


def _count(kwargs: dict[str, Any]) -> int | None:
    prompt = kwargs.get("prompt")
    if prompt is None:
        return None
    each = kwargs.get("num_images_per_prompt") or kwargs.get("num_videos_per_prompt") or 1
    return (len(prompt) if isinstance(prompt, list) else 1) * int(each)


def shape_of(output: Any) -> dict[str, int]:
    """`count`, `height` and `width` of an output, `frames` of a video; empty where it holds neither picture nor video."""
    result = first_result(output)
    if result is None:
        return {}
    kind, content = result
    many = next(each for each in (getattr(output, "images", None), getattr(output, "frames", None), output) if each is not None)
    picture, shape = content, {"count": len(many[0] if isinstance(output, tuple) else many)}
    if kind == "video":
        picture, shape = content[0], shape | {"frames": len(content)}
    return shape | _picture_size(picture)


def _picture_size(picture: Any) -> dict[str, int]:
    size = getattr(picture, "size", None)
    if isinstance(size, tuple):
        return {"height": size[1], "width": size[0]}
    shape = tuple(getattr(picture, "shape", ()))
    # An array is (height, width, channels), a tensor (channels, height, width); what has no colours is no picture.
    sizes, colours = (shape[1:], shape[:1]) if callable(size) else (shape[:2], shape[2:])
    if len(shape) != 3 or colours[0] not in (1, 3, 4):
        return {}
    return {"height": int(sizes[0]), "width": int(sizes[1])}


def _words(shape: dict[str, int]) -> str:
    frames = f"{shape['frames']} frames of " if "frames" in shape else ""
    size = f"{shape['height']}x{shape['width']}" if "height" in shape else "unknown size"
    return f"{shape['count']} x {frames}{size}"


def _tiles(pipe: Any) -> bool:
    return bool(getattr(getattr(pipe, "vae", None), "use_tiling", False))
