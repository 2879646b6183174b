"""The pages, the run that they show, and links from one to another."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import streamlit as st

from dashboards import data, parts, sweeps
from dashboards.links import ANY_RANK, Selection, selection_of
from profiler.core.errors import DiffuscopeError
from profiler.metrics.listing import RunRow
from profiler.metrics.main_rank import main_rank
from profiler.rundir import layout
from profiler.tables.ranks import is_spread, rank_facts
from profiler.tables.run import Run

RUNS, DIAGNOSIS, KERNELS, TIMELINE, COMPILE, MEMORY, RANKS, COMPARE, TUNE, SWEEP, IMPORT = (
    "runs",
    "diagnosis",
    "kernels",
    "timeline",
    "compile",
    "memory",
    "ranks",
    "compare",
    "tune",
    "sweep",
    "import",
)
# Kinds of runs with a page of their own; every other page shows all other kinds.
OWN_PAGE = (TUNE, SWEEP)


@dataclass(frozen=True)
class Entry:
    """One page.

    Args:
        path: its address.
        title, icon: in the menu.
        kind: of the runs that it shows; empty: all that have no page of their own.
        file: of `pages/`, where that is not called like the address.
    """

    path: str
    title: str
    icon: str
    kind: str = ""
    file: str = ""

    @property
    def module(self) -> str:
        """The module that shows it."""
        return f"dashboards.pages.{self.file or self.path}"


ENTRIES = (
    Entry(RUNS, "Runs", ":material/list_alt:"),
    Entry(DIAGNOSIS, "Diagnosis", ":material/troubleshoot:"),
    Entry(KERNELS, "Kernels", ":material/bar_chart:"),
    Entry(TIMELINE, "Timeline", ":material/view_timeline:"),
    Entry(COMPILE, "Compile", ":material/account_tree:"),
    Entry(MEMORY, "Memory", ":material/memory:"),
    Entry(RANKS, "Ranks", ":material/hub:"),
    Entry(COMPARE, "Compare", ":material/compare_arrows:"),
    Entry(TUNE, "Tune", ":material/tune:", TUNE),
    Entry(SWEEP, "Sweep", ":material/grid_view:", SWEEP),
    Entry(IMPORT, "Import", ":material/upload_file:", file="import_files"),
)
_CHOSEN = "chosen_run"
# The page that is shown.
_PAGE = "shown_page"


def page(path: str) -> st.Page:
    """The page at an address; its module is imported when it is shown first."""
    entry = next(each for each in ENTRIES if each.path == path)
    return st.Page(_shown(entry), title=entry.title, icon=entry.icon, url_path=entry.path, default=entry.path == RUNS)


def _shown(entry: Entry) -> Callable[[], None]:
    def show() -> None:
        try:
            importlib.import_module(entry.module).page()
        except DiffuscopeError as error:
            parts.nothing(error.message, error.hint)

    return show


def selection(kind: str = "") -> Selection:
    """What the address says, and where it names no run the one of a kind that was chosen last."""
    found = selection_of(st.query_params.to_dict())
    chosen = st.session_state.get(_CHOSEN + kind, "")
    return found if found.run or not chosen else replace(found, run=chosen)


def select(new: Selection, kind: str = "") -> None:
    """Put a selection into the address."""
    new = _for_its_run(new)
    if new.query() != st.query_params.to_dict():
        st.query_params.from_dict(new.query())
    if new.run:
        st.session_state[_CHOSEN + kind] = new.run


def link(path: str, label: str, to: Selection, icon: str | None = None) -> None:
    """A link to a page with a selection."""
    to = _for_its_run(to)
    if path == st.session_state.get(_PAGE):
        # A link to the page that one is on keeps the old address: Streamlit takes it for no change.
        key = f"here/{path}/{label}/{sorted(to.query().items())}"
        st.button(label, key=key, icon=icon, type="tertiary", on_click=select, args=(to,))
        return
    st.page_link(page(path), label=label, icon=icon, query_params=to.query())


def _for_its_run(to: Selection) -> Selection:
    """Without the rank, where its run has no other."""
    if to.rank == ANY_RANK or not to.run:
        return to
    try:
        return to if is_spread(data.run(to.run)) else replace(to, rank=ANY_RANK)
    except DiffuscopeError:
        return to


def choose_run(
    rows: list[RunRow],
    usable: Callable[[RunRow], bool] = lambda _: True,
    width: int | Literal["stretch"] = 700,
    kind: str = "",
) -> str:
    """The run of this page, picked in a menu; at first that of the address, else the newest that this page can show.

    Returns an empty text, and says why on the page, where there is none.
    """
    every = rows if kind else [*rows, *sweeps.cells_of(selection().run)]
    rows = of_kind(every, kind)
    names = [row.name for row in rows]
    if not names:
        parts.nothing("No run to show", "This folder holds no run that can be read.", "diffuscope record flux-tiny --device cpu")
        return ""
    at = selection(kind)
    if at.run and at.run not in {row.name for row in every}:
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
        args=(kind,),
        format_func=lambda name: _described(by_name[name]),
        width=width,
    )
    if at.run and at.run != chosen:
        select(Selection(run=chosen, base=at.base), kind)
    st.session_state[_CHOSEN + kind] = chosen
    return chosen


def choose_rank(run: Run, usual: Callable[[Run], int] = main_rank, called: str = "median") -> int:
    """The process of a run that is shown; where a run has several the one of the address, picked in a menu.

    Ranks that are missing or of another run are named under it.

    Args:
        usual: gives the rank that is shown where the address names none.
        called: what that one is called in the menu.
    """
    if not is_spread(run):
        return next(iter(run.ranks), 0)
    ranks = [each.rank for each in rank_facts(run) if each.here]
    with st.spinner("Reading the trace of every rank …"):
        shown = usual(run)
    at, chosen = selection().rank, shown
    if len(ranks) > 1:
        st.session_state["rank_menu"] = at if at in ranks else shown
        chosen = st.selectbox(
            f"Rank, of {len(rank_facts(run))}",
            ranks,
            key="rank_menu",
            on_change=_rank_changed,
            format_func=lambda rank: f"{rank} ({called})" if rank == shown else str(rank),
            width=160,
        )
    _absent(run, at)
    return chosen


def _absent(run: Run, asked: int) -> None:
    for each in rank_facts(run):
        if each.problem:
            parts.note(f"{each.problem}{': another is shown' if each.rank == asked and not each.here else ''}")
    if asked != ANY_RANK and asked not in {each.rank for each in rank_facts(run)}:
        parts.note(f"there is no rank {asked}")


def _rank_changed() -> None:
    select(replace(selection(), rank=st.session_state["rank_menu"], finding=0, window="", kernel="", row=""))


def of_kind(rows: list[RunRow], kind: str) -> list[RunRow]:
    """The runs that a page for this kind shows, in their order."""
    return [row for row in rows if (row.kind == kind if kind else row.kind not in OWN_PAGE)]


def recorded(rows: list[RunRow]) -> list[RunRow]:
    """The runs that a page without a kind shows; where the address names a cell of a sweep, that sweep's cells too."""
    return of_kind([*rows, *sweeps.cells_of(selection().run)], "")


def menu(current: str) -> None:
    """The pages in a row. Their links carry the run, so that it stands in the address of every page.

    Writing it into the address once a page is shown would do so too, and lock the browser's way back.
    """
    to = {kind: _selection_of(kind) for kind in {entry.kind for entry in ENTRIES}}
    # The menu's own links are links, also to the page that one is on.
    st.session_state[_PAGE] = ""
    with st.container(horizontal=True, gap="small", key="menu"):
        for entry in ENTRIES:
            here = entry.path == (current or RUNS)
            with st.container(key=f"menu_{entry.path}{'_here' if here else ''}", width="content"):
                bare = entry.path in (RUNS, IMPORT)
                link(entry.path, entry.title, Selection() if bare else to[entry.kind], entry.icon)
    st.session_state[_PAGE] = current or RUNS


def _selection_of(kind: str) -> Selection:
    """The run of a kind that is selected, the one that was, or a default; of recorded runs with the base."""
    try:
        rows = data.readable_runs()
    except DiffuscopeError:
        return Selection()
    at, fitting = selection(kind), of_kind(rows, kind)
    run = at.run.partition("/")[0] if kind == SWEEP else at.run
    if run not in {row.name for row in fitting} and (kind or run in {row.name for row in rows}):
        run = st.session_state.get(_CHOSEN + kind, "")
    rank = at.rank if run == at.run and not kind else ANY_RANK
    return Selection(run=run or _default_run(fitting), base="" if kind else at.base, rank=rank)


def _default_run(rows: list[RunRow]) -> str:
    """The newest run with a trace, else the newest; empty where there is none."""
    return next((row.name for row in [*filter(traced, rows), *rows]), "")


def _run_changed(kind: str) -> None:
    """Another run: what was selected in the last one is gone."""
    select(Selection(run=st.session_state["run_menu"], base=selection(kind).base), kind)


def _described(row: RunRow) -> str:
    what = " · ".join(str(each) for each in (row.model, row.scheme, row.compile) if each and str(each) not in row.name)
    return f"{row.name}  ({what})" if what else row.name


def traced(row: RunRow) -> bool:
    """Whether a run holds a trace."""
    return any(Path(row.run).glob(f"rank*/{layout.TRACE}"))


def plain(text: str) -> str:
    """A name for a label that Streamlit takes for Markdown: every mark of punctuation is itself."""
    return "".join(f"\\{each}" if each.isascii() and not each.isalnum() and each not in " -_/." else each for each in text)
