"""Sweep: which configuration should I ship?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import streamlit as st

from dashboards import data, live, navigation, parts, sweeps
from dashboards.charts import sweep as charts
from dashboards.links import Selection
from dashboards.live import RUNNING
from dashboards.navigation import SWEEP
from dashboards.pages import sweep_progress, sweep_seed, sweep_table
from profiler.core import palette
from profiler.core.units import GIB, MIB
from profiler.metrics.sweep import SweepResult
from profiler.metrics.sweep_advice import FAITHFUL, FASTEST, NEAREST, SMALLEST
from profiler.metrics.sweep_front import Group
from profiler.report.sweep_words import level, seconds, work

_QUESTION = "Which configuration should I ship?"
_COMMAND = "diffuscope sweep flux-dev --preset seed-flux"


def page() -> None:
    """The page."""
    rows = data.readable_runs()
    if not navigation.of_kind(rows, SWEEP):
        parts.head(_QUESTION, "This folder holds no sweep yet.")
        why = "A sweep records a grid of schemes and options, each cell in a process of its own, and says which to ship."
        parts.nothing("Nothing was swept", why, _COMMAND)
        return
    name = navigation.choose_run(rows, kind=SWEEP)
    running = sweeps.result(name).tables.status == RUNNING
    live.follow(lambda: _body(name, running), running)


def _body(name: str, running: bool) -> None:
    at = replace(navigation.selection(SWEEP), run=name)
    result = sweeps.result(name, None, _number(at.at_most_gib), _number(at.at_least_db))
    if running and result.tables.status != RUNNING:
        live.rest()
    group = _group(at, result)
    _head(result, group)
    if running:
        sweep_progress.shown(result)
    if group:
        _scatter(result, group)
        _advice(at, result, group)
        sweep_table.finished(at, result, group)
        sweep_seed.beside(at, result)
    if not running:
        sweep_progress.shown(result)
    sweep_table.unfinished(at, result)


def _number(text: str) -> float | None:
    """A budget as it stands in the address; what is no size is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


def _group(at: Selection, result: SweepResult) -> Group | None:
    """Cells of the same work: that of the address, else the largest group; picked in a menu where there are several."""
    groups = {work(each.work): each for each in result.groups}
    if len(groups) < 2:
        return next(iter(groups.values()), None)
    st.session_state["work_menu"] = at.work if at.work in groups else max(groups, key=lambda each: len(groups[each].ids))
    chosen: str = st.selectbox(
        "Work",
        list(groups),
        key="work_menu",
        width=700,
        on_change=lambda: navigation.select(replace(at, work=st.session_state["work_menu"], row=""), SWEEP),
    )
    return groups[chosen]


def answer(result: SweepResult, group: Group | None) -> str:
    """The fastest cell of the group that is near bf16, or else the fastest of all, in one sentence."""
    found = {each.what: each for each in result.recommended if group and each.work == group.work}
    advice = found.get(FAITHFUL) or found.get(FASTEST)
    if advice:
        several = group is not None and len(group.ids) > 1
        return f"{'So far, ship' if result.tables.status == RUNNING else 'Ship'} {advice.text}" if several else advice.text
    return "No cell is done yet." if result.tables.status == RUNNING else "No cell has a result."


def _head(result: SweepResult, group: Group | None) -> None:
    file = result.tables.file
    asked = [f"preset {file.preset}" if file and file.preset else "", f"executor {file.executor}" if file else ""]
    parts.head(_QUESTION, answer(result, group), " · ".join(each for each in (work(group.work) if group else "", *asked) if each))
    if group is None:
        return
    rows = {row["id"]: row for row in result.cells.to_dicts()}
    best = {each.what: rows[each.cell] for each in result.recommended if each.cell and each.work == group.work}
    figures = []
    if FASTEST in best:
        figures.append((FASTEST, seconds(best[FASTEST]), "s", best[FASTEST]["id"]))
    if SMALLEST in best:
        value, _, unit = spoken_size(best[SMALLEST][group.memory]).partition(" ")
        figures.append((SMALLEST, value, unit, best[SMALLEST]["id"]))
    if NEAREST in best:
        figures.append((NEAREST, level(best[NEAREST], "sqnr_db"), "dB", best[NEAREST]["id"]))
    count = len(group.front)
    of = f"of {len(group.ids)} with a result of this work"
    parts.figures([*figures, ("Pareto front", f"{count}", f"cell{'s' * (count != 1)}", of)])


def spoken_size(size_gib: float) -> str:
    """A size with the digits of the recommendation."""
    return f"{size_gib:.2f} GiB" if size_gib >= 0.1 else f"{size_gib * GIB / MIB:.2f} MiB"


def _scatter(result: SweepResult, group: Group) -> None:
    axes = "time, memory and SQNR" if group.quality else "time and memory"
    if len(group.ids) < 2:
        return
    parts.section("Time against memory", f"lower left is better; large: no other cell beats it in {axes} at once")
    if charts.placed(result.cells, group):
        parts.plot(charts.scatter(result.cells, group), "sweep_scatter")
    else:
        parts.note("memory is not known of these cells: nothing to place")


def _advice(at: Selection, result: SweepResult, group: Group) -> None:
    parts.section("What to ship", "fastest first; a budget asks for one more answer")
    runs = dict(result.cells.select("id", "run").iter_rows())
    left, right = st.columns([0.68, 0.32])
    with left:
        for each in (each for each in result.recommended if each.work == group.work):
            with st.container(border=True):
                colour = palette.FASTER if each.cell else palette.SLOWER
                parts.card(parts.Card(title=each.text, tag=each.what, colour=colour))
                if each.cell and runs[each.cell]:
                    to = Selection(run=f"{at.run}/{runs[each.cell]}")
                    navigation.link(navigation.DIAGNOSIS, "Diagnose it", to, ":material/troubleshoot:")
    with right:
        _budget(at, group)
    if result.not_known:
        parts.bullets(result.not_known)


def _budget(at: Selection, group: Group) -> None:
    st.session_state["budget_gib"], st.session_state["budget_db"] = _number(at.at_most_gib), _number(at.at_least_db)

    def changed() -> None:
        gib, level = (st.session_state[key] for key in ("budget_gib", "budget_db"))
        to = replace(at, at_most_gib=f"{gib:g}" if gib else "", at_least_db=f"{level:g}" if level else "")
        navigation.select(to, SWEEP)

    if group.memory:
        _limit(f"At most GiB of {charts.MEMORY_NAMES[group.memory]}", "budget_gib", changed)
    if group.quality:
        _limit("At least dB of SQNR", "budget_db", changed)


def _limit(label: str, key: str, changed: Callable[[], None]) -> None:
    st.number_input(label, min_value=0.0, max_value=1e5, value=None, placeholder="no limit", key=key, on_change=changed)
