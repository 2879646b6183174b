"""Compile: what was compiled, where did the graph break, what made it compile again?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import compiles as charts
from dashboards.links import Selection
from profiler.core import palette
from profiler.rundir import layout

_QUESTION = "What was compiled, and where did it break?"
_HINTS = 2


def page() -> None:
    """The page."""
    name = navigation.choose_run(data.readable_runs())
    if not name:
        return
    found = data.run(name)
    if not found.has(layout.COMPILE_LOG_DIR) and not found.has(layout.TRACE):
        parts.head(_QUESTION, f"{name} holds neither a compile log nor a trace.")
        parts.nothing("Nothing about compiling", "Record it compiled.", "diffuscope record MODEL --compile regional")
        return
    frames = data.compile_frames(name)
    compiles = frames.get("compiles")
    if compiles is None or compiles.is_empty():
        _without_log(name, frames["breaks"])
        return
    _head(frames)
    _times(compiles)
    _breaks(name, frames["breaks"])
    _recompiles(frames["recompiles"])
    _limits(frames)
    _table(compiles)


def _without_log(name: str, breaks: pl.DataFrame) -> None:
    count = f"{breaks.height} graph break{'s' * (breaks.height != 1)}, seen in the trace alone."
    answer = count if breaks.height else "Nothing was compiled, or nobody logged it."
    parts.head(_QUESTION, answer)
    if breaks.height:
        _breaks(name, breaks)
    parts.nothing(
        "No compile log",
        "A log tells reasons, guards and times.",
        "diffuscope import TRACE --compile-log LOG, or record --compile regional",
    )


def _head(frames: dict[str, pl.DataFrame]) -> None:
    compiles, breaks, recompiles = frames["compiles"], frames["breaks"], frames["recompiles"]
    in_trace = int(breaks["trace_count"].sum())
    words = [f"{breaks.height} distinct graph break{'s' * (breaks.height != 1)}"]
    words += [f"{recompiles.height} recompile{'s' * (recompiles.height != 1)}"]
    phases = charts.phase_sums(compiles)
    parts.head(_QUESTION, f"{compiles.height} compiles took {sum(phases.values()):,.1f} s: {' and '.join(words)}.")
    slowest = max(phases, key=lambda each: phases[each])
    cached = compiles.filter(pl.col("cache") == "hit").height
    parts.figures(
        [
            ("compiles", f"{compiles.height:,}", "", f"{cached} from the FX graph cache"),
            ("compiling", f"{sum(phases.values()):,.1f}", "s", f"most of it {slowest}: {phases[slowest]:,.1f} s"),
            ("graph breaks", f"{breaks.height:,}", "", f"{in_trace:,} times in the trace"),
            ("recompiles", f"{recompiles.height:,}", "", f"{frames['limits'].height} recompile limits hit"),
            ("CUDA graph skips", f"{int(frames['cudagraph skips']['count'].sum()):,}", "", "graphs left out of CUDA graphs"),
        ]
    )


def _times(compiles: pl.DataFrame) -> None:
    parts.section(
        "Time by compile and phase", "a phase without those inside it; the compile id in brackets also stands in the timeline"
    )
    parts.plot(charts.time_bar(compiles), "compile_times")


def _breaks(name: str, breaks: pl.DataFrame) -> None:
    if breaks.is_empty():
        return
    parts.section("Graph breaks", "one card a distinct place, however often it breaks")
    for number, each in enumerate(breaks.to_dicts()):
        with st.container(border=True, key=f"break_{number}"):
            parts.card(_break_card(name, each))
            if data.run(name).has(layout.TRACE):
                navigation.link(navigation.DIAGNOSIS, "What it costs", Selection(run=name), ":material/troubleshoot:")


def _break_card(name: str, each: dict[str, Any]) -> parts.Card:
    items = [each["explanation"], f"the line: {each['code']}" if each["code"] else "", each["context"]]
    items += [f"because of it {one['function']} ({one['file']}:{one['line']}) runs eagerly" for one in each["consequences"][:3]]
    where = f"{each['file']}:{each['line']} in {each['function']}" if each["file"] else ""
    hints = [hint.strip() for hint in each["hints"] if hint.strip()]
    counts = f"{each['trace_count']:,} times in the trace, {each['log_count']:,} in the log"
    split = (
        f" · between regions {', '.join(each['before']) or '?'} and {', '.join(each['after']) or '?'}" if each["before"] else ""
    )
    return parts.Card(
        title=each["title"] or "graph break",
        tag=each["gb_id"] or "graph break",
        colour=palette.of_severity("high" if each["trace_count"] else "low"),
        price=counts + split,
        change=" ".join(hints[:_HINTS]),
        items=[item.strip() for item in items if item and item.strip()],
        places=[(f"at {where}", data.source_of(name)(each["file"], each["line"]))] if where else (),
    )


def _recompiles(recompiles: pl.DataFrame) -> None:
    if recompiles.is_empty():
        return
    parts.section("Recompiles", "the guard that failed, what it wanted and what came")
    shown = recompiles.select(
        "compile_id",
        "function",
        "guard",
        "before",
        "now",
        "when",
        (pl.col("dur_ns") / 1e9).alias("dur_s"),
        "count",
        pl.when("compiled").then(pl.lit("compiled again")).otherwise(pl.lit("runs eagerly")).alias("outcome"),
        "hint",
    )
    _frame(
        shown, "recompiles", {"dur_s": "took, s", "count": "by this guard", "compile_id": "id", "now": "came", "before": "wanted"}
    )


def _limits(frames: dict[str, pl.DataFrame]) -> None:
    limits, skips = frames["limits"], frames["cudagraph skips"]
    if limits.height:
        parts.section("Recompile limit hit", "from then on these run eagerly, without a word")
        _frame(
            limits.select("compile_id", "function", "file", "line", "limit", "value", "last_guard"),
            "limits",
            {"compile_id": "id"},
        )
    if skips.height:
        parts.section("Left out of CUDA graphs")
        _frame(skips.select("compile_id", "function", "file", "line", "reason", "count"), "skips", {"compile_id": "id"})


def _table(compiles: pl.DataFrame) -> None:
    parts.section("Every compile")
    seconds = [(pl.col(name) / 1e9).alias(name.replace("_ns", "_s")) for name in ("dur_ns", "dynamo_ns", "inductor_ns")]
    shown = compiles.select(
        "compile_id",
        "function",
        "file",
        "line",
        *seconds,
        "calls",
        "op_count",
        "guard_count",
        (pl.col("guard_ns") / 1e3).alias("guard_us"),
        "cache",
        "recompile_reason",
        "fail_reason",
    )
    names = {
        "compile_id": "id",
        "dur_s": "took, s",
        "dynamo_s": "dynamo, s",
        "inductor_s": "inductor, s",
        "calls": "calls in trace",
    }
    _frame(
        shown,
        "compiles",
        names | {"op_count": "ops", "guard_count": "guards", "guard_us": "guards, us", "recompile_reason": "why again"},
    )


def _frame(rows: pl.DataFrame, key: str, names: dict[str, str]) -> None:
    """A table without columns that hold nothing."""
    used: Sequence[str] = [name for name in rows.columns if rows[name].null_count() < rows.height]
    config = {name: st.column_config.Column(names.get(name, name.replace("_", " "))) for name in used}
    config |= {
        name: st.column_config.NumberColumn(names.get(name, name), format="%.2f")
        for name in used
        if rows[name].dtype == pl.Float64
    }
    st.dataframe(
        rows.select(used),
        hide_index=True,
        column_config=config,
        key=f"table_{key}",
        placeholder="–",
        height=parts.table_height(rows.height),
    )
