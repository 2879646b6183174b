"""What a rule may look at: a run, perhaps a base run, and the metrics of both, each computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from profiler.metrics.compile_join import has_log
from profiler.metrics.ledger import Ledger, ledgers
from profiler.metrics.places import Caller, Calls, callers
from profiler.metrics.ranks import RankSummary, rank_summary
from profiler.metrics.repeats import weight_of
from profiler.metrics.windows import windows
from profiler.rules import memory_facts
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.tables.ranks import is_spread
from profiler.tables.run import Run
from profiler.tables.sweep import extrapolated_steps

STEP, TEXT, DECODE, CALL = "step", "text", "decode", "call"
# The parts of a call, without overlap; a trace without them has only the call.
PARTS = (TEXT, STEP, DECODE)
_MOST_NOISE = 0.01


@dataclass(frozen=True)
class Row:
    """One ledger row, averaged over the repeats of its window. Times are ns; `count` is a repeat's."""

    id: str
    kind: str
    label: str
    detail: str
    region: str
    count: float
    total_ns: float
    priced_ns: float
    priced_low_ns: float


class Context:
    """A run under diagnosis.

    Args:
        base: the run to compare with, for rules that need one.
    """

    def __init__(self, run: Run, base: Run | None = None, rank: int = 0) -> None:
        self.run, self.base, self.rank = run, base, rank
        self._ledgers: dict[str, Ledger] = {}
        self._rows: dict[str, list[Row]] = {}
        self._callers: dict[Calls, list[Caller]] = {}

    @property
    def manifest(self) -> Manifest:
        """The run's `run.json`."""
        return self.run.manifest

    @property
    def spec(self) -> dict[str, Any]:
        """The spec as asked; empty for imports."""
        return self.manifest.spec

    def has(self, need: str) -> bool:
        """Whether an artifact that a rule needs is there."""
        of_memory = memory_facts.NEEDS.get(need)
        return of_memory(self.run, self.rank) if of_memory else _NEEDS[need](self)

    def ledger(self, window: str) -> Ledger:
        """The ledger of a window; of the whole call where the trace has no such window."""
        name = window if window in self._names else CALL
        if name not in self._ledgers:
            # Rules look at every part of a call: cutting the trace once for all of them is most of the work.
            wanted = [part for part in PARTS if part in self._names] if name in PARTS else [name]
            self._ledgers |= ledgers(self.run, wanted, self.rank)
        return self._ledgers[name]

    @cached_property
    def _names(self) -> frozenset[str]:
        """The windows that the trace has: a ledger of each is made at most once."""
        return frozenset(windows(self.run, self.rank)["name"])

    def windows(self) -> list[str]:
        """The parts of a call that the trace has; only `call` where it has no steps, since it would hold the other parts too."""
        found = [name for name in PARTS if name in self._names]
        return found if STEP in found else [CALL]

    @property
    def main(self) -> str:
        """What findings about the loop are counted in: the step, or the whole call where the trace has no steps."""
        return STEP if STEP in self._names else CALL

    def rows(self, window: str) -> list[Row]:
        """Ledger rows of one repeat of a window, the dearest first."""
        found = self.ledger(window)
        if found.window not in self._rows:
            self._rows[found.window] = average(found, self.repeats(found.window))
        return self._rows[found.window]

    def select(self, window: str, test: Callable[[Row], bool]) -> list[Row]:
        """The rows of a window that a test takes."""
        return [row for row in self.rows(window) if test(row)]

    def duration_ns(self, window: str) -> float:
        """Untraced time of one repeat of a window."""
        return sum(row.priced_ns for row in self.rows(window))

    def repeats(self, window: str) -> float:
        """How often a window comes in one pipeline call at the spec's steps, or at those that a sweep extrapolated it to."""
        if window != STEP:
            return 1.0
        steps = self._extrapolated or self.manifest.timed.get("steps") or self.spec.get("steps")
        return float(steps if isinstance(steps, int) and steps > 0 else self.ledger(window).windows.height or 1)

    @cached_property
    def _extrapolated(self) -> int | None:
        return extrapolated_steps(self.run.path)

    @property
    def call_ns(self) -> float:
        """Untraced time of one pipeline call at the spec's steps, as far as windows cover it."""
        return sum(self.duration_ns(name) * self.repeats(name) for name in self.windows())

    @property
    def noise(self) -> float:
        """Share of a call by which the untraced calls differ, at most 1 %; 0 where there is only one."""
        calls = self.manifest.untraced.get("calls_ns") or []
        middle = sorted(calls)[len(calls) // 2] if calls else 0
        return min(_MOST_NOISE, (max(calls) - min(calls)) / middle) if middle and len(calls) > 1 else 0.0

    @property
    def ranks(self) -> RankSummary | None:
        """The run's ranks side by side; None for a run of one process."""
        return rank_summary(self.run) if is_spread(self.run) else None

    def callers(self, calls: Calls) -> list[Caller]:
        """Who makes some calls, by the trace with stacks; empty without one."""
        if calls not in self._callers:
            self._callers[calls] = callers(self.run, calls, self.rank)
        return self._callers[calls]

    @property
    def gpu(self) -> dict[str, Any]:
        """Name and capability of the GPU, from the manifest or from the trace's own device properties."""
        described = self.manifest.environment.get("gpu")
        if described and described.get("capability"):
            return dict(described)
        found = self.run.trace(self.rank).metadata.get("deviceProperties") if self.has("trace") else None
        first = found[0] if isinstance(found, list) and found else {}
        if not first.get("name"):
            return {}
        return {"name": first["name"], "capability": [first.get("computeMajor"), first.get("computeMinor")]}

    @property
    def compiled(self) -> bool:
        """Whether anything compiled runs in the trace."""
        names = self.run.trace(self.rank).lazy("host").select(pl.col("name").str.starts_with("Torch-Compiled Region").any())
        return bool(names.collect().item())


def average(of: Ledger, repeats: float = 0.0) -> list[Row]:
    """Ledger rows by id, averaged over the repeats of the window as a call has them.

    They are weighed by `repeats.weight_of`.
    """
    # One cause may hold in several compiled regions: a row of the same id is the same cause.
    sums = (
        of.rows.with_columns(weight_of(of.windows, repeats))
        .group_by("id", "kind", "label", "detail")
        .agg(
            pl.col("region").unique().sort().str.join(", "),
            (pl.col("count", "total_ns", "priced_ns", "priced_low_ns") * pl.col("weight")).sum(),
        )
    )
    return [Row(*values) for values in sums.sort("priced_ns", "id", descending=[True, False]).iter_rows()]


_NEEDS: dict[str, Callable[[Context], bool]] = {
    "trace": lambda context: context.run.has(layout.TRACE, context.rank),
    "GPU trace": lambda context: context.has("trace") and context.ledger(STEP).source == "gpu",
    "compile log": lambda context: has_log(context.run, context.rank),
    "places": lambda context: context.run.has(layout.PLACES, context.rank),
    "timed calls": lambda context: bool(context.manifest.timed.get("iterations_ns")),
    "base run": lambda context: context.base is not None,
    "GPU clocks": lambda context: any(phase.gpu for phase in context.manifest.phases),
}
