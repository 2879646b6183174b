"""Two ranks' ledgers side by side, by label: why one is slower."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from profiler.metrics.classes import COMMUNICATION
from profiler.metrics.ledger_segments import WAITING_FOR_RANK
from profiler.rules.context import Context, Row

# What a rank takes because of the others says nothing of itself.
_OF_OTHERS = (COMMUNICATION, WAITING_FOR_RANK)


@dataclass(frozen=True)
class Beside:
    """One label of two ranks' ledgers: untraced ns and counts a repeat of the window, `theirs` of the rank compared with."""

    kind: str
    label: str
    mine_ns: float
    theirs_ns: float
    mine_count: float
    theirs_count: float

    @property
    def more_ns(self) -> float:
        """How much longer it takes on this rank."""
        return self.mine_ns - self.theirs_ns

    @property
    def own(self) -> bool:
        """Whether it is work, or idle time, of the rank's own."""
        return self.label not in _OF_OTHERS


def beside(context: Context, window: str, other: int) -> list[Beside]:
    """The ledger of rank `other` beside the context's, by label, the greatest excess of `other` first."""
    mine, theirs = _by_label(Context(context.run, None, other).rows(window)), _by_label(context.rows(window))
    found = [Beside(*key, mine[key][0], theirs[key][0], mine[key][1], theirs[key][1]) for key in mine.keys() | theirs.keys()]
    return sorted(found, key=lambda each: (-each.more_ns, each.kind, each.label))


def _by_label(rows: list[Row]) -> dict[tuple[str, str], tuple[float, float]]:
    sums: dict[tuple[str, str], tuple[float, float]] = defaultdict(lambda: (0.0, 0.0))
    for row in rows:
        ns, count = sums[row.kind, row.label]
        sums[row.kind, row.label] = ns + row.priced_ns, count + row.count
    return sums
