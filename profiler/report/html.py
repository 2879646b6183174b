"""A run as one HTML file."""

from __future__ import annotations

from collections.abc import Mapping

from profiler.report import (
    html_compare,
    html_end,
    html_findings,
    html_head,
    html_kernels,
    html_ledger,
    html_memory,
    html_ranks,
    html_tune,
)
from profiler.report.html_data import Gathered
from profiler.report.html_document import document
from profiler.report.html_tags import Html, tag

_SECTIONS = {
    "comparison": "Is the win real?",
    "tuning": "Tuning",
    "ledger": "Where time goes",
    "ranks": "Ranks",
    "findings": "What to change",
    "kernels": "Kernels",
    "memory": "Memory",
    "run": "The run",
}


def page(found: Gathered) -> str:
    """The whole document."""
    made = {
        "comparison": html_compare.comparison(found),
        "tuning": html_tune.tuning(found),
        "ledger": html_ledger.ledger(found),
        "ranks": html_ranks.ranks(found),
        "findings": html_findings.findings(found),
        "kernels": html_kernels.kernels(found),
        "memory": html_memory.memory(found),
        "run": html_end.end(found),
    }
    return document(html_head.name_of(found), html_head.head(found), _menu(made), tag("main", *made.values()))


def _menu(made: Mapping[str, Html]) -> Html:
    """Links to the sections that there are."""
    return tag("nav", *(tag("a", title, href=f"#{name}") for name, title in _SECTIONS.items() if made.get(name)))
