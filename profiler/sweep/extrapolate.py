"""A call of many steps from calls of few: a fixed part (text encoding, decoding, starting) and a part for each step."""

from __future__ import annotations

import math
import statistics
from typing import Any

from profiler.rundir.manifest import Manifest

# Steps, median ms, half the spread in ms.
_Length = tuple[int, float, float]
# Of a millisecond, in `sweep.json`.
_DIGITS = 4
# How the note of `why_not` begins.
NOTE = "not extrapolated to "


def extrapolate(manifest: Manifest, steps: int) -> dict[str, Any] | None:
    """The parts of a call as measured at two step counts, and the error that their spreads make in a call of `steps`.

    The run has timed calls of one length and untraced calls of another; both with nothing recorded. In a call of N steps the
    time is fixed_ms + N * step_ms, with an error of error_ms: half the spread (largest minus smallest) of both, carried through.
    It holds where each step costs the same; it is no bound on what clocks and heat do in a longer call.

    Returns:
        {"from_steps": [few, more], "fixed_ms", "step_ms", "error_ms"}, or None where the run does not have both lengths twice, or
        `why_not` says why.
    """
    found = _lengths(manifest, steps)
    if found is None or not _takes_time(*found):
        return None
    (low, low_ms, low_error), (high, high_ms, high_error) = found
    step_ms = (high_ms - low_ms) / (high - low)
    error = math.hypot(high_error * (steps - low), low_error * (steps - high)) / (high - low)
    parts = {"fixed_ms": low_ms - low * step_ms, "step_ms": step_ms, "error_ms": error}
    return {"from_steps": [low, high], **{name: round(value, _DIGITS) for name, value in parts.items()}}


def why_not(manifest: Manifest, steps: int) -> str | None:
    """Why two lengths that were measured say nothing of a call of `steps`, in one line; None where they do, or are not there."""
    found = _lengths(manifest, steps)
    if found is None or _takes_time(*found):
        return None
    (low, *_), (high, *_) = found
    return f"{NOTE}{steps} steps: calls of {high} took no longer than those of {low}, and the time is of {high}"


def call_ms(parts: dict[str, Any], steps: int) -> float:
    """Milliseconds of a call of `steps` by its parts."""
    return float(parts["fixed_ms"] + steps * parts["step_ms"])


def _lengths(manifest: Manifest, steps: int) -> tuple[_Length, _Length] | None:
    """The shorter and the longer calls, where there are both and `steps` are more."""
    few, more = _calls(manifest.untraced, "calls_ns"), _calls(manifest.timed, "iterations_ns")
    return None if few is None or more is None or few[0] >= more[0] or steps <= more[0] else (few, more)


def _takes_time(few: _Length, more: _Length) -> bool:
    """Whether a step takes any time, as it is written down: noise can make it none, or less."""
    return round((more[1] - few[1]) / (more[0] - few[0]), _DIGITS) > 0


def _calls(measured: dict[str, Any], name: str) -> _Length | None:
    """(steps, median ms, half the spread in ms) of calls of one length; None where fewer than two were measured."""
    durations, steps = measured.get(name) or [], measured.get("steps")
    if steps is None or len(durations) < 2:
        return None
    return steps, statistics.median(durations) / 1e6, (max(durations) - min(durations)) / 2e6
