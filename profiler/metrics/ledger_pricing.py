"""Traced time into untraced time: busy rows stand, idle rows give up what recording cost, so that the window equals the untraced
call.

What recording costs grows with the events that were recorded: a pause full of operators gives up more than a sleep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from profiler.metrics.host_states import PROFILER_OVERHEAD
from profiler.metrics.ledger_long_calls import Spent, bounded_ns, least_share
from profiler.metrics.ledger_recording import Marks, cost_of_a_mark, idle_of, kept_ns
from profiler.metrics.ledger_segments import BUSY, Cut, in_windows
from profiler.metrics.windows import CALL, STEP
from profiler.rundir.manifest import Manifest


@dataclass(frozen=True)
class Pricing:
    """How idle time was priced.

    Args:
        factor: priced over traced idle time of the basis; 1 where not calibrated.
        mark_ns: what was taken from an idle segment for each begin and end of a host event in it.
        rest_factor: what idle time was multiplied by after that.
        calibrated: whether an untraced time is known. If not, an idle price lies between 0 and its traced time.
        overhead_factor: what the profiler's own overhead was multiplied by: 0, since no untraced call has it.
        basis: the window whose untraced time is known ("call", "step"), or empty.
        traced_ns, untraced_ns: of that window, on average; None where unknown.
        note: what a reader must know, or empty.
        standing_factor: what waiting for a rank that was busy was multiplied by: below 1 only where no other idle time is left.
        least: of a calibrated idle price, the share that it is in any case; below 1 where timed calls may have lower clocks.
    """

    factor: float
    mark_ns: float
    rest_factor: float
    calibrated: bool
    overhead_factor: float
    basis: str = ""
    traced_ns: int | None = None
    untraced_ns: int | None = None
    note: str = ""
    standing_factor: float = 1.0
    least: float = 1.0


@dataclass(frozen=True)
class _Sums:
    busy: int
    idle: int
    overhead: int
    windows: int


def pricing_of(manifest: Manifest, cut: Cut, windows: pl.DataFrame, marks: Marks) -> Pricing:
    """The pricing of a run.

    The untraced time of a recording is that of its call; of an import, that of one window: a step where the trace has any.
    """
    basis = _basis(manifest, windows)
    chosen = windows.filter(pl.col("name") == basis)
    untraced, why = _untraced_ns(manifest)
    sums = _sums(cut, chosen)
    if untraced is None or not sums.windows:
        traced = (sums.busy + sums.idle + sums.overhead) // sums.windows if sums.windows else None
        note = why or "no untraced time: idle prices are as traced, and may be as low as 0"
        return Pricing(1.0, 0.0, 1.0, False, 1.0, "", traced, None, note)
    call = Spent(sums.busy / sums.windows, sums.idle / sums.windows)
    bounded = _bounded(manifest, cut, windows, call, untraced) if basis == CALL and sums.windows == 1 else untraced
    pricing = _calibrated(sums, bounded, basis, lambda: idle_of(cut, marks, chosen))
    if bounded == untraced:
        return pricing
    least = least_share(manifest, call, bounded)
    return replace(pricing, note=_bound_note(manifest, untraced, least, pricing.note), least=least)


def _bounded(manifest: Manifest, cut: Cut, windows: pl.DataFrame, call: Spent, untraced: int) -> int:
    """Ranks wait for each other in every call: what bounds one of them is not known."""
    chosen = windows.filter(pl.col("name") == STEP).sort("index")
    if manifest.world_size > 1 or chosen.is_empty():
        return untraced
    steps = [_sums(cut, chosen.slice(number, 1)) for number in range(chosen.height)]
    return bounded_ns(manifest, untraced, call, [Spent(each.busy, each.idle) for each in steps])


def _bound_note(manifest: Manifest, untraced: int, least: float, note: str) -> str:
    timed, short = manifest.timed.get("steps"), manifest.untraced.get("steps")
    why = f"calls of {short} steps took {untraced / 1e6:,.1f} ms, which is slower a step than those of {timed}: priced by these"
    if least < 1:
        why += f", which reached the power limit: idle time may be as little as {least:.0%} of its price, the rest lower clocks"
    return f"{why}; {note}" if note else why


def knows_untraced(manifest: Manifest) -> bool:
    """Whether the untraced time of what was traced is known."""
    return _untraced_ns(manifest)[0] is not None


def stretch_of(manifest: Manifest, events: pl.DataFrame, windows: pl.DataFrame) -> float:
    """Traced over untraced idle time, >= 1: 1 where no untraced time is known, infinite where it leaves no idle time.

    Args:
        events: of `gpu_timeline.device_events`.
    """
    untraced, _ = _untraced_ns(manifest)
    if untraced is None or events.is_empty():
        return 1.0
    spent, calls = _spent(events, windows, _basis(manifest, windows))
    if _basis(manifest, windows) == CALL and manifest.world_size == 1 and calls == 1:
        in_order = windows.filter(pl.col("name") == STEP).sort("index")
        steps = [_spent(events, in_order.slice(number, 1), STEP)[0] for number in range(in_order.height)]
        untraced = bounded_ns(manifest, untraced, spent, steps)
    idle, left = spent.idle, untraced * calls - spent.busy
    return max(1.0, idle / left) if left > 0 else float("inf")


def _spent(events: pl.DataFrame, windows: pl.DataFrame, name: str) -> tuple[Spent, int]:
    """Of all windows of a name, and how many they are."""
    spans = windows.filter(pl.col("name") == name).select("start_ns", "end_ns").rows()
    busy = sum(_busy_ns(events, start, end) for start, end in spans)
    return Spent(busy, sum(end - start for start, end in spans) - busy), len(spans)


def _busy_ns(events: pl.DataFrame, start: int, end: int) -> int:
    owned = pl.min_horizontal("end_ns", pl.lit(end)) - pl.max_horizontal("own_ns", pl.lit(start))
    return int(events.select(owned.clip(lower_bound=0).sum()).item())


def _basis(manifest: Manifest, windows: pl.DataFrame) -> str:
    return STEP if manifest.kind == "import" and (windows["name"] == STEP).any() else CALL


def _untraced_ns(manifest: Manifest) -> tuple[int | None, str]:
    untraced = manifest.untraced.get("dur_ns")
    if not isinstance(untraced, int | float) or isinstance(untraced, bool) or untraced <= 0:
        return None, ""
    steps, traced_steps = manifest.untraced.get("steps"), manifest.traced.get("steps")
    if steps is not None and traced_steps is not None and steps != traced_steps:
        return None, f"the untraced call has {steps} steps, the traced one {traced_steps}: idle prices are as traced"
    return round(untraced), ""


def _sums(cut: Cut, windows: pl.DataFrame) -> _Sums:
    segments = in_windows(cut.segments.select("start_ns", "end_ns", "number", "host_ns"), windows)
    by_number = segments.group_by("number").agg((pl.col("end_ns") - pl.col("start_ns")).sum().alias("total_ns"))
    labelled = by_number.join(cut.labels, on="number")
    busy, overhead = pl.col("kind") == BUSY, pl.col("label") == PROFILER_OVERHEAD
    parts = {"busy": busy, "idle": ~busy & ~overhead, "overhead": overhead}
    found = labelled.select(pl.col("total_ns").filter(part).sum().alias(name) for name, part in parts.items())
    return _Sums(**found.row(0, named=True), windows=windows.height)


def _calibrated(sums: _Sums, untraced: int, basis: str, idle: Callable[[], pl.DataFrame]) -> Pricing:
    traced = (sums.busy + sums.idle + sums.overhead) // sums.windows
    left = untraced * sums.windows - sums.busy
    known: dict[str, Any] = {"calibrated": True, "basis": basis, "traced_ns": traced, "untraced_ns": untraced}
    if left <= 0:
        note = "busy time alone is more than the untraced time: idle time is priced at 0" if left else ""
        return Pricing(0.0, 0.0, 0.0, overhead_factor=0.0, note=note, standing_factor=0.0, **known)
    if sums.idle:
        note = "the untraced call took longer than the traced one: times of this machine are noisy" if untraced > traced else ""
        mark, rest, standing = _without_recording(idle(), left)
        return Pricing(left / sums.idle, mark, rest, overhead_factor=0.0, note=note, standing_factor=standing, **known)
    if sums.overhead:
        note = "all idle time is the profiler's overhead, and the untraced call still is longer than the busy time"
        return Pricing(factor=1.0, mark_ns=0.0, rest_factor=1.0, overhead_factor=left / sums.overhead, note=note, **known)
    note = "no idle time to lay the rest of the untraced time to"
    return Pricing(factor=1.0, mark_ns=0.0, rest_factor=1.0, overhead_factor=0.0, note=note, **known)


def _without_recording(idle: pl.DataFrame, left: int) -> tuple[float, float, float]:
    """(mark_ns, rest_factor, standing_factor) that bring the idle segments to what is left; what stands gives up last."""
    own, stands = idle.filter(~pl.col("stands")), int(idle.filter("stands")["length_ns"].sum())
    total = int(own["length_ns"].sum())
    if total + stands <= left:
        return 0.0, left / (total + stands), left / (total + stands)
    room = left - stands
    if room <= 0:
        return 0.0, 0.0, left / stands
    mark = cost_of_a_mark(own, room)
    kept = kept_ns(own, mark)
    if kept <= 0:  # every segment is full of events: all are scaled alike
        return 0.0, room / total, 1.0
    return mark, room / kept, 1.0


def price(rows: pl.DataFrame, pricing: Pricing) -> pl.DataFrame:
    """Rows with `priced_ns` and `priced_low_ns`, whole nanoseconds; rounding is carried from row to row, so that none is lost.

    Args:
        rows: with `kept_ns`, the sum over a row's segments of what recording left of them, and `standing_ns` of those that stand.
    """
    busy = pl.col("kind") == BUSY
    overhead = pl.col("label") == PROFILER_OVERHEAD
    rest = pl.col("kept_ns") * pricing.rest_factor + pl.col("standing_ns") * pricing.standing_factor
    untraced = pl.when(overhead).then(pl.col("total_ns") * pricing.overhead_factor).otherwise(rest)
    exact = pl.when(busy).then(0.0).otherwise(untraced).cum_sum().round().cast(pl.Int64)
    scaled = exact - exact.shift(1).fill_null(0)
    priced = pl.when(busy).then("total_ns").otherwise(scaled)
    least = pl.lit(pricing.least if pricing.calibrated else 0.0)
    low = pl.when(busy).then("total_ns").otherwise((priced * least).floor())
    return rows.with_columns(priced.alias("priced_ns"), low.cast(pl.Int64).alias("priced_low_ns")).drop("kept_ns", "standing_ns")
