"""What an HTML report shows of a run, gathered: the data of `show`, `diagnose`, `memory`, `compare` and `tune`.

What a run does not have is named with the reason, and the rest still comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import polars as pl

from profiler.core.errors import DiffuscopeError
from profiler.metrics.main_rank import memory_rank
from profiler.metrics.memory import LOAD_PART, MEMORY_PART, has_part, peak, study, timeline
from profiler.metrics.memory.live import alive_at
from profiler.report import diagnose as diagnosis
from profiler.report.compare import compare_data
from profiler.report.diagnose_text import source_lines
from profiler.report.html_columns import COLUMNS, highest, moments
from profiler.report.memory import memory_data
from profiler.report.show import show_data
from profiler.report.tune import tune_data
from profiler.rundir import layout
from profiler.tables.run import Run

T = TypeVar("T")
# Allocations and groups at a peak; source lines on either side of a finding's.
_TOP, _AROUND = 12, 3
DIAGNOSIS, KERNELS, MEMORY, LOADING = "diagnosis", "kernels", "memory", "loading"
COMPARISON, TUNE, SOURCES, RANKS = "comparison", "tuning", "source lines", "ranks"


@dataclass(frozen=True)
class Missing:
    """A section that could not be made, and why."""

    section: str
    why: str
    hint: str = ""


@dataclass(frozen=True)
class Memory:
    """Memory of one part of a run.

    Args:
        data: of `report.memory.memory_data`.
        labels: categories, from the bottom.
        times_ms: since the first event; values hold until the next. Empty, as is what follows, where no events are known.
        live_bytes: label -> bytes at each time; they sum to what lived at one moment.
        always: label -> what of it lives throughout.
        held: (category, component, role) -> bytes at the peak.
    """

    data: dict[str, Any]
    labels: list[str]
    times_ms: list[float]
    live_bytes: dict[str, list[int]]
    always: dict[str, int]
    held: dict[tuple[str, str, str], int]


@dataclass
class Gathered:
    """Everything of one report; None for what there is not, `missing` says why."""

    show: dict[str, Any]
    diagnosis: dict[str, Any] | None = None
    memory: Memory | None = None
    loading: Memory | None = None
    comparison: dict[str, Any] | None = None
    tune: dict[str, Any] | None = None
    sources: dict[tuple[str, int], list[str]] = field(default_factory=dict)
    missing: list[Missing] = field(default_factory=list)

    @property
    def sections(self) -> list[str]:
        """What it has."""
        made = {
            COMPARISON: self.comparison,
            TUNE: self.tune,
            DIAGNOSIS: self.diagnosis,
            RANKS: self.show.get("ranks"),
            KERNELS: self.show["classes"],
            MEMORY: self.memory and (self.memory.labels or self.memory.data["oom"]),
            LOADING: self.loading,
        }
        return [name for name, data in made.items() if data]


def gather(run: Run, base: Run | None = None, rank: int | None = None) -> Gathered:
    """Everything that a report on a run shows; with a base run also the comparison.

    Args:
        rank: of several, whose time and memory; by default the median's time, and the memory of the one that needs most.
    """
    found = Gathered(show=show_data(run, rank=rank))
    if base is not None:
        found.comparison = _tried(found, COMPARISON, lambda: compare_data([base, run], rank)["comparisons"][0])
    if run.manifest.kind == "tune":
        found.tune = _tried(found, TUNE, lambda: tune_data(run))
        return found
    found.diagnosis = _tried(found, DIAGNOSIS, lambda: diagnosis.to_json(diagnosis.diagnose(run, base, rank=rank)))
    problem = found.show["trace"]["problem"]
    if problem:
        found.missing.append(Missing(KERNELS, problem))
    held = memory_rank(run) if rank is None else rank
    found.memory = _tried(found, MEMORY, lambda: _memory(found, run, held, MEMORY_PART))
    if has_part(run, held, LOAD_PART):
        found.loading = _tried(found, LOADING, lambda: _memory(found, run, held, LOAD_PART))
    found.sources = _sources(run, found)
    return found


def _tried(found: Gathered, section: str, make: Callable[[], T]) -> T | None:
    try:
        return make()
    except DiffuscopeError as error:
        found.missing.append(Missing(section, error.message, error.hint))
        return None


def _memory(found: Gathered, run: Run, rank: int, part: str) -> Memory:
    data = memory_data(run, part, top=_TOP, rank=rank)
    if not data["timeline"]:
        found.missing.append(Missing(MEMORY, data["problem"] or ""))
        return Memory(data, [], [], {}, {}, {})
    wide, labels = moments(timeline(run, rank, part))
    columns = wide[highest(wide)]
    held = alive_at(study(run, rank, part).rows, peak(run, rank, part, top=0).index)
    sums = held.group_by("category", "component", "role").agg(pl.col("size_bytes").sum()).sort("category", "component", "role")
    span_ms = (data["timeline"]["end_us"] - data["timeline"]["start_us"]) / 1e3
    return Memory(
        data=data,
        labels=labels,
        times_ms=[span_ms * number / COLUMNS for number in range(COLUMNS + 1)],
        # The last column ends where the events do.
        live_bytes={name: [*columns[name], columns[name][-1]] for name in labels},
        always={name: int(wide[name].min() or 0) for name in labels},  # type: ignore[arg-type]
        held={(category, component, role): size for category, component, role, size in sums.iter_rows()},
    )


def _sources(run: Run, found: Gathered) -> dict[tuple[str, int], list[str]]:
    """The recorded lines around every place of a finding, as far as they were kept."""
    if found.diagnosis is None:
        return {}
    path = run.artifact(layout.SOURCES, found.diagnosis.get("rank", 0))
    if not path.is_file():
        return {}
    findings = [*found.diagnosis["findings"], *found.diagnosis["memory"]["findings"]]
    places = {(each["file"], each["line"]) for one in findings for each in one["where"] if each["file"] and each["line"]}
    try:
        return {place: lines for place in sorted(places) if (lines := _trimmed(source_lines(path, *place, _AROUND)))}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        found.missing.append(Missing(SOURCES, f"{path} cannot be read: {type(error).__name__}: {error}"))
        return {}


def _trimmed(lines: list[str]) -> list[str]:
    """Numbered lines without the empty ones at both ends."""
    told = [place for place, line in enumerate(lines) if len(line.split()) > 1]
    return lines[told[0] : told[-1] + 1] if told else lines
