"""Kernels: where does the busy time go?"""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import floor as floor_charts
from dashboards.charts import kernels as charts
from dashboards.charts import roofline as roofline_charts
from dashboards.links import Selection
from dashboards.pages import kernels_beside
from dashboards.windows import WHOLE, choose, kernels_of, spoken
from profiler.core import palette
from profiler.core.errors import UnreadableInput
from profiler.metrics.ledger import Ledger
from profiler.metrics.windows import STEP
from profiler.report.floor import raised_text
from profiler.report.names import readable
from profiler.rundir import layout

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
    with right:
        rank = navigation.choose_rank(found)
    if not found.has(layout.TRACE, rank):
        parts.head(_QUESTION, f"{name} was not traced.")
        parts.nothing("No trace", "This run holds no kernel trace.", f"diffuscope import TRACE -o {found.path}-traced")
        return
    ledgers = data.ledgers(name, rank)
    with right:
        window = choose(ledgers)
    kernels = kernels_of(name, window, rank)
    if kernels.is_empty():
        parts.head(_QUESTION, f"Nothing ran in {window}.")
        parts.nothing("No kernels", "This part of the trace holds neither GPU kernels nor operators.")
        return
    _head(kernels, spoken(window, ledgers), data.breakdown(name, rank).source)
    parts.plot(charts.icicle(kernels, spoken(window, ledgers)), "kernel_icicle")
    _table(name, kernels, window, rank, ledgers)
    _floor(name, rank)
    _roofline(name, rank, ledgers)
    _stability(ledgers)
    kernels_beside.section(name, window, rank, [row.name for row in rows if navigation.traced(row)])


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


def _table(name: str, kernels: pl.DataFrame, window: str, rank: int, ledgers: dict[str, Ledger]) -> None:
    steps = _repeated(ledgers)
    parts.section(
        "Kernels", "tick one to see it in the timeline" + ("; spread: longest less shortest step, of their mean" if steps else "")
    )
    number = st.column_config.NumberColumn
    whole = charts.with_spread(kernels, steps.rows) if steps else kernels
    percent = [(pl.col(each) * 100) for each in ("share", "spread") if each in whole.columns]
    shown = whole.with_columns(pl.col("name").map_elements(readable, return_dtype=pl.String), *percent)
    picked = st.dataframe(
        shown,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        key="kernel_table",
        height=parts.table_height(shown.height),
        column_config={
            "name": st.column_config.TextColumn(
                "kernel" if data.breakdown(name, rank).source == "gpu" else "operator", width="large"
            ),
            "class": st.column_config.TextColumn("class", width="small"),
            "count": number("count", format="%,.0f"),
            "total_ms": number("total, ms", format="%,.3f"),
            "mean_us": number("mean, us", format="%,.1f"),
            "share": st.column_config.ProgressColumn("share, %", format="%.1f", min_value=0.0, max_value=100.0),
            "spread": number("spread, %", format="%.1f", help="over the steps of the trace"),
        },
    )
    chosen = [kernels["name"][index] for index in picked["selection"]["rows"] if index < kernels.height]
    if chosen:
        to = Selection(run=name, kernel=chosen[0], window="" if window == WHOLE else window, rank=rank)
        navigation.link(navigation.TIMELINE, "Show its longest run in the timeline", to, ":material/view_timeline:")


def _floor(name: str, rank: int) -> None:
    try:
        report = data.report(name, rank=rank)
    except UnreadableInput as error:
        # Trace and compile log may be of two programs: kernels are known all the same.
        parts.note(error.message)
        return
    if report.floor is None or report.floor.why:
        return
    times = report.untraced_ns / report.floor.floor_ns if report.floor.floor_ns else 0.0
    ratio = f"; a {report.window} takes {times:.2f} times its floor" if times else ""
    note = f"what this GPU's own measured matmul and copy rates allow for the same shapes{ratio}"
    parts.section("Above the least possible time", note)
    parts.plot(floor_charts.bars(report.floor.classes, report.window), "floor")
    for each in report.floor.raised:
        parts.note(raised_text(each))


def _roofline(name: str, rank: int, ledgers: dict[str, Ledger]) -> None:
    if STEP not in ledgers or ledgers[STEP].source != "gpu":
        return
    found = data.roofline(name, rank)
    of = "a step" if ledgers[STEP].window == STEP else "the call"
    parts.section("Roofline", "" if found.why else f"calls that multiply in {of}, as large as their time; the lines are measured")
    if found.why:
        parts.note(f"no roofline: {found.why}")
    parts.plot(roofline_charts.plot(found), "roofline")
    for each in found.raised:
        parts.note(raised_text(each))
    if found.unplaced_ns > 0.001 * float(found.calls["measured_ns"].sum()):
        parts.note(f"{found.unplaced_ns / 1e6:,.2f} ms of kernels that multiply say no shapes: they have no place in it")


def _repeated(ledgers: dict[str, Ledger]) -> Ledger | None:
    """The ledger of the steps, where there are several."""
    steps = ledgers.get(STEP)
    return steps if steps is not None and steps.window == STEP and steps.windows.height > 1 else None


def _stability(ledgers: dict[str, Ledger]) -> None:
    steps = _repeated(ledgers)
    if steps is None:
        return
    totals: list[int] = steps.rows.group_by("index").agg(pl.col("total_ns").sum())["total_ns"].to_list()
    spread = (max(totals) - min(totals)) * len(totals) / (sum(totals) or 1)
    parts.section(
        "Step by step", f"{steps.windows.height} steps in the trace; the longest and the shortest differ by {spread:.1%}"
    )
    picked = parts.plot(charts.stability(steps.rows), "stability", on_select="rerun", selection_mode="points")
    for point in (picked["selection"]["points"] if picked else [])[:1]:
        to = replace(navigation.selection(), window=f"{STEP}/{int(point['y'])}", kernel="", finding=0)
        navigation.link(navigation.KERNELS, f"Kernels of step {int(point['y'])}", to, ":material/bar_chart:")
        navigation.link(navigation.TIMELINE, "It in the timeline", to, ":material/view_timeline:")
    sums = charts.by_step(steps.rows).group_by("kind", "label", maintain_order=True).agg(pl.col("ms").mean())
    parts.legend([(palette.of_row(kind, label), label, f"{ms:,.2f} ms a step") for kind, label, ms in sums.iter_rows()])
