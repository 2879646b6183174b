"""Tune: what are tuned int8 kernels worth, and which kernel runs each shape?"""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from dashboards import data, live, navigation, parts
from dashboards.charts import tune as charts
from dashboards.folder import path_of
from dashboards.navigation import TUNE
from dashboards.pages import tune_shape
from profiler.metrics.tune import ABOUT_UNTUNED, TUNED, UNTUNED, UNTUNED_IS, TuneResult, tune_result
from profiler.rundir.tuned_table import tuned_option
from profiler.tables.run import Run

_QUESTION = "What are tuned int8 kernels worth?"
_COMMAND = "diffuscope tune flux-dev"
# Baselines with a key figure: its name, what it is, and what the answer calls it.
_BASELINES = {
    UNTUNED: ("untuned", UNTUNED_IS, UNTUNED_IS),
    "bf16": ("bf16", "nothing quantized", "bf16"),
    "fp8 row-wise": ("fp8", "row-wise", "fp8"),
}
_TABLE_HEIGHT = 460


def page() -> None:
    """The page."""
    rows = data.readable_runs()
    if not navigation.of_kind(rows, TUNE):
        parts.head(_QUESTION, "This folder holds no tuning yet.")
        why = "A tuning searches, checks and keeps the fastest int8 kernel of every shape that a model multiplies."
        parts.nothing("Nothing was tuned", why, _COMMAND)
        return
    name = navigation.choose_run(rows, kind=TUNE)
    running = _opened(name).manifest.status == live.RUNNING
    live.follow(lambda: _body(name, running), running)


def _body(name: str, running: bool) -> None:
    run = _opened(name)
    if running and run.manifest.status != live.RUNNING:
        live.rest()
    result = tune_result(run)
    _head(run, result)
    if result.shapes.is_empty():
        parts.nothing("No shape was tuned", _ended(run) or "The first one is not done yet.", _COMMAND)
    else:
        _step(result)
        _rates(result)
        _table(result)
        tune_shape.shown(name, result)
    _left(run, result)


def _opened(name: str) -> Run:
    """The run as it is now: one whose process died changes no file, but its status."""
    return Run.open(path_of(name))


def answer(result: TuneResult, whole: bool = True) -> str:
    """What tuning is worth, in one sentence; `whole` where the shapes are those of a model's step."""
    tuned = result.step_ms.get(TUNED)
    if not tuned:
        return "No shape was tuned."
    faster = [(result.step_ms[key] / tuned, called) for key, (_, _, called) in _BASELINES.items() if key in result.step_ms]
    times = [
        f"{ratio:.2f} times as fast as {called}" if not number else f"{ratio:.2f} as {called}"
        for number, (ratio, called) in enumerate(faster)
    ]
    what = "all int8 products of a step take" if whole else "these products, once each, take"
    return f"Tuned, {what} {charts.ms(tuned)} ms" + (f": {', '.join(times)}" if times else "")


def _head(run: Run, result: TuneResult) -> None:
    parts.head(_QUESTION, answer(result, bool(run.manifest.spec.get("model"))), about(run, result))
    if run.manifest.status == live.RUNNING:
        st.info("Still tuning: this page follows.", icon=":material/hourglass_top:")
    elif _ended(run):
        st.warning(navigation.plain(_ended(run)), icon=":material/warning:")
    frame, tuned = result.shapes, result.step_ms.get(TUNED)
    wrong, failed, tried = (int(frame[name].sum()) for name in ("wrong", "failed", "candidates"))
    done = f"{frame.height}" if frame.height == result.tables.wanted else f"{frame.height} of {result.tables.wanted}"
    figures = [("tuned", charts.ms(tuned), "ms", "all products of a step, predicted")] if tuned else []
    for key, (short, what, _) in _BASELINES.items():
        if key in result.step_ms:
            figures.append((short, charts.ms(result.step_ms[key]), "ms", what))
    figures.append(("shapes", done, "", f"{int(frame['pays'].sum())} faster than untuned"))
    figures.append(("candidates", f"{tried:,}", "", f"{wrong:,} wrong and rejected, {failed:,} failed"))
    parts.figures(figures)


def about(run: Run, result: TuneResult) -> str:
    """What was tuned, and where the times hold."""
    spec, key = run.manifest.spec, result.tables.key
    size = f"{spec['height']} x {spec['width']}" if spec.get("height") and spec.get("width") else ""
    what = [spec.get("model"), f"batch {spec['batch']}" if spec.get("batch") else "", size]
    versions = [f"{name} {key[name]}" for name in ("torch", "triton") if key.get(name)]
    return " · ".join(str(each) for each in (*what, key.get("device"), *versions) if each)


def _ended(run: Run) -> str:
    """Why a tuning did not come to its end; empty where it did."""
    status, failure = run.manifest.status, run.manifest.failure
    if status in ("ok", live.RUNNING):
        return ""
    return f"Tuning ended as {status}" + (f": {failure.message.splitlines()[0]}" if failure and failure.message else "")


def _step(result: TuneResult) -> None:
    parts.section(
        "All int8 products of a step",
        "the time of each shape, as often as a step multiplies it; tuned takes the faster of tuned and untuned",
    )
    parts.plot(charts.step(result.step_ms), "tune_step")
    if UNTUNED in result.step_ms:
        parts.note(ABOUT_UNTUNED)


def _rates(result: TuneResult) -> None:
    parts.section(
        "Rate by shape", "M x K x N, dearest first; the bar is tuned, marks are what runs otherwise; further right is faster"
    )
    parts.plot(charts.rates(result), "tune_rates")


def table(result: TuneResult) -> pl.DataFrame:
    """One row a shape as it is shown, dearest of a step first."""
    frame = result.shapes.with_columns(
        pl.format("{}x{}x{}", "m", "k", "n").alias("product"),
        (pl.col("us") * pl.col("count") / 1e3).alias("step_ms"),
        (pl.col("share") * 100).alias("limit"),
        (pl.col("untuned_us") / pl.col("us")).alias("gain"),
        pl.col("kernel").str.split(":").list.first().alias("space"),
    )
    for name in ("bf16", "fp8 row-wise"):
        found = result.tables.baselines.filter(pl.col("baseline") == name).select("shape", pl.col("us").alias(name))
        frame = frame.join(found, on="shape", how="left", maintain_order="left")
    columns = ("product", "count", "step_ms", "us", "tops", "limit", "untuned_us", "gain", "bf16", "fp8 row-wise", "space")
    return frame.sort("step_ms", descending=True).select(*columns, "candidates", "wrong", "failed")


def _table(result: TuneResult) -> None:
    shown = table(result)
    number = st.column_config.NumberColumn
    config: dict[str, Any] = {
        "product": st.column_config.TextColumn("M x K x N", pinned=True),
        "count": number("a step", help="how often a step multiplies it"),
        "step_ms": number("ms a step", format="%.2f"),
        "us": number("us", format="%.1f", help="median of a call, tuned"),
        "tops": number("TOPS", format="%.0f" if shown["tops"].max() > 10 else "%.3f"),  # type: ignore[operator]
        "limit": number("of limit, %", format="%.0f", help="of the fastest 8-bit product of this run"),
        "untuned_us": number("untuned, us", format="%.1f", help=UNTUNED_IS),
        "gain": number("gain", format="%.2f ×", help="untuned over tuned; below 1 the shape stays untuned"),
        "bf16": number("bf16, us", format="%.1f"),
        "fp8 row-wise": number("fp8, us", format="%.1f"),
        "space": "kernel",
    }
    used = [name for name in shown.columns if shown[name].null_count() < shown.height]
    parts.section("Shapes", "times are of the fused operation: product, both scales, bias, out in bf16")
    st.dataframe(
        shown.select(used),
        hide_index=True,
        placeholder="–",
        key="tune_table",
        column_config={name: config[name] for name in used if name in config},
        height=parts.table_height(shown.height, _TABLE_HEIGHT),
    )


def _left(run: Run, result: TuneResult) -> None:
    """Where the kernels lie, what was refused, what else was noted."""
    lines = [f"{each.m}x{each.k}x{each.n} was not tuned: {each.why}" for each in result.tables.refused]
    lines += (
        [f"limit: {result.ceiling_tops:,.0f} TOPS, reached in this run by {result.ceiling_from}"] if result.ceiling_tops else []
    )
    lines += [str(each) for each in run.manifest.applied.get("notes") or []]
    model = run.manifest.spec.get("model") or "MODEL"
    command = f"diffuscope record {model} --scheme int8dq --compile regional{tuned_option(result.tables.table)}"
    kept = f"kept in {result.tables.table}: {command} uses it on this device"
    lines += [] if result.shapes.is_empty() else [kept]
    parts.section("Kept")
    parts.bullets(lines)
