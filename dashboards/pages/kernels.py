"""Kernels: where does the busy time go?"""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import floor as floor_charts
from dashboards.charts import kernels as charts
from dashboards.links import Selection
from profiler.core import palette
from profiler.metrics.ledger import Ledger
from profiler.metrics.windows import STEP
from profiler.report.names import readable
from profiler.rundir import layout

WHOLE = "the whole trace"
_QUESTION = "Where does the busy time go?"


def page() -> None:
    """The page."""
    rows = data.readable_runs()
    left, right = st.columns([0.62, 0.38])
    with left:
        name = navigation.choose_run(rows, navigation.traced, "stretch")
    if not name:
        return
    found = data.run(name)
    if not found.has(layout.TRACE):
        parts.head(_QUESTION, f"{name} was not traced.")
        parts.nothing("No trace", "This run holds no kernel trace.", f"diffuscope import TRACE -o {found.path}-traced")
        return
    ledgers = data.ledgers(name)
    with right:
        window = _window(ledgers)
    kernels = kernels_of(name, window)
    source = data.breakdown(name).source
    if kernels.is_empty():
        parts.head(_QUESTION, f"Nothing ran in {window}.")
        parts.nothing("No kernels", "This part of the trace holds neither GPU kernels nor operators.")
        return
    _head(kernels, spoken(window, ledgers), source)
    parts.plot(charts.icicle(kernels, spoken(window, ledgers)), "kernel_icicle")
    _table(name, kernels, window)
    _floor(name)
    _stability(ledgers)
    _beside(name, kernels, window, [row.name for row in rows if navigation.traced(row)])


def labels(ledgers: dict[str, Ledger]) -> list[str]:
    """What the picker offers: the whole trace, all repeats of each window, and each repeat."""
    found = [WHOLE]
    for name, each in ledgers.items():
        if each.window != name:
            continue
        found.append(name)
        if each.windows.height > 1:
            found += [f"{name}/{index}" for index in each.windows["index"]]
    return found


def spoken(window: str, ledgers: dict[str, Ledger]) -> str:
    """A window as a sentence names it."""
    kind, _, index = window.partition("/")
    if index:
        return f"{kind} {index}"
    several = kind in ledgers and ledgers[kind].windows.height > 1
    names = {"step": "all steps" if several else "the step", "text": "text encoding", "decode": "decoding", "call": "the call"}
    return names.get(kind, window)


def kernels_of(name: str, window: str) -> pl.DataFrame:
    """The kernels of a window (`step` is all its repeats, `step/1` one) or of the whole trace, as traced."""
    if window == WHOLE:
        return charts.with_units(data.breakdown(name).kernels)
    kind, _, index = window.partition("/")
    rows = data.ledgers(name)[kind].rows
    return charts.of_ledger(rows.filter(pl.col("index") == int(index)) if index else rows)


def _window(ledgers: dict[str, Ledger]) -> str:
    names = labels(ledgers)
    at = navigation.selection().window
    st.session_state["window_menu"] = at if at in names else WHOLE
    chosen: str = st.selectbox(
        "Window",
        names,
        key="window_menu",
        format_func=lambda each: spoken(each, ledgers),
        on_change=lambda: navigation.select(replace(navigation.selection(), window=st.session_state["window_menu"])),
    )
    return chosen


def _head(kernels: pl.DataFrame, window: str, source: str) -> None:
    classes = charts.per_class(kernels)
    whole = sum(classes.values())
    (first, dearest), *_ = classes.items()
    what = "GPU busy time" if source == "gpu" else "operators' own time on the CPU (the trace holds no GPU event)"
    parts.head(
        _QUESTION, f"{first} takes {dearest / whole:.0%} of {window}: {dearest:,.2f} of {whole:,.2f} ms", f"{what}, as traced"
    )
    top = kernels.row(0, named=True)
    parts.figures(
        [
            ("busy", f"{whole:,.2f}", "ms", window),
            ("launches", f"{kernels['count'].sum():,.0f}", "", "kernels, copies and memsets" if source == "gpu" else "operators"),
            ("distinct", f"{kernels.height:,}", "", "names"),
            ("dearest kernel", f"{top['share']:.1%}", "", readable(top["name"])[:60]),
        ]
    )


def _table(name: str, kernels: pl.DataFrame, window: str) -> None:
    parts.section("Kernels", "tick one to see it in the timeline")
    number = st.column_config.NumberColumn
    shown = kernels.with_columns(pl.col("name").map_elements(readable, return_dtype=pl.String), pl.col("share") * 100)
    picked = st.dataframe(
        shown,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="kernel_table",
        height=parts.table_height(shown.height),
        column_config={
            "name": st.column_config.TextColumn("kernel" if data.breakdown(name).source == "gpu" else "operator", width="large"),
            "class": st.column_config.TextColumn("class", width="small"),
            "count": number("count", format="%,.0f"),
            "total_ms": number("total, ms", format="%,.3f"),
            "mean_us": number("mean, us", format="%,.1f"),
            "share": st.column_config.ProgressColumn("share, %", format="%.1f", min_value=0.0, max_value=100.0),
        },
    )
    chosen = [kernels["name"][index] for index in picked["selection"]["rows"] if index < kernels.height]
    if chosen:
        to = Selection(run=name, kernel=chosen[0], window="" if window == WHOLE else window)
        navigation.link(navigation.TIMELINE, "Show its longest run in the timeline", to, ":material/view_timeline:")


def _floor(name: str) -> None:
    report = data.report(name)
    if report.floor is None or report.floor.why:
        return
    times = report.untraced_ns / report.floor.floor_ns if report.floor.floor_ns else 0.0
    ratio = f"; a {report.window} takes {times:.2f} times its floor" if times else ""
    note = f"what this GPU's own measured matmul and copy rates allow for the same shapes{ratio}"
    parts.section("Above the least possible time", note)
    parts.plot(floor_charts.bars(report.floor.classes, report.window), "floor")


def _stability(ledgers: dict[str, Ledger]) -> None:
    steps = ledgers.get(STEP)
    if steps is None or steps.window != STEP or steps.windows.height < 2:
        return
    totals: list[int] = steps.rows.group_by("index").agg(pl.col("total_ns").sum())["total_ns"].to_list()
    spread = (max(totals) - min(totals)) * len(totals) / (sum(totals) or 1)
    parts.section(
        "Step by step", f"{steps.windows.height} steps in the trace; the longest and the shortest differ by {spread:.1%}"
    )
    parts.plot(charts.stability(steps.rows), "stability")
    sums = charts.by_step(steps.rows).group_by("kind", "label", maintain_order=True).agg(pl.col("ms").mean())
    parts.legend([(palette.of_row(kind, label), label, f"{ms:,.2f} ms a step") for kind, label, ms in sums.iter_rows()])


def _beside(name: str, kernels: pl.DataFrame, window: str, names: list[str]) -> None:
    others = [each for each in names if each != name]
    if not others:
        return
    parts.section("Beside another run")
    at = navigation.selection().base
    chosen = st.selectbox("Other run", others, index=others.index(at) if at in others else None, placeholder="none", width=560)
    if chosen is None:
        return
    if window != WHOLE and window not in labels(data.ledgers(chosen)):
        parts.note(f"{chosen} has no {window}.")
        return
    parts.plot(charts.beside(kernels, kernels_of(chosen, window), (name, chosen)), "beside")
