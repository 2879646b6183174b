"""One shape of a tuning, on the Tune page: what was kept, what lost against it, what was no good."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st

from dashboards import navigation, parts
from dashboards.charts import tune as charts
from dashboards.navigation import TUNE
from profiler.metrics.tune import TUNED, TuneResult
from profiler.tables.tune import TunedShape

# Lines of a list that is still read.
_MOST = 200


def shown(name: str, result: TuneResult) -> None:
    """One shape: what was kept, what lost against it, what was no good."""
    parts.section("One shape")
    index = _chosen(name, result)
    shape = result.tables.shapes[index]
    row = result.shapes.row(index, named=True)
    left, right = st.columns([0.44, 0.56])
    with left, st.container(border=True):
        _best(shape, row)
    with right:
        parts.plot(charts.ways(result, index), "tune_ways")
    _rejected(shape)


def _best(shape: TunedShape, row: dict[str, Any]) -> None:
    price = f"{row['us']:,.1f} us · {_tops(row['tops'])} TOPS"
    price += f" · {row['share']:.0%} of the limit" if row["share"] else ""
    space = shape.best.kernel.partition(":")[0]
    parts.card(parts.Card(title=charts.shape_name(row), tag=space, colour=charts.COLOURS[TUNED], price=price))
    parts.code(config_text(shape.best.kernel, shape.best.config))
    counts = f"{len(shape.wrong):,} wrong, {len(shape.failed):,} failed"
    parts.note(f"{shape.candidates:,} candidates in {shape.seconds:,.1f} s: {counts}")
    if not row["pays"]:
        parts.note("no kernel was faster than untuned: a recorded run leaves this shape as it is")


def _rejected(shape: TunedShape) -> None:
    lines = [f"{kernel} is wrong: {why}" for kernel, why in shape.wrong.items()]
    lines += [f"{kernel} failed: {why}" for kernel, why in shape.failed.items()]
    if lines:
        with st.expander(f"{len(lines)} candidates that were no good"):
            parts.bullets(lines[:_MOST])


def config_text(kernel: str, config: dict[str, Any]) -> str:
    """A kernel and its configuration, a line a setting."""
    width = max((len(name) for name in config), default=0)
    settings = [f"  {name:<{width}}  {value}" for name, value in config.items()]
    return "\n".join([kernel.partition(":")[0] if config else kernel, *settings])


def _chosen(name: str, result: TuneResult) -> int:
    """The shape that the address names, and a menu of the others, dearest first."""
    at = replace(navigation.selection(TUNE), run=name)
    rows = sorted(result.shapes.iter_rows(named=True), key=lambda row: -row["us"] * row["count"])
    names = {charts.shape_name(row): int(row["shape"]) for row in rows}
    st.session_state["shape_menu"] = at.row if at.row in names else next(iter(names))
    chosen: str = st.selectbox(
        "Shape",
        list(names),
        key="shape_menu",
        width=420,
        on_change=lambda: navigation.select(replace(at, row=st.session_state["shape_menu"]), TUNE),
    )
    return names[chosen]


def _tops(value: float) -> str:
    return f"{value:,.1f}" if value >= 10 else f"{value:.3f}"
