"""The part of the Kernels page that holds two runs beside each other."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import kernels as charts
from dashboards.windows import WHOLE, kernels_of, labels, repeats, spoken
from profiler.metrics.main_rank import main_rank
from profiler.report.names import readable
from profiler.rundir import layout

_ROWS = 60


def section(name: str, window: str, rank: int, names: list[str]) -> None:
    """Classes, icicles and kernels of this run and of another one, of the same window."""
    others = [each for each in names if each != name]
    if not others:
        return
    parts.section("Beside another run")
    at = navigation.selection().base
    st.session_state["beside_menu"] = at if at in others else None
    chosen = st.selectbox("Other run", others, key="beside_menu", placeholder="none", width=560, on_change=_changed)
    if chosen is None:
        return
    other = data.run(chosen)
    ranks = rank, rank if other.has(layout.TRACE, rank) else main_rank(other)
    if window != WHOLE and window not in labels(data.ledgers(chosen, ranks[1])):
        parts.note(f"{chosen} has no {window}.")
        return
    _pair((name, chosen), window, ranks)


def _changed() -> None:
    navigation.select(replace(navigation.selection(), base=st.session_state["beside_menu"] or ""))


def _pair(names: tuple[str, str], window: str, ranks: tuple[int, int]) -> None:
    ledgers = [data.ledgers(name, rank) for name, rank in zip(names, ranks, strict=True)]
    # Two runs may have traced different numbers of steps.
    both = [
        charts.a_repeat(kernels_of(name, window, rank), repeats(window, of))
        for name, rank, of in zip(names, ranks, ledgers, strict=True)
    ]
    several = any(repeats(window, of) > 1 for of in ledgers)
    of = f"a {window}, on average" if several else spoken(window, ledgers[0])
    parts.plot(charts.beside(both[0], both[1], names, of), "beside")
    for number, column in enumerate(st.columns(2)):
        with column:
            parts.note(names[number])
            parts.plot(charts.icicle(both[number], of, 300), f"beside_{number}")
    _table(charts.differences(both[0], both[1]), names)


def _table(rows: pl.DataFrame, names: tuple[str, str]) -> None:
    number = st.column_config.NumberColumn
    shown = rows.head(_ROWS).with_columns(pl.col("name").map_elements(readable, return_dtype=pl.String))
    st.dataframe(
        shown.select("name", "class", "first_ms", "second_ms", "delta_ms"),
        hide_index=True,
        key="beside_table",
        height=parts.table_height(shown.height, 360),
        column_config={
            "name": st.column_config.TextColumn("kernel", width="large"),
            "first_ms": number("this run, ms", format="%,.3f", help=names[0]),
            "second_ms": number("the other, ms", format="%,.3f", help=names[1]),
            "delta_ms": number("difference, ms", format="%+,.3f"),
        },
    )
