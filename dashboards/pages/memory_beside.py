"""The part of the Memory page that lays several runs over each other: a line a scheme."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import memory_runs as charts
from dashboards.links import Selection
from profiler.core.units import GIB
from profiler.metrics.listing import RunRow
from profiler.rundir import layout

_EVENTS = (layout.MEMORY, layout.MEMORY_TRACE)
# More lines than that tell nobody anything.
_MOST = 12


def section(name: str, rows: list[RunRow]) -> None:
    """Live memory over a call of this run and of any others."""
    able = [row.name for row in rows if row.name != name and _has_events(row)]
    if not able:
        return
    parts.section("Over other runs", "live memory over the same parts of a call, a line a run")
    at = navigation.selection()
    st.session_state["memory_also"] = [each for each in at.others if each in able]
    left, right = st.columns([0.72, 0.28], vertical_alignment="bottom")
    with left:
        chosen = st.multiselect(
            "Other runs", able, key="memory_also", on_change=_changed, placeholder="none", max_selections=_MOST
        )
    with right:
        _suggestion(name, rows, able, chosen)
    if chosen:
        _overlay(name, chosen, {row.name: row for row in rows})


def ranks(name: str) -> None:
    """What each rank of this run needs on its own device; nothing for one process, or on CPUs."""
    known = [vars(each) for each in data.rank_totals(name)]
    sizes = {"model_gib": "model memory, GiB", "load_peak_gib": "load peak, GiB", "inference_peak_gib": "peak of a call, GiB"}
    if len(known) < 2 or all(each[size] is None for each in known for size in sizes):
        return
    together = sum(each["inference_peak_gib"] or 0.0 for each in known)
    parts.section("By rank", f"each rank holds its own memory; the peaks of a call are {together:,.2f} GiB together")
    table = pl.DataFrame([{"rank": each["rank"]} | {text: each[size] for size, text in sizes.items()} for each in known])
    config: Any = {text: st.column_config.NumberColumn(text, format="%.3f") for text in sizes.values()}
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        key="memory_ranks",
        height=parts.table_height(table.height),
        column_config=config,
    )


def _has_events(row: RunRow) -> bool:
    return any(next(Path(row.run).glob(f"rank*/{each}"), None) for each in _EVENTS)


def _changed() -> None:
    navigation.select(replace(navigation.selection(), also="\n".join(st.session_state["memory_also"])))


def _suggestion(name: str, rows: list[RunRow], able: list[str], chosen: list[str]) -> None:
    """A link to all runs of the same model and batch."""
    own = next(row for row in rows if row.name == name)
    alike = [row.name for row in rows if row.name in able and (row.model, row.batch) == (own.model, own.batch)][:_MOST]
    if own.model and set(alike) - set(chosen):
        to = Selection(run=name, also="\n".join(alike))
        model = own.model.rpartition(":")[2]
        navigation.link(
            navigation.MEMORY, f"All {len(alike) + 1} runs of {navigation.plain(model)}", to, ":material/stacked_line_chart:"
        )


def _overlay(name: str, chosen: list[str], rows: dict[str, RunRow]) -> None:
    names = (name, *chosen)
    found = dict(zip(names, data.live_over_call(names), strict=True))
    parts.plot(charts.overlay([(each, of.points) for each, of in found.items() if of.points]), "memory_runs")
    for each, of in found.items():
        if of.not_compared:
            parts.note(f"{each} is not in it: {of.not_compared}")
        elif of.lower_bound:
            parts.note(f"{each} is a lower bound: {of.lower_bound}")
    table = pl.DataFrame([_row(rows[each], of.points) for each, of in found.items()])
    number: Any = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        key="memory_runs_table",
        height=parts.table_height(table.height),
        column_config={
            "run": st.column_config.TextColumn("run", width="medium"),
            "peak": number("peak of a call, GiB", format="%.3f", help="requested, from the memory events"),
            "least": number("least, GiB", format="%.3f"),
            "model": number("model memory, GiB", format="%.3f"),
            "ms": number("call, ms", format="%,.1f"),
        },
    )


def _row(row: RunRow, points: list[dict[str, Any]]) -> dict[str, object]:
    live = [int(each["live_bytes"]) / GIB for each in points]
    shown = {"run": row.name, "scheme": row.scheme, "compile": row.compile}
    return shown | {
        "peak": max(live, default=None),
        "least": min(live, default=None),
        "model": row.model_gib,
        "ms": row.median_ms,
    }
