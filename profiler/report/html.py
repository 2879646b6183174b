"""A run as one HTML file."""

from __future__ import annotations

from profiler.report import html_compare, html_head, html_memory, html_time, html_tune
from profiler.report.html_data import Gathered
from profiler.report.html_document import document
from profiler.report.html_tags import tag


def page(found: Gathered) -> str:
    """The whole document."""
    made = {
        "comparison": html_compare.comparison(found),
        "tuning": html_tune.tuning(found),
        "ledger": html_time.ledger(found),
        "findings": html_time.findings(found),
        "kernels": html_time.kernels(found),
        "memory": html_memory.memory(found),
        "run": html_head.end(found),
    }
    return document(html_head.name_of(found), html_head.head(found), html_head.menu(made), tag("main", *made.values()))
