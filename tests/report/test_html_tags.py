"""Markup by construction: text is text wherever it goes in."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.report.html_tags import Html, coordinate, joined, tag, text


class Seen(HTMLParser):
    """What a browser would make of markup: elements with their attributes, and text."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data


def test_what_was_made_here_is_markup_and_nothing_else():
    made = tag("p", "a < b & \"c\" 'd'", tag("b", "<i>"), None, class_="x", hidden=True, title='">', id=None, lang=False)
    assert made == ('<p class="x" hidden title="&quot;&gt;">a &lt; b &amp; &quot;c&quot; &#x27;d&#x27;<b>&lt;i&gt;</b></p>')
    assert isinstance(made, Html) and isinstance(joined("a", made), Html)
    assert tag("meta", http_equiv="X", content="a") == '<meta http-equiv="X" content="a">'


@given(st.text(), st.text(), st.text())
def test_any_text_comes_back_as_text(inside: str, attribute: str, beside: str):
    seen = Seen(tag("p", inside, tag("b", beside), title=attribute))
    assert [name for name, _ in seen.elements] == ["p", "b"]
    assert list(seen.elements[0][1]) == ["title"]
    assert seen.said == Seen(text(inside)).said + Seen(text(beside)).said
    assert "<" not in text(inside) and '"' not in text(inside)


@pytest.mark.parametrize(
    ("given_", "shown"),
    [
        ("\x00\x1b[31m\x9b", r"\x00\x1b[31m\x9b"),
        ("a\nb\tc", "a\nb\tc"),
        ("ab\u202egnp.exe", r"ab\u202egnp.exe"),
        ("\ud800x", "?x"),
        ("ü漢🙂", "ü漢🙂"),
    ],
)
def test_characters_that_do_something_are_shown(given_: str, shown: str):
    assert text(given_) == shown
    text(given_).encode("utf-8")


def test_coordinates_are_short():
    assert [coordinate(value) for value in (0.0, -0.0, 12.0, 12.34, 0.04, 1e6)] == ["0", "-0", "12", "12.3", "0", "1000000"]
