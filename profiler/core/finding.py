"""A finding: what is slow, where, what it costs, what to change."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

CRITICAL, HIGH, MEDIUM, LOW = "critical", "high", "medium", "low"
# Least share of the window that the low end of the predicted saving must reach.
_SEVERITIES = ((0.20, CRITICAL), (0.05, HIGH), (0.01, MEDIUM))


@dataclass(frozen=True)
class Place:
    """Where to change something; any part may be unknown."""

    file: str | None = None
    line: int | None = None
    module: str | None = None
    function: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"file": self.file, "line": self.line, "module": self.module, "function": self.function}

    def __str__(self) -> str:
        at = f"{self.file}:{self.line}" if self.file and self.line else self.file or ""
        return " ".join(each for each in (at, f"in {self.function}" if self.function else "", self.module or "") if each)


@dataclass(frozen=True, kw_only=True)
class Saving:
    """What a change is predicted to save.

    `share_low` and `share_high` are shares of the finding's granted cost; `extra_low_ns` and `extra_high_ns` come on top
    and were never part of the cost (fusion that a graph break lost).
    """

    share_low: float = 0.0
    share_high: float = 1.0
    extra_low_ns: float = 0.0
    extra_high_ns: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a rule found.

    Attributes:
        window: the window that its cost is counted in, for example `step`; the cost is per repeat of it.
        once: a cost that does not recur inside the window (compiling).
        claims: ids of ledger rows that the cost consists of; `report` grants each row to one finding.
        cost_ns: a cost that is in no ledger row (one-time costs), untraced ns; added to the claimed rows.
        count: how often it happens in one repeat of the window.
        evidence: sentences with the numbers that show it.
        change: what to do, as code where possible.
        memory: it is about bytes: it costs no time, and ranks among its own. The fields below are its alone.
        held: ids of allocations at the memory peak that the cost consists of; `report` grants each to one finding.
        cost_bytes: a cost that is no allocation at the peak; added to the held ones.
        saving_low_bytes, saving_high_bytes: what the change is predicted to save.
    """

    rule: str
    title: str
    window: str
    claims: tuple[str, ...] = ()
    cost_ns: float = 0.0
    once: bool = False
    saving: Saving = field(default_factory=Saving)
    where: tuple[Place, ...] = ()
    count: int = 1
    evidence: tuple[str, ...] = ()
    change: str = ""
    doc: str = ""
    memory: bool = False
    held: tuple[int, ...] = ()
    cost_bytes: int = 0
    saving_low_bytes: int = 0
    saving_high_bytes: int = 0


def severity(saving_low: float, whole: float) -> str:
    """critical, high, medium or low, by the low end of the saving as a share of the window (ns) or of the memory peak (bytes)."""
    share = saving_low / whole if whole > 0 else 0.0
    return next((name for least, name in _SEVERITIES if share >= least), LOW)
