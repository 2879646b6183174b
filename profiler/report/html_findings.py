"""The ranked findings of the HTML report, about time and about memory, and what was not checked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from profiler.core.units import format_size
from profiler.report.html_cards import Sources, of_memory, of_time
from profiler.report.html_data import Gathered
from profiler.report.html_parts import bullets, part, section
from profiler.report.html_tags import Html, joined, tag


def findings(found: Gathered) -> Html:
    """The ranked findings, about time and about memory, and what was not checked."""
    report = found.diagnosis
    if report is None:
        return joined()
    numbered = list(enumerate(report["findings"], 1))
    often = [of_time(number, each, found.sources) for number, each in numbered if not each["once"]]
    once = [of_time(number, each, found.sources) for number, each in numbered if each["once"]]
    if report["ledger"] and not often:
        often = [tag("p", f"Nothing was found that costs time in every {report['window']['name']}.")]
    return section(
        "findings",
        "What to change",
        part("Time", *often, note="by what they cost a call; the price of one is in no other"),
        part("Once, not in every call", *once),
        _memory(report["memory"], found.sources),
        _not_checked(report["not_checked"]),
    )


def _memory(memory: Mapping[str, Any], sources: Sources) -> Html:
    cards = [of_memory(number, each, memory["peak_bytes"], sources) for number, each in enumerate(memory["findings"], 1)]
    of = f"shares are of the peak, {format_size(memory['peak_bytes'])}; " if memory["peak_bytes"] else ""
    return part("Memory", *cards, note=f"{of}savings on the same bytes do not add up")


def _not_checked(rules: Sequence[Mapping[str, str]]) -> Html:
    reasons: dict[str, list[str]] = defaultdict(list)
    for each in rules:
        reasons[each["why"]].append(each["rule"])
    return part("Not checked", bullets(f"{why}: {', '.join(names)}" for why, names in reasons.items()))
