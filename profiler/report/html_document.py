"""An HTML file that holds all that it shows, asks for nothing, and runs no script."""

from __future__ import annotations

from pathlib import Path

from profiler.report.html_svg import definitions
from profiler.report.html_tags import Html, Inside, tag

# Nothing is loaded and no script runs, even where a name were taken for markup.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = Path(__file__).with_name("html.css")


def document(title: str, *inside: Inside) -> str:
    """The whole text of a file."""
    body = tag("body", definitions(), *inside)
    return f"<!doctype html>\n{tag('html', _head(title), body, lang='en')}\n"


def _head(title: str) -> Html:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · diffuscope"),
        # Our own file: markup would end it early, and there is none in it.
        tag("style", Html(_STYLE.read_text(encoding="utf-8"))),
    )
