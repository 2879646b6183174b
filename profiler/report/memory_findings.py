"""Memory findings ranked by bytes: each allocation at the peak is granted to one, as ledger rows are to findings about time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from profiler.core.finding import CRITICAL, HIGH, LOW, MEDIUM, Finding, severity
from profiler.core.printable import printable
from profiler.core.units import format_size
from profiler.metrics.memory import has_part, memory_summary
from profiler.rules import memory_facts
from profiler.rules.memory_facts import at_peak
from profiler.tables.run import Run

# A run that died has nothing worse to say, however little was missing.
FATAL = "out-of-memory"
# The allocator gives whole free segments back before it fails: it is others on the device who go short.
_NO_PEAK = "memory-fragmentation"
_ORDER = (CRITICAL, HIGH, MEDIUM, LOW)
_MARKS = {"critical": "!!", "high": "! ", "medium": "- ", "low": "  "}


@dataclass
class MemoryFindings:
    """The memory findings of a run, and the peak (bytes) that shares are of; 0 where none is known."""

    whole_bytes: int = 0
    granted: list[GrantedBytes] = field(default_factory=list)


@dataclass
class GrantedBytes:
    """A memory finding with the allocations that are its own.

    Args:
        cost_bytes: what it alone costs.
        shared_bytes: what it is about too and others were granted, by their rule: savings on the same bytes do not add up.
        share: of the peak.
    """

    finding: Finding
    cost_bytes: int = 0
    shared_bytes: dict[str, int] = field(default_factory=dict)
    share: float = 0.0
    severity: str = LOW

    @property
    def claimed_bytes(self) -> int:
        """All that it is about."""
        return self.cost_bytes + sum(self.shared_bytes.values())


def can_tell(run: Run, rank: int = 0) -> bool:
    """Whether a run says anything about memory that rules look at."""
    return run.manifest.status == "oom" or has_part(run, rank) or memory_summary(run, rank).inference_peak_bytes is not None


def of_memory(run: Run, rank: int, findings: Sequence[tuple[int, Finding]]) -> MemoryFindings:
    """The memory findings among what rules found (priority, finding), granted.

    Raises:
        UnreadableInput: memory events that cannot be read, although a rule could.
    """
    mine = [each for each in findings if each[1].memory]
    if not mine:
        return MemoryFindings()
    held = at_peak(run, rank).live.select("id", "size_bytes").iter_rows() if any(each.held for _, each in mine) else ()
    whole_bytes = memory_facts.whole_bytes(run, rank)
    return MemoryFindings(whole_bytes, grant_bytes(mine, dict(held), whole_bytes))


def grant_bytes(findings: Iterable[tuple[int, Finding]], sizes: Mapping[int, int], whole_bytes: int) -> list[GrantedBytes]:
    """Grant allocations by rule priority, then by the size of the claim.

    Args:
        findings: (rule priority, finding).
        sizes: allocation at the peak -> its bytes.
        whole_bytes: the peak that shares are of; 0 where it is not known.

    Returns:
        One entry a finding, what ended the run first, then by severity and the low end of the saving.
    """
    owners: dict[int, Finding] = {}
    ordered = sorted(findings, key=lambda each: (each[0], -_claimed(each[1], sizes)))
    result = [_grant(finding, sizes, owners, whole_bytes) for _, finding in ordered]
    return sorted(result, key=_rank)


def _claimed(finding: Finding, sizes: Mapping[int, int]) -> int:
    return sum(sizes.get(each, 0) for each in set(finding.held)) + finding.cost_bytes


def _grant(finding: Finding, sizes: Mapping[int, int], owners: dict[int, Finding], whole_bytes: int) -> GrantedBytes:
    granted = GrantedBytes(finding, cost_bytes=finding.cost_bytes)
    for each in dict.fromkeys(finding.held):
        owner = owners.setdefault(each, finding)
        if owner is finding:
            granted.cost_bytes += sizes.get(each, 0)
        else:
            granted.shared_bytes[owner.rule] = granted.shared_bytes.get(owner.rule, 0) + sizes.get(each, 0)
    granted.share = granted.cost_bytes / whole_bytes if whole_bytes else 0.0
    granted.severity = _severity(finding, whole_bytes)
    return granted


def _severity(finding: Finding, whole_bytes: int) -> str:
    if finding.rule == FATAL:
        return CRITICAL
    found = severity(finding.saving_low_bytes, whole_bytes)
    return max(found, MEDIUM, key=_ORDER.index) if finding.rule == _NO_PEAK else found


def _rank(each: GrantedBytes) -> tuple[int, int, int, str]:
    finding = each.finding
    fatal = -1 if finding.rule == FATAL else _ORDER.index(each.severity)
    return (fatal, -finding.saving_low_bytes, -finding.saving_high_bytes, finding.title)


def to_json(found: MemoryFindings) -> dict[str, Any]:
    """JSON-ready: the peak that shares are of, and the findings."""
    return {"peak_bytes": found.whole_bytes, "findings": [_finding(each) for each in found.granted]}


def _finding(each: GrantedBytes) -> dict[str, Any]:
    finding = each.finding
    return {
        "rule": finding.rule,
        "title": finding.title,
        "severity": each.severity,
        "window": finding.window,
        "once": finding.once,
        "where": [place.to_dict() for place in finding.where],
        "count": finding.count,
        "cost_bytes": each.cost_bytes,
        "shared_bytes": each.shared_bytes,
        "share": each.share,
        "saving_bytes": {"low": finding.saving_low_bytes, "high": finding.saving_high_bytes},
        "evidence": list(finding.evidence),
        "change": finding.change,
        "doc": finding.doc,
    }


def render(found: MemoryFindings) -> str:
    """The findings for people; empty where there are none."""
    if not found.granted:
        return ""
    of = f" (shares of the peak, {format_size(found.whole_bytes)})" if found.whole_bytes else ""
    return "\n\n".join(
        [f"memory{of}:", *(_card(number, each, found.whole_bytes) for number, each in enumerate(found.granted, 1))]
    )


def render_alone(run: Run, found: MemoryFindings, not_checked: str) -> list[str]:
    """The parts of a report on a run without a trace."""
    head = f"{run.path}  [{run.manifest.status}]: no trace, so nothing is known of its time"
    return [part for part in (head, render(found) or "memory: nothing found", not_checked) if part]


def _card(number: int, each: GrantedBytes, whole_bytes: int) -> str:
    finding = each.finding
    lines = [f"{_MARKS[each.severity]}m{number}. {finding.title}  [{each.severity}]", "     " + _price(each, whole_bytes)]
    lines += [f"     at     {place}" for place in finding.where]
    lines += [f"     seen   {one}" for one in finding.evidence]
    lines += [
        f"     with   {rule}: {format_size(size)} of these are its too, and are saved only once"
        for rule, size in each.shared_bytes.items()
    ]
    if finding.change:
        lines.append(f"     change {finding.change}")
    if finding.doc:
        lines.append(f"     read   {finding.doc}")
    return "\n".join(printable(line.replace("\n", " ")) for line in lines)


def _price(each: GrantedBytes, whole_bytes: int) -> str:
    finding, size = each.finding, each.claimed_bytes
    if finding.rule == FATAL:
        return f"short  {format_size(finding.saving_high_bytes)}"
    share = f" ({size / whole_bytes:.1%})" if whole_bytes else ""
    low, high = finding.saving_low_bytes, finding.saving_high_bytes
    between = "" if low == high else f"{format_size(low) if low else '0'} to "
    return f"costs  {format_size(size)}{share}, saves {between}{format_size(high)}"
