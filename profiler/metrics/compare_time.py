"""The windows of two runs beside each other: what was added, removed, became faster or slower. Rows sum to the difference.

All times are untraced prices of the ledger in whole nanoseconds of one repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from profiler.metrics import classes
from profiler.metrics.compare_rows import BY_CLASS, BY_KERNEL, Repeated, joined, ordered
from profiler.metrics.ledger import ledgers
from profiler.metrics.ledger_segments import BUSY, WAITING_FOR_RANK
from profiler.metrics.windows import CALL, DECODE, STEP, TEXT, windows
from profiler.tables.run import Run

NAMES = (STEP, TEXT, DECODE, CALL)
# What people reason about, by the beginnings of the classes that belong to it.
_GROUPS = {
    "GEMMs": (classes.GEMM,),
    "attention": (classes.ATTENTION,),
    "convolutions": (classes.CONVOLUTION,),
    "elementwise, norm and copy kernels": (
        classes.POINTWISE,
        classes.REDUCTION,
        classes.FUSED_POINTWISE,
        classes.FUSED_REDUCTION,
        classes.NORM,
        classes.COPY,
        classes.MEMSET,
    ),
    "quantization kernels": (classes.QUANTIZE,),
    "exposed communication": (classes.COMMUNICATION,),
}
GEMMS, ELEMENTWISE, QUANTIZATION = "GEMMs", "elementwise, norm and copy kernels", "quantization kernels"
EXPOSED, WAITING = "exposed communication", WAITING_FOR_RANK
OTHER, IDLE = "other kernels", "idle time"

_NUMBERS = ("base_count", "new_count", "base_ns", "new_ns", "delta_ns")


@dataclass(frozen=True)
class Group:
    """Classes that people reason about together, untraced ns of one repeat; `spread_ns` of its classes together, or 0."""

    name: str
    base_ns: int
    new_ns: int
    spread_ns: int = 0

    @property
    def delta_ns(self) -> int:
        """New less base."""
        return self.new_ns - self.base_ns


@dataclass(frozen=True)
class WindowDifference:
    """One window of two runs.

    Args:
        name: text, step, decode or call.
        base_ns, new_ns: untraced time of one repeat, the mean of those that a whole call has; rows of `classes`, and those of
            `kernels`, sum to their difference.
        base_least_ns, new_least_ns: the least that it can be; less than the above where no untraced time is known.
        base_traced_ns, new_traced_ns: untraced time of all repeats that the traces hold, base_repeats and new_repeats of them.
        spread_ns: the larger of what the window varies by between the repeats of one run; None for single repeats.
        calibrated: whether the untraced times of both are known; of a run whose is not, idle time is as traced.
        classes: kind (busy, idle), label (kernel class or cause of idleness), base_count, new_count, base_ns, new_ns, delta_ns,
            spread_ns (the larger of what the row varies by between the repeats of one run; null for single repeats), status.
        kernels: the same by label and detail (kernel, or where it stood idle). Both tables: what changed most first.
    """

    name: str
    base_ns: int
    new_ns: int
    base_least_ns: int
    new_least_ns: int
    base_traced_ns: int
    new_traced_ns: int
    base_repeats: int
    new_repeats: int
    spread_ns: int | None
    calibrated: bool
    classes: pl.DataFrame
    kernels: pl.DataFrame

    @property
    def delta_ns(self) -> int:
        """New less base; negative where it became faster."""
        return self.new_ns - self.base_ns

    @property
    def within_spread(self) -> bool | None:
        """Whether the difference is no more than repeats of one run differ by; None where that is not known."""
        return None if self.spread_ns is None else abs(self.delta_ns) <= self.spread_ns

    @property
    def is_certain(self) -> bool:
        """Whether the difference has its sign wherever between its least and its traced time each run really is."""
        return (self.new_least_ns - self.base_ns > 0) == (self.new_ns - self.base_least_ns > 0)

    def groups(self) -> list[Group]:
        """GEMMs, attention and so on, other kernels and idle time: they sum to the window; none that neither has."""
        sums = {name: [0, 0, 0] for name in (*_GROUPS, OTHER, WAITING, IDLE)}
        for kind, label, *numbers in self.classes.select("kind", "label", "base_ns", "new_ns", "spread_ns").iter_rows():
            group = sums[group_of(kind, label)]
            for place, number in enumerate(numbers):
                group[place] += number or 0
        return [Group(name, *found) for name, found in sums.items() if found[0] or found[1]]

    def group(self, name: str) -> Group:
        """One of `groups`; empty where neither run has it."""
        return next((each for each in self.groups() if each.name == name), Group(name, 0, 0))


def group_of(kind: str, label: str) -> str:
    """The group that a class belongs to."""
    if kind != BUSY:
        return WAITING if label == WAITING_FOR_RANK else IDLE
    return next((name for name, labels in _GROUPS.items() if label.startswith(labels)), OTHER)


def window_ledgers(run: Run, rank: int = 0) -> dict[str, Repeated]:
    """The ledgers of a rank's windows by name.

    Raises:
        UnreadableInput: the rank holds no trace, or one that cannot be read.
    """
    known = set(windows(run, rank)["name"])
    found = ledgers(run, [name for name in NAMES if name in known], rank)
    steps = run.manifest.timed.get("steps") or run.manifest.spec.get("steps") or 0
    return {name: Repeated(each, steps if name == STEP else 1) for name, each in found.items()}


def compare_windows(new: Mapping[str, Repeated], base: Mapping[str, Repeated]) -> dict[str, WindowDifference]:
    """The windows that both traces have, by name, steps first; the arguments are what `window_ledgers` gives."""
    return {name: difference(new[name], base[name]) for name in NAMES if name in new and name in base}


def difference(new: Repeated, base: Repeated) -> WindowDifference:
    """One window of two ledgers."""
    kernels = joined(base, new, BY_KERNEL)
    return WindowDifference(
        name=base.ledger.window,
        base_ns=int(kernels["base_ns"].sum()),
        new_ns=int(kernels["new_ns"].sum()),
        base_least_ns=_least_ns(base),
        new_least_ns=_least_ns(new),
        base_traced_ns=int(base.ledger.rows["priced_ns"].sum()),
        new_traced_ns=int(new.ledger.rows["priced_ns"].sum()),
        base_repeats=base.traced,
        new_repeats=new.traced,
        spread_ns=_spread_ns(base, new),
        calibrated=base.ledger.pricing.calibrated and new.ledger.pricing.calibrated,
        classes=_classes(kernels, base, new),
        kernels=kernels,
    )


def _least_ns(of: Repeated) -> int:
    return round(float(of.rows.select((pl.col("priced_low_ns") * pl.col("weight")).sum()).item()))


def _spread_ns(*runs: Repeated) -> int | None:
    spreads = [_spread_of(each) for each in runs if each.traced > 1]
    return max(spreads) if len(spreads) == len(runs) else None


def _spread_of(of: Repeated) -> int:
    totals = of.ledger.rows.group_by("index").agg(pl.col("priced_ns").sum())["priced_ns"]
    return int(totals.max() or 0) - int(totals.min() or 0)  # type: ignore[arg-type]


def _classes(kernels: pl.DataFrame, base: Repeated, new: Repeated) -> pl.DataFrame:
    """By class: times are sums of the kernels' whole nanoseconds, so that both tables have one sum; spreads are of the class."""
    spreads = joined(base, new, BY_CLASS).select(*BY_CLASS, "spread_ns", "status")
    sums = kernels.group_by(BY_CLASS).agg(pl.col(_NUMBERS).sum())
    return ordered(sums.join(spreads, on=BY_CLASS), BY_CLASS)
