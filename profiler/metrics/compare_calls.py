"""A whole call of two runs: what was timed, with its spread, and the windows that the difference comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from profiler.metrics.compare_time import WindowDifference
from profiler.metrics.phases import Timed, timed
from profiler.metrics.windows import CALL, DECODE, STEP, TEXT
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest

OUTSIDE, LONGER = "outside these windows", "not explained by the trace"


@dataclass(frozen=True)
class Part:
    """What one window gives to a call, in ms: its untraced time by how often it comes.

    Two parts are no windows: `outside these windows` is what the traced call holds beside them, `not explained by the trace` what
    the timed call took more or less than the sum (other clocks in a longer call, steps that are not like the traced ones).
    """

    name: str
    base_ms: float
    new_ms: float

    @property
    def delta_ms(self) -> float:
        """New less base."""
        return self.new_ms - self.base_ms


@dataclass(frozen=True)
class CallDifference:
    """The timed calls of two runs.

    Args:
        base, new: median, spread, repeats of each; None where none was timed.
        steps: denoising steps of the timed call: base, new.
        spread_ms: the larger spread of both; None where either was timed once.
        parts: sum to the medians; empty where a median or the windows are missing.
        ready_ms: what quantizing and the first call take more in the new run than in the base: compiling, mostly.
    """

    base: Timed
    new: Timed
    steps: tuple[int | None, int | None]
    spread_ms: float | None
    parts: list[Part]
    ready_ms: float | None

    @property
    def delta_ms(self) -> float | None:
        """New less base median; None where either is missing."""
        return (
            None if None in (self.base.median_ms, self.new.median_ms) else (self.new.median_ms or 0) - (self.base.median_ms or 0)
        )

    @property
    def speedup(self) -> float | None:
        """Base over new median; above 1 the new run is faster."""
        return self.base.median_ms / self.new.median_ms if self.base.median_ms and self.new.median_ms else None

    @property
    def within_spread(self) -> bool | None:
        """Whether the medians differ by no more than calls of one run do; None where that is not known."""
        return None if self.delta_ms is None or self.spread_ms is None else abs(self.delta_ms) <= self.spread_ms

    @property
    def break_even_calls(self) -> float | None:
        """Calls after which the time to get ready is earned back; None where there is nothing to pay or nothing is gained."""
        if self.ready_ms is None or self.delta_ms is None or self.ready_ms <= 0 or self.delta_ms >= 0:
            return None
        return self.ready_ms / -self.delta_ms


def compare_calls(new: Manifest, base: Manifest, windows: Mapping[str, WindowDifference]) -> CallDifference:
    """The calls of two runs; `windows` as `compare_time.compare_windows` gives them, perhaps none."""
    times = timed(base), timed(new)
    spreads = [each.spread_ms for each in times if each.repeats > 1 and each.spread_ms is not None]
    steps = base.timed.get("steps"), new.timed.get("steps")
    ready = _ready_ms(base), _ready_ms(new)
    return CallDifference(
        base=times[0],
        new=times[1],
        steps=steps,
        spread_ms=max(spreads) if len(spreads) == 2 else None,
        parts=_parts(windows, steps, (times[0].median_ms, times[1].median_ms)),
        ready_ms=None if ready[0] is None or ready[1] is None else ready[1] - ready[0],
    )


def _parts(
    windows: Mapping[str, WindowDifference], steps: tuple[int | None, int | None], medians: tuple[float | None, float | None]
) -> list[Part]:
    if STEP not in windows or None in (*steps, *medians):
        return []
    found = [_part(windows[name], steps) for name in (TEXT, STEP, DECODE) if name in windows]
    if CALL in windows:
        found.append(Part(OUTSIDE, *(_outside_ms(windows, new) for new in (False, True))))
    summed = sum(each.base_ms for each in found), sum(each.new_ms for each in found)
    return [*found, Part(LONGER, (medians[0] or 0) - summed[0], (medians[1] or 0) - summed[1])]


def _part(window: WindowDifference, steps: tuple[int | None, int | None]) -> Part:
    times = [(count or 1) if window.name == STEP else 1 for count in steps]
    return Part(window.name, window.base_ns * times[0] / 1e6, window.new_ns * times[1] / 1e6)


def _outside_ms(windows: Mapping[str, WindowDifference], new: bool) -> float:
    """Of the traced call, what lies in none of its windows."""

    def total_ns(name: str) -> int:
        each = windows.get(name)
        if each is None:
            return 0
        return each.new_traced_ns if new else each.base_traced_ns

    return (total_ns(CALL) - sum(total_ns(name) for name in (TEXT, STEP, DECODE))) / 1e6


def _ready_ms(manifest: Manifest) -> float | None:
    """Quantizing, and what the first call takes more than a later one of the same length; None where that is not known."""
    warmup, quantize = manifest.phase(layout.WARMUP), manifest.phase(layout.QUANTIZE)
    first: float | None = warmup.detail.get("first_call_ns") if warmup else None
    later: float | None = manifest.untraced.get("dur_ns")
    same = warmup is not None and warmup.detail.get("steps") == manifest.untraced.get("steps")
    if first is None or later is None or not same or quantize is None or quantize.end_ns is None:
        return None
    return (first - later + quantize.end_ns - quantize.start_ns) / 1e6
