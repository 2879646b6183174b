"""Findings as cards: of time, and of memory. Words and numbers are those of the report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from dashboards.parts import Card
from profiler.core import palette
from profiler.core.finding import Place
from profiler.core.units import format_size
from profiler.report.grant import Granted
from profiler.report.memory_findings import FATAL, GrantedBytes

Source = Callable[[str | None, int | None], Sequence[str]]
"""The source lines around a file's line, as far as they were kept."""
_PLACES = 5


def of_time(number: int, each: Granted, source: Source, chosen: bool = False) -> Card:
    """The card of a finding about time, the `number`-th of its report."""
    finding = each.finding
    return Card(
        title=f"{number}. {finding.title}",
        tag="selected · " * chosen + ("once" if finding.once else each.severity),
        colour=palette.ACCENT if chosen else palette.of_severity(each.severity),
        price=time_price(each),
        change=finding.change,
        items=[*finding.evidence, *_elsewhere(each)],
        places=_places(finding.where, source),
    )


def of_memory(number: int, each: GrantedBytes, whole_bytes: int, source: Source) -> Card:
    """The card of a finding about memory; `whole_bytes` is the peak that shares are of, 0 where it is not known."""
    finding = each.finding
    shared = [f"{format_size(size)} of it are {rule}'s too, and are saved only once" for rule, size in each.shared_bytes.items()]
    return Card(
        title=f"m{number}. {finding.title}",
        tag=each.severity,
        colour=palette.of_severity(each.severity),
        price=memory_price(each, whole_bytes),
        change=finding.change,
        items=[*finding.evidence, *shared],
        places=_places(finding.where, source),
    )


def time_price(each: Granted) -> str:
    """What a finding costs, and what changing it saves."""
    finding = each.finding
    if not each.cost_ns and not each.saving_high_ns:
        return f"no price of its own ({finding.window})"
    window = "once" if finding.once else f"a {finding.window}"
    share = "" if finding.once else f" ({each.share:.1%}) · {each.per_call_ns / 1e6:,.1f} ms a call"
    saving = f"{each.saving_low_ns / 1e6:,.2f} to {each.saving_high_ns / 1e6:,.2f} ms"
    return f"costs {each.cost_ns / 1e6:,.2f} ms {window}{share} · saves {saving}"


def memory_price(each: GrantedBytes, whole_bytes: int) -> str:
    """The same in bytes; of a run that died what it was short of."""
    low, high = each.finding.saving_low_bytes, each.finding.saving_high_bytes
    if each.finding.rule == FATAL:
        return f"short of {format_size(high)}"
    share = f" ({each.claimed_bytes / whole_bytes:.1%} of the peak)" if whole_bytes else ""
    between = "" if low == high else f"{format_size(low) if low else '0'} to "
    return f"costs {format_size(each.claimed_bytes)}{share} · saves {between}{format_size(high)}"


def _elsewhere(each: Granted) -> list[str]:
    lines = [f"less {cost_ns / 1e6:,.2f} ms that {rule} accounts for" for rule, cost_ns in each.elsewhere_ns.items()]
    return [*lines, f"also seen by {', '.join(each.also)}"] if each.also else lines


def _places(where: Sequence[Place], source: Source) -> list[tuple[str, Sequence[str]]]:
    """Distinct lines of code with their source; modules of one line, or of none, are counted."""
    found: dict[tuple[str | None, int | None], list[str]] = defaultdict(list)
    for place in where:
        found[place.file, place.line].append(str(place))
    shown = []
    for (file, line), texts in list(found.items())[:_PLACES]:
        more = f" and {len(texts) - 1} more" if len(texts) > 1 else ""
        shown.append((f"at {texts[0]}{more}", source(file, line)))
    return shown
