"""Pipelines that tests record over several ranks as `rank_pipelines:function`."""

from __future__ import annotations

import os
import signal
from typing import Any

from profiler.models.base import MODELS


def dying(device: str, dtype: Any, seed: int) -> Any:
    """Rank 1 kills itself in its third forward: with one step and no warm-up calls, in the second timed call."""
    pipe = MODELS.get("flux-tiny").build(device, dtype, seed)
    inner, calls = pipe.transformer.forward, []

    def forward(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if os.environ["RANK"] == "1" and len(calls) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(*args, **kwargs)

    pipe.transformer.forward = forward
    return pipe
