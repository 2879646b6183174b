"""Pieces that pages are made of. Text from a run goes in as text: what comes out of `escape` holds no markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dashboards.charts.style import CONFIG, empty
from profiler.report.html_cards import is_hit


def head(question: str, answer: str, note: str = "") -> None:
    """The page's question, its answer in one sentence, and what the answer rests on."""
    below = f'<p class="ds-note">{escape(note)}</p>' if note else ""
    above = f'<p class="ds-question">{escape(question)}</p><p class="ds-answer">{escape(answer)}</p>'
    st.html(f'<div class="ds-head">{above}{below}</div>')


def section(title: str, note: str = "") -> None:
    """A heading inside a page, with a line under it."""
    below = f'<p class="ds-note">{escape(note)}</p>' if note else ""
    st.html(f'<h3 class="ds-section">{escape(title)}</h3>{below}')


def note(text: str) -> None:
    """A quiet line."""
    st.html(f'<p class="ds-note">{escape(text)}</p>')


def figures(items: Sequence[tuple[str, str, str, str]]) -> None:
    """Key figures in a row: (name, value, unit, what it is)."""
    boxes = "".join(_figure(*each) for each in items)
    st.html(f'<div class="ds-kpis">{boxes}</div>')


def _figure(name: str, value: str, unit: str, what: str) -> str:
    shown = f'<div class="v">{escape(value)}<small>{escape(unit)}</small></div>'
    return f'<div class="ds-kpi"><div class="k">{escape(name)}</div>{shown}<div class="s">{escape(what)}</div></div>'


def nothing(title: str, why: str, command: str = "") -> None:
    """An empty state: what is missing, and the command that makes it."""
    run = f"<p>Run <code>{escape(command)}</code></p>" if command else ""
    st.html(f'<div class="ds-empty"><h3>{escape(title)}</h3><p>{escape(why)}</p>{run}</div>')


@dataclass(frozen=True, kw_only=True)
class Card:
    """One thing that was found; every part but the title may be empty.

    Args:
        colour: of its edge and its tag.
        price: what it costs, one line.
        change: what to do.
        items: evidence, one sentence each.
        places: where, each with the source lines around it (the line that is meant is marked `>`).
    """

    title: str
    tag: str
    colour: str
    price: str = ""
    change: str = ""
    items: Sequence[str] = ()
    places: Sequence[tuple[str, Sequence[str]]] = ()

    def html(self) -> str:
        """The card as markup, every text in it escaped."""
        blocks = [f'<h4><span class="ds-tag">{escape(self.tag)}</span>{escape(self.title)}</h4>']
        blocks += [f'<p class="ds-price">{escape(self.price)}</p>'] if self.price else []
        blocks += [f'<p class="ds-change"><b>Change</b> {escape(self.change)}</p>'] if self.change else []
        blocks += [_list(self.items)] if self.items else []
        blocks += [_place(where, lines) for where, lines in self.places]
        return f'<div class="ds-card" style="--c:{escape(self.colour)}">{"".join(blocks)}</div>'


def card(of: Card) -> None:
    """A card on the page."""
    st.html(of.html())


def bullets(items: Sequence[str]) -> None:
    """Sentences one under the other."""
    if items:
        st.html(_list(items))


def legend(items: Sequence[tuple[str, str, str]]) -> None:
    """(colour, name, value) in a row that wraps."""
    chips = "".join(
        f'<span class="ds-chip"><i style="background:{escape(colour)}"></i>{escape(name)} <b>{escape(value)}</b></span>'
        for colour, name, value in items
    )
    st.html(f'<div class="ds-legend">{chips}</div>')


def _list(items: Sequence[str]) -> str:
    return f'<ul class="ds-list">{"".join(f"<li>{escape(each)}</li>" for each in items)}</ul>'


def _place(where: str, lines: Sequence[str]) -> str:
    marked = (("hit" if is_hit(each) else "line", each) for each in lines)
    shown = "".join(f'<span class="{mark}">{escape(each)}\n</span>' for mark, each in marked)
    return f'<p class="ds-where">{escape(where)}</p>' + (f'<div class="ds-code">{shown}</div>' if lines else "")


def table_height(rows: int, most: int = 420) -> int:
    """Pixels of a table that shows all its rows, or scrolls. A row's height follows from the font's, 15 pixels."""
    return min(3 + 33 * (1 + max(1, rows)), most)


def plot(figure: go.Figure, key: str, **more: Any) -> Any:
    """A figure as wide as the page; one without anything in it is left out."""
    if empty(figure):
        return None
    return st.plotly_chart(figure, key=key, config=CONFIG, **more)


def code(text: str) -> None:
    """Lines of code or a stack, as they are."""
    st.html(f'<div class="ds-code">{escape(text)}</div>')
