"""Pieces that pages are made of. Text from a run goes in as text: what comes out of `escape` holds no markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from dashboards.charts.style import CONFIG, empty

CSS = """
[data-testid="stMainBlockContainer"] { max-width: 1480px; padding: 4.2rem 2rem 4rem; }
.ds-head { margin: 0 0 .3rem; }
.ds-question { color: #7A8794; font-size: .88rem; margin: 0; }
.ds-answer { font-size: 1.55rem; line-height: 1.3; font-weight: 650; margin: .1rem 0 .2rem; letter-spacing: -.01em; }
.ds-note { color: #7A8794; font-size: .88rem; margin: .1rem 0; }
.ds-kpis { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: .5rem 0 .3rem; }
.ds-kpi { border: 1px solid rgba(128,140,155,.28); border-radius: 10px; padding: 10px 14px; }
.ds-kpi .k { color: #7A8794; font-size: .78rem; }
.ds-kpi .v { font-size: 1.35rem; font-weight: 620; font-variant-numeric: tabular-nums; white-space: nowrap; }
.ds-kpi .v small { font-size: .82rem; font-weight: 450; color: #7A8794; margin-left: 4px; }
.ds-kpi .s { color: #7A8794; font-size: .78rem; overflow-wrap: anywhere; }
.ds-card { border-left: 4px solid var(--c); padding: .1rem 0 .1rem 14px; }
.ds-card h4 { font-size: 1.06rem; line-height: 1.35; margin: 0 0 .25rem; padding: 0; font-weight: 620; overflow-wrap: anywhere; }
.ds-tag { display: inline-block; color: #fff; background: var(--c); border-radius: 999px; font-size: .72rem; font-weight: 600;
  padding: 1px 9px; margin-right: 8px; vertical-align: 2px; }
.ds-price { font-size: .95rem; margin: 0 0 .4rem; font-variant-numeric: tabular-nums; }
.ds-list { margin: .2rem 0 .4rem; padding-left: 1.1rem; font-size: .9rem; }
.ds-list li { margin: .12rem 0; overflow-wrap: anywhere; }
.ds-change { font-size: .95rem; margin: .2rem 0; overflow-wrap: anywhere; }
.ds-change b { color: #009E73; font-weight: 620; }
.ds-where { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .82rem; overflow-wrap: anywhere; }
.ds-code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .82rem; line-height: 1.5;
  border-radius: 8px; background: rgba(128,140,155,.12); padding: 8px 12px; margin: .3rem 0 .5rem; white-space: pre; overflow-x: auto; }
.ds-code .hit { background: rgba(230,159,0,.28); display: block; margin: 0 -12px; padding: 0 12px; }
.ds-where { margin: .15rem 0; }
.ds-legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: .84rem; margin: 0 0 .4rem; }
.ds-chip i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.ds-chip b { font-weight: 620; font-variant-numeric: tabular-nums; }
.ds-empty { border: 1px dashed rgba(128,140,155,.55); border-radius: 12px; padding: 26px 28px; margin: 1rem 0; }
.ds-empty h3 { margin: 0 0 .3rem; padding: 0; font-size: 1.15rem; }
.ds-empty code { background: rgba(128,140,155,.16); padding: 3px 8px; border-radius: 6px; font-size: .88rem; }
"""


def head(question: str, answer: str, note: str = "") -> None:
    """The page's question, its answer in one sentence, and what the answer rests on."""
    below = f'<p class="ds-note">{escape(note)}</p>' if note else ""
    st.html(
        f'<div class="ds-head"><p class="ds-question">{escape(question)}</p><p class="ds-answer">{escape(answer)}</p>{below}</div>'
    )


def section(title: str, note: str = "") -> None:
    """A heading inside a page, with a line under it."""
    below = f'<p class="ds-note">{escape(note)}</p>' if note else ""
    st.html(f'<h3 style="font-size:1.1rem;margin:1rem 0 0;padding:0;font-weight:640">{escape(title)}</h3>{below}')


def note(text: str) -> None:
    """A quiet line."""
    st.html(f'<p class="ds-note">{escape(text)}</p>')


def figures(items: Sequence[tuple[str, str, str, str]]) -> None:
    """Key figures in a row: (name, value, unit, what it is)."""
    boxes = "".join(
        f'<div class="ds-kpi"><div class="k">{escape(name)}</div><div class="v">{escape(value)}<small>{escape(unit)}</small></div>'
        f'<div class="s">{escape(what)}</div></div>'
        for name, value, unit, what in items
    )
    st.html(f'<div class="ds-kpis">{boxes}</div>')


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
    shown = "".join(f'<span class="{"hit" if _is_hit(each) else "line"}">{escape(each)}\n</span>' for each in lines)
    return f'<p class="ds-where">{escape(where)}</p>' + (f'<div class="ds-code">{shown}</div>' if lines else "")


def _is_hit(line: str) -> bool:
    return line.lstrip().partition(" ")[0].endswith(">")


def plot(figure: go.Figure, key: str, **more: Any) -> Any:
    """A figure as wide as the page; one without anything in it is left out."""
    if empty(figure):
        return None
    return st.plotly_chart(figure, key=key, config=CONFIG, **more)
