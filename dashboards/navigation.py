"""The pages, the run that they show, and links from one to another."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import streamlit as st

from dashboards import data, parts
from dashboards.links import Selection, selection_of
from profiler.core.errors import DiffuscopeError
from profiler.metrics.listing import RunRow

RUNS, DIAGNOSIS, KERNELS, TIMELINE, COMPILE, MEMORY, COMPARE = (
    "runs",
    "diagnosis",
    "kernels",
    "timeline",
    "compile",
    "memory",
    "compare",
)


@dataclass(frozen=True)
class Entry:
    """One page: its address, its name in the menu, its icon."""

    path: str
    title: str
    icon: str


ENTRIES = (
    Entry(RUNS, "Runs", ":material/list_alt:"),
    Entry(DIAGNOSIS, "Diagnosis", ":material/troubleshoot:"),
    Entry(KERNELS, "Kernels", ":material/bar_chart:"),
    Entry(TIMELINE, "Timeline", ":material/view_timeline:"),
    Entry(COMPILE, "Compile", ":material/account_tree:"),
    Entry(MEMORY, "Memory", ":material/memory:"),
    Entry(COMPARE, "Compare", ":material/compare_arrows:"),
)
_CHOSEN = "chosen_run"


def page(path: str) -> st.Page:
    """The page at an address; its module is imported when it is shown first."""
    entry = next(each for each in ENTRIES if each.path == path)
    return st.Page(_shown(entry), title=entry.title, icon=entry.icon, url_path=entry.path, default=entry.path == RUNS)


def _shown(entry: Entry) -> Callable[[], None]:
    def show() -> None:
        try:
            importlib.import_module(f"dashboards.pages.{entry.path}").page()
        except DiffuscopeError as error:
            parts.nothing(error.message, error.hint)

    return show


def selection() -> Selection:
    """What the address says, and where it names no run the one that was chosen last."""
    found = selection_of(st.query_params.to_dict())
    chosen = st.session_state.get(_CHOSEN, "")
    return found if found.run or not chosen else replace(found, run=chosen)


def select(new: Selection) -> None:
    """Put a selection into the address."""
    if new.query() != st.query_params.to_dict():
        st.query_params.from_dict(new.query())
    if new.run:
        st.session_state[_CHOSEN] = new.run


def link(path: str, label: str, to: Selection, icon: str | None = None) -> None:
    """A link to a page with a selection."""
    st.page_link(page(path), label=label, icon=icon, query_params=to.query())


def choose_run(
    rows: list[RunRow], usable: Callable[[RunRow], bool] = lambda _: True, width: int | Literal["stretch"] = 700
) -> str:
    """The run of this page, picked in a menu; at first that of the address, else the newest that this page can show.

    Returns an empty text, and says why on the page, where there is none.
    """
    names = [row.name for row in rows]
    if not names:
        parts.nothing("No run to show", "This folder holds no run that can be read.", "diffuscope record flux-tiny --device cpu")
        return ""
    at = selection()
    if at.run and at.run not in names:
        st.warning(f"There is no run called `{at.run.replace('`', '')}` here; showing another.", icon=":material/link_off:")
    newest = next((row.name for row in rows if usable(row)), names[0])
    wanted = at.run if at.run in names else newest
    st.session_state["run_menu"] = wanted
    by_name = {row.name: row for row in rows}
    chosen = st.selectbox(
        "Run",
        names,
        key="run_menu",
        on_change=_run_changed,
        format_func=lambda name: _described(by_name[name]),
        width=width,
    )
    if at.run and at.run != chosen:
        select(Selection(run=chosen, base=at.base))
    st.session_state[_CHOSEN] = chosen
    return chosen


def menu(current: str) -> None:
    """The pages in a row. Their links carry the run, so that it stands in the address of every page.

    Writing it into the address once a page is shown would do so too, and lock the browser's way back.
    """
    at = selection()
    to = Selection(run=at.run or _default_run(), base=at.base)
    with st.container(horizontal=True, gap="small", key="menu"):
        for entry in ENTRIES:
            here = entry.path == (current or RUNS)
            with st.container(key=f"menu_{entry.path}{'_here' if here else ''}", width="content"):
                link(entry.path, entry.title, Selection() if entry.path == RUNS else to, entry.icon)


def _default_run() -> str:
    """The newest run with a trace, else the newest; empty where there is none."""
    try:
        rows = data.readable_runs()
        return next((row.name for row in [*filter(traced, rows), *rows]), "")
    except DiffuscopeError:
        return ""


def _run_changed() -> None:
    """Another run: what was selected in the last one is gone."""
    select(Selection(run=st.session_state["run_menu"], base=selection().base))


def _described(row: RunRow) -> str:
    what = " · ".join(str(each) for each in (row.model, row.scheme, row.compile) if each and str(each) not in row.name)
    return f"{row.name}  ({what})" if what else row.name


def traced(row: RunRow) -> bool:
    """Whether a run holds a trace."""
    from profiler.rundir import layout

    return data.run(row.name).has(layout.TRACE)


def plain(text: str) -> str:
    """A name for a label that Streamlit takes for Markdown: every mark of punctuation is itself."""
    return "".join(f"\\{each}" if each.isascii() and not each.isalnum() and each not in " -_/." else each for each in text)
