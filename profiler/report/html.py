"""A run as one HTML file: it holds all that it shows, asks for nothing, and runs no script."""

from __future__ import annotations

from pathlib import Path

from profiler.report import html_compare, html_head, html_memory, html_time, html_tune
from profiler.report.html_data import Gathered
from profiler.report.html_svg import definitions
from profiler.report.html_tags import Html, joined, tag

# Nothing is loaded and no script runs, even where a name were taken for markup.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = Path(__file__).with_name("html.css")


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
    body = tag("body", definitions(), html_head.head(found), html_head.menu(made), tag("main", *made.values()))
    return f"<!doctype html>\n{tag('html', _head(found), body, lang='en')}\n"


def _head(found: Gathered) -> Html:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{html_head.name_of(found)} · diffuscope"),
        # Our own file: markup would end it early, and there is none in it.
        tag("style", joined(Html(_STYLE.read_text(encoding="utf-8")))),
    )
