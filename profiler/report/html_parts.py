"""Pieces of the HTML report: sections, key figures, tables, legends, folded parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from profiler.core.printable import one_line
from profiler.report.html_tags import Html, Inside, coordinate, joined, tag


def section(name: str, title: str, *inside: Inside, note: Inside = None) -> Html:
    """A part of the page that the menu leads to; none where nothing is in it."""
    if not joined(*inside):
        return joined()
    head = tag("h2", title)
    return tag("section", head, tag("p", note, class_="note") if note else None, *inside, id=name)


def part(title: str, *inside: Inside, note: Inside = None) -> Html:
    """A part of a section; none where nothing is in it."""
    if not joined(*inside):
        return joined()
    return tag("div", tag("h3", title), tag("p", note, class_="note") if note else None, *inside, class_="part")


def beside(*parts: Html) -> Html:
    """Parts side by side, as many as there is room for."""
    made = [each for each in parts if each]
    return tag("div", *made, class_="columns") if made else joined()


def folded(summary: str, *inside: Inside) -> Html:
    """What opens on a click; on paper it is open."""
    if not joined(*inside):
        return joined()
    return tag("details", tag("summary", summary), *inside)


@dataclass(frozen=True)
class Figure:
    """A key figure: its name, the number, the unit, what it is."""

    name: str
    value: str
    unit: str = ""
    what: str = ""


def figures(items: Sequence[Figure]) -> Html:
    """Key figures in a row."""
    if not items:
        return joined()
    return tag("div", *(_figure(each) for each in items), class_="figures")


def _figure(each: Figure) -> Html:
    value = tag("div", each.value, tag("small", each.unit) if each.unit else None, class_="v")
    return tag("div", tag("div", each.name, class_="k"), value, tag("div", each.what, class_="s"), class_="kpi")


def chip(colour: str, name: str) -> Html:
    """A name with its colour before it."""
    return tag("span", tag("i", style=f"background:{colour}"), name, class_="chip")


def legend(items: Iterable[tuple[str, str, str]]) -> Html:
    """Colours, names and what they come to."""
    shown = [
        tag("span", tag("i", style=f"background:{colour}"), name, " ", tag("b", value), class_="chip")
        for colour, name, value in items
    ]
    return tag("p", *shown, class_="legend")


def share_bar(share: float, colour: str) -> Html:
    """A share of 1 as a bar in a cell."""
    width = coordinate(100 * max(0.0, min(1.0, share)))
    return tag("span", tag("i", style=f"width:{width}%;background:{colour}"), class_="share")


def table(headers: Sequence[str], rows: Iterable[Sequence[Inside]], left: Sequence[int] = (0,), sums: bool = False) -> Html:
    """A table; columns that are not text are aligned to the right.

    Args:
        left: the columns that are text.
        sums: whether the last row is the sum of the others.
    """
    body = [[_one(each) for each in row] for row in rows]
    if not body:
        return joined()
    head = tag("tr", *(tag("th", name, class_=None if place in left else "n") for place, name in enumerate(headers)))
    lines = [
        tag(
            "tr",
            *(tag("td", cell, class_=None if place in left else "n") for place, cell in enumerate(row)),
            class_="sum" if sums and number == len(body) - 1 else None,
        )
        for number, row in enumerate(body)
    ]
    return tag("div", tag("table", tag("thead", head), tag("tbody", *lines)), class_="wide")


def _one(cell: Inside) -> Inside:
    return one_line(cell) if isinstance(cell, str) and not isinstance(cell, Html) else cell


def bullets(items: Iterable[Inside]) -> Html:
    """Sentences one under the other; none where there are none."""
    shown = [tag("li", each) for each in items]
    return tag("ul", *shown) if shown else joined()


def lines(items: Iterable[Inside]) -> Html:
    """Quiet lines; none where there are none."""
    return joined(*(tag("p", each, class_="note") for each in items if each))
