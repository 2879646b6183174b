"""Whether two runs of one seed start from the same noise."""

from __future__ import annotations

import re

from profiler.rundir.layout import NOISE_DTYPE
from profiler.tables.run import Run

# From this version on the CPU's generator gives every dtype the numbers of float32, rounded, where their number is a multiple of
# 16, as that of all latents of 16 channels is; else the last 16 differ. Measured with 2.11, 2.12 and 2.13.
_ALIKE_SINCE = (2, 12)


def other_noise(run: Run, base: Run) -> str:
    """Why the two denoise other latents; empty where they do not, or where it is not known."""
    theirs, mine = _drawn(base), _drawn(run)
    if theirs is None or mine is None or theirs == mine:
        return ""
    said = [_said(theirs, base), _said(mine, run)]
    return f"the calls start from other noise, drawn {said[0]} in the base and {said[1]} here: before 2.12 each dtype has its own"


def _said(dtype: str, run: Run) -> str:
    return f"in {dtype}" if dtype == NOISE_DTYPE else f"in {dtype} by torch {_version(run)}"


def _drawn(run: Run) -> str | None:
    """The dtype that the noise is of as numbers; None where it is not known."""
    applied = run.manifest.applied
    number = re.match(r"(\d+)\.(\d+)", _version(run))
    if applied.get("noise_dtype") or number is None:
        return applied.get("noise_dtype")
    return NOISE_DTYPE if (int(number[1]), int(number[2])) >= _ALIKE_SINCE else applied.get("base_dtype")


def _version(run: Run) -> str:
    return str((run.manifest.environment.get("versions") or {}).get("torch") or "")
