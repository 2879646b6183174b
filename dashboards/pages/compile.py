"""Compile: what was compiled, where did the graph break, what made it compile again?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import compiles as charts
from dashboards.links import Selection
from dashboards.pages import compile_code
from profiler.core import palette
from profiler.rundir import layout

_QUESTION = "What was compiled, and where did it break?"
_HINTS = 2
_TIMELINE = ":material/view_timeline:"


def page() -> None:
    """The page."""
    left, right = st.columns([0.8, 0.2])
    with left:
        name = navigation.choose_run(data.readable_runs())
    if not name:
        return
    found = data.run(name)
    with right:
        rank = navigation.choose_rank(found)
    if not found.has(layout.COMPILE_LOG_DIR, rank) and not found.has(layout.TRACE, rank):
        parts.head(_QUESTION, f"{name} holds neither a compile log nor a trace.")
        parts.nothing("Nothing about compiling", "Record it compiled.", "diffuscope record MODEL --compile regional")
        return
    frames = data.compile_frames(name, rank)
    at = Selection(run=name, rank=rank)
    compiles = frames.get("compiles")
    if compiles is None or compiles.is_empty():
        _without_log(at, frames["breaks"])
        return
    _head(frames)
    _times(compiles)
    _breaks(at, frames["breaks"])
    _recompiles(at, frames["recompiles"], compiles)
    _limits(frames)
    _table(at, compiles)
    compile_code.section(at, frames["code"], compiles)


def _without_log(at: Selection, breaks: pl.DataFrame) -> None:
    count = f"{breaks.height} graph break{'s' * (breaks.height != 1)}, seen in the trace alone."
    answer = count if breaks.height else "Nothing was compiled, or nobody logged it."
    parts.head(_QUESTION, answer)
    if breaks.height:
        _breaks(at, breaks)
    parts.nothing(
        "No compile log",
        "A log tells reasons, guards, times and the generated code.",
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


def _breaks(at: Selection, breaks: pl.DataFrame) -> None:
    if breaks.is_empty():
        return
    parts.section("Graph breaks", "one card a distinct place, however often it breaks")
    traced = data.run(at.run).has(layout.TRACE, at.rank)
    for number, each in enumerate(breaks.to_dicts()):
        with st.container(border=True, key=f"break_{number}"):
            parts.card(_break_card(at, each))
            if not traced:
                continue
            with st.container(horizontal=True, gap="medium"):
                if each["trace_count"]:
                    to = Selection(run=at.run, rank=at.rank, graph_break=each["break"])
                    navigation.link(navigation.TIMELINE, "Show in the timeline", to, _TIMELINE)
                navigation.link(navigation.DIAGNOSIS, "What it costs", at, ":material/troubleshoot:")


def _break_card(at: Selection, each: dict[str, Any]) -> parts.Card:
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
        places=[(f"at {where}", data.source_of(at.run, at.rank)(each["file"], each["line"]))] if where else (),
    )


def _recompiles(at: Selection, recompiles: pl.DataFrame, compiles: pl.DataFrame) -> None:
    if recompiles.is_empty():
        return
    parts.section("Recompiles", "the guard that failed, what it wanted and what came; tick one for its moment in the timeline")
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
    names = {"dur_s": "took, s", "count": "by this guard", "compile_id": "id", "now": "came", "before": "wanted"}
    picked = _frame(shown, "recompiles", names, ticked=True)
    for row in (recompiles.row(index, named=True) for index in picked):
        parts.code("\n".join([f"guard   {row['text']}", f"wanted  {row['before'] or '?'}", f"came    {row['now'] or '?'}"]))
        if row["guard_file"]:
            parts.note(f"the guard was made at {row['guard_file']}:{row['guard_line']}")
        _moment(at, row["compile_id"], compiles)


def _moment(at: Selection, compile_id: str, compiles: pl.DataFrame) -> None:
    """The link to where a compile id stands in the trace, or why there is none."""
    if not data.run(at.run).has(layout.TRACE, at.rank):
        parts.note("This run was not traced: there is no timeline.")
        return
    calls = int(compiles.filter(pl.col("compile_id") == compile_id)["calls"].sum())
    if not calls:
        parts.note(f"[{compile_id}] does not run in the trace: compiling came before it, or it was never called there.")
        return
    to = Selection(run=at.run, rank=at.rank, region=compile_id)
    navigation.link(
        navigation.TIMELINE, f"Show [{compile_id}] in the timeline ({calls:,} calls)".replace("[", "\\["), to, _TIMELINE
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


def _table(at: Selection, compiles: pl.DataFrame) -> None:
    parts.section("Every compile", "tick one for where it runs in the timeline")
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
    names |= {"op_count": "ops", "guard_count": "guards", "guard_us": "guards, us", "recompile_reason": "why again"}
    for index in _frame(shown, "compiles", names, ticked=True):
        _moment(at, compiles["compile_id"][index], compiles)


def _frame(rows: pl.DataFrame, key: str, names: dict[str, str], ticked: bool = False) -> list[int]:
    """A table without columns that hold nothing; returns the numbers of the rows that are ticked."""
    used: Sequence[str] = [name for name in rows.columns if rows[name].null_count() < rows.height]
    config = {name: st.column_config.Column(names.get(name, name.replace("_", " "))) for name in used}
    config |= {
        name: st.column_config.NumberColumn(names.get(name, name), format="%.2f")
        for name in used
        if rows[name].dtype == pl.Float64
    }
    picked: Any = st.dataframe(
        rows.select(used),
        hide_index=True,
        column_config=config,
        key=f"table_{key}",
        placeholder="–",
        height=parts.table_height(rows.height),
        on_select="rerun" if ticked else "ignore",
        selection_mode="single-row",
    )
    return [index for index in picked["selection"]["rows"] if index < rows.height] if ticked else []
