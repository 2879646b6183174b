"""One pipeline call, repeatable: the same arguments and the same random numbers every time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from profiler.recording.device import synchronize


class PipelineCall:
    """A call of a pipeline that can be made again with another number of steps.

    Args:
        pipe: the pipeline.
        make_kwargs: steps -> keyword arguments, with a fresh generator each time.
        steps: denoising steps of a full call.
        device: "cuda" or "cpu".
    """

    def __init__(self, pipe: Any, make_kwargs: Callable[[int], dict[str, Any]], steps: int, device: str) -> None:
        self.pipe = pipe
        self.steps = steps
        self.device = device
        self._make_kwargs = make_kwargs

    def __call__(self, steps: int | None = None) -> Any:
        """Call the pipeline, wait for the device, check the output."""
        output = self._call(steps)
        self.check(output, steps or self.steps)
        return output

    def _call(self, steps: int | None) -> Any:
        import torch

        kwargs = self._make_kwargs(steps or self.steps)
        with torch.no_grad():
            output = self.pipe(*self.positional(), **kwargs)
        synchronize(self.device)
        return output

    def positional(self) -> tuple[Any, ...]:
        """Positional arguments of the call; none unless a subclass keeps some."""
        return ()

    def timed(self, steps: int | None = None) -> tuple[int, Any]:
        """(duration in ns, output) of one call that starts on an idle device."""
        synchronize(self.device)
        start = time.perf_counter_ns()
        output = self._call(steps)
        duration = time.perf_counter_ns() - start
        self.check(output, steps or self.steps)
        return duration, output

    def check(self, output: Any, steps: int) -> None:
        """Raise where the output is wrong; nothing unless a subclass knows. No timed call holds it."""


def show_progress(pipe: Any, visible: bool) -> None:
    """Turn the pipeline's own progress bar on or off."""
    if callable(getattr(pipe, "set_progress_bar_config", None)):
        pipe.set_progress_bar_config(disable=not visible, leave=False)
