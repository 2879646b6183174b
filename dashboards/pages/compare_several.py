"""The part of the Compare page that holds several runs against one base."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import compare as charts
from dashboards.charts import memory_runs
from dashboards.links import Selection
from profiler.core.units import gib
from profiler.metrics.compare import Comparison
from profiler.metrics.compare_memory import INFERENCE, MODEL
from profiler.metrics.windows import CALL, STEP
from profiler.report.compare_verdict import verdicts

_COLUMNS = {
    "ranks": ("ranks", "%d"),
    "call_ms": ("call, ms", "%,.1f"),
    "times": ("× as fast", "%.2f"),
    "model_gib": ("model, GiB", "%.2f"),
    "peak_gib": ("peak, GiB", "%.2f"),
    "promised_gib": ("promised win, GiB", "%.2f"),
    "measured_gib": ("measured win, GiB", "%.2f"),
    "sqnr_db": ("SQNR, dB", "%.1f"),
}


def section(base: str, names: list[str]) -> None:
    """A table of all runs against the base, their windows and their memory over a call."""
    found = {name: data.comparison(name, base) for name in names}
    parts.section("All against the base", f"base: {base}; tick one to take it apart below")
    made = pl.DataFrame([_base_row(base, next(iter(found.values()))), *(_row(name, base, each) for name, each in found.items())])
    used = [name for name in made.columns if name == "run" or made[name].null_count() < made.height]
    config: dict[str, Any] = {
        name: st.column_config.NumberColumn(text, format=form) for name, (text, form) in _COLUMNS.items() if name in used
    }
    picked: Any = st.dataframe(
        made.select(used),
        hide_index=True,
        placeholder="–",
        on_select="rerun",
        selection_mode="single-row",
        key="several_table",
        height=parts.table_height(made.height),
        column_config=config | {"run": st.column_config.TextColumn("run", width="medium", pinned=True)},
    )
    for index in (each for each in picked["selection"]["rows"] if 0 < each <= len(names)):
        others = [name for name in names if name != names[index - 1]]
        to = Selection(run=names[index - 1], base=base, also="\n".join(others))
        navigation.link(navigation.COMPARE, f"Take {navigation.plain(names[index - 1])} apart", to)
    _windows(base, found)
    _memory(base, names)


def _base_row(base: str, any_of: Comparison) -> dict[str, object]:
    memory = any_of.memory
    empty: dict[str, object] = dict.fromkeys(("promised_gib", "measured_gib", "sqnr_db", "time", "memory"))
    sizes = {"model_gib": gib(memory.phase(MODEL).base), "peak_gib": gib(memory.phase(INFERENCE).base)}
    return {
        "run": base,
        "ranks": _ranks(any_of, new=False),
        "call_ms": any_of.calls.base.median_ms,
        "times": 1.0,
        **sizes,
        **empty,
    }


def _ranks(found: Comparison, new: bool) -> int | None:
    """How many; nothing of one process, so that a table without several ranks has no such column."""
    of = found.ranks[new]
    return of.count if of else None


def _row(name: str, base: str, found: Comparison) -> dict[str, object]:
    before, after = found.calls.base.median_ms, found.calls.new.median_ms
    told = {each.about: each.kind for each in reversed(verdicts(found))}
    expected = found.expected
    return {
        "run": name,
        "ranks": _ranks(found, new=True),
        "call_ms": after,
        "times": before / after if before and after else None,
        "model_gib": gib(found.memory.phase(MODEL).new),
        "peak_gib": gib(found.memory.phase(INFERENCE).new),
        "promised_gib": gib(expected.win) if expected else None,
        "measured_gib": gib(expected.measured) if expected else None,
        "sqnr_db": data.sqnr_db(name, base),
        "time": told.get("time"),
        "memory": told.get("memory"),
    }


def _windows(base: str, found: dict[str, Comparison]) -> None:
    """One bar a run: the step where all have one, else the call."""
    window = next((each for each in (STEP, CALL) if all(each in one.windows for one in found.values())), None)
    if window is None:
        return
    first = next(iter(found.values())).windows[window]
    bars = [(base, [(each.name, each.base_ns / 1e6) for each in first.groups()])]
    bars += [(name, [(each.name, each.new_ns / 1e6) for each in one.windows[window].groups()]) for name, one in found.items()]
    parts.plot(charts.several(bars, f"ms a {window}, untraced"), "several_windows")


def _memory(base: str, names: list[str]) -> None:
    every = (base, *names)
    lines = [(name, each.points) for name, each in zip(every, data.live_over_call(every), strict=True) if each.points]
    if len(lines) > 1:
        parts.note("live memory over a call")
        parts.plot(memory_runs.overlay(lines), "several_memory")
