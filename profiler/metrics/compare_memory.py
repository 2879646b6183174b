"""The memory of two runs: the peaks of their phases, and what lived at the peak of a call and of each of its windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.metrics.memory import CATEGORIES, MemoryPeak, MemorySummary, labels, memory_summary, peak, timeline
from profiler.metrics.windows import DECODE, STEP, TEXT
from profiler.tables.run import Run

MODEL, LOAD, QUANTIZE, WARMUP = "model memory", "load peak", "quantize peak", "warm-up peak"
INFERENCE, SINCE_START = "inference peak", "peak since start"
ROUNDING, UNSEEN = "allocator rounding", "not in the events"


@dataclass(frozen=True)
class Bytes:
    """One size of two runs in bytes; None where a run does not say. `base_where` and `new_where`: phase or window it lies in."""

    name: str
    base: int | None
    new: int | None
    base_where: str = ""
    new_where: str = ""

    @property
    def delta(self) -> int | None:
        """New less base; negative where it shrank."""
        return None if self.base is None or self.new is None else self.new - self.base


@dataclass(frozen=True)
class MemoryDifference:
    """Memory of two runs.

    Args:
        phases: model memory and the peaks of the phases, as the allocator counts.
        peak: by category what lived at the peak of the call, with `allocator rounding`: sums to `max_memory_allocated` of each;
            only requested bytes where nobody counted that (a CPU). Empty without memory events.
        windows: the peaks of text encoding, the steps and decoding in requested bytes, by category.
        holders: the biggest thing at each peak that is no weight, in words (base, new).
        lower_bound: why figures from events are only lower bounds; empty where the events are whole.
        not_compared: why there is nothing from events; empty where there is.
    """

    phases: list[Bytes]
    peak: list[Bytes]
    windows: dict[str, list[Bytes]]
    holders: tuple[str, str]
    lower_bound: str = ""
    not_compared: str = ""

    def phase(self, name: str) -> Bytes:
        """One of `phases` by name."""
        return next(each for each in self.phases if each.name == name)


@dataclass(frozen=True)
class MemoryOf:
    """What one run says about its memory; `why` says why there is nothing from events."""

    summary: MemorySummary
    peak: MemoryPeak | None
    windows: dict[str, dict[str, int]]
    why: str = ""


def memory_of(run: Run, rank: int = 0) -> MemoryOf:
    """Read a run's memory, of several ranks that of one, as far as it has any."""
    try:
        highest = peak(run, rank)
        return MemoryOf(memory_summary(run, rank), highest, _windows(run, highest, rank))
    except UnreadableInput as error:
        return MemoryOf(memory_summary(run, rank), None, {}, error.message)


def compare_memory(new: MemoryOf, base: MemoryOf) -> MemoryDifference:
    """The memory of two runs, what `memory_of` says about them."""
    phases = _phases(new, base)
    if base.peak is None or new.peak is None:
        why = "; ".join(sorted({each.why for each in (base, new) if each.why}))
        return MemoryDifference(phases, [], {}, ("", ""), not_compared=f"no memory snapshot ({why})")
    return MemoryDifference(
        phases=phases,
        peak=_pairs(_whole(base.peak), _whole(new.peak)),
        windows={name: _pairs(base.windows[name], new.windows[name]) for name in base.windows if name in new.windows},
        holders=(_holder(base.peak), _holder(new.peak)),
        lower_bound=base.peak.lower_bound or new.peak.lower_bound,
    )


def _phases(new: MemoryOf, base: MemoryOf) -> list[Bytes]:
    a, b = base.summary, new.summary
    where = tuple(window_name(each.peak.window) if each.peak else "" for each in (base, new))
    return [
        Bytes(MODEL, a.model_bytes, b.model_bytes),
        Bytes(LOAD, a.load_peak_bytes, b.load_peak_bytes),
        Bytes(QUANTIZE, a.quantize_peak_bytes, b.quantize_peak_bytes),
        Bytes(WARMUP, a.warmup_peak_bytes, b.warmup_peak_bytes),
        Bytes(INFERENCE, a.inference_peak_bytes, b.inference_peak_bytes, *where),
        Bytes(SINCE_START, a.since_start_peak_bytes, b.since_start_peak_bytes, a.since_start_phase, b.since_start_phase),
    ]


def window_name(label: str) -> str:
    """A window without its number: `step/1` is a step."""
    return label.partition("/")[0]


def _whole(of: MemoryPeak) -> dict[str, int]:
    """By category, with what rounding and lost events add to reach the allocator's own peak."""
    if of.allocated_bytes is None or of.counted_bytes is None:
        return of.by_category
    unseen = of.counted_bytes - of.requested_bytes
    return of.by_category | ({UNSEEN: unseen} if unseen else {}) | {ROUNDING: of.allocated_bytes - of.counted_bytes}


def _pairs(base: Mapping[str, int], new: Mapping[str, int]) -> list[Bytes]:
    order = [*CATEGORIES, UNSEEN, ROUNDING]
    return [Bytes(name, base.get(name, 0), new.get(name, 0)) for name in order if name in base or name in new]


def _windows(run: Run, highest: MemoryPeak, rank: int) -> dict[str, dict[str, int]]:
    """By window, the categories at its peak; of several steps the one that needs most."""
    wide = timeline(run, rank, by="category").wide()
    return {name: _categories(wide, index) for name, index in _peaks(highest)}


def _peaks(highest: MemoryPeak) -> Iterator[tuple[str, int]]:
    found: dict[str, int] = {}
    for label, index in highest.windows.select("label", "index").iter_rows():
        found.setdefault(window_name(label), index)
    yield from ((name, found[name]) for name in (TEXT, STEP, DECODE) if name in found)


def _categories(wide: pl.DataFrame, index: int) -> dict[str, int]:
    row = wide.filter(pl.col("index") <= index).tail(1).drop("index", "time_us")
    return {name: int(size) for name, size in (row.row(0, named=True) if row.height else {}).items() if size}


def _holder(of: MemoryPeak) -> str:
    """The biggest group at a peak that is no weight: what it is, and whose."""
    others = of.groups.filter(~pl.col("category").is_in([labels.WEIGHTS, labels.BEFORE, labels.UNKNOWN])).head(1)
    if others.is_empty():
        return ""
    row = others.row(0, named=True)
    what = row["category"] if row["role"] in ("", row["category"], "activation") else f"{row['role']} {row['category']}"
    return f"{what} of {row['module'] or row['component']}"
