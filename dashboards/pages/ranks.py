"""Ranks: what does each process of a run do, and who waits for whom? Our numbers, and those of Holistic Trace Analysis."""

from __future__ import annotations

from typing import Any

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import ranks as charts
from dashboards.pages import ranks_hta
from profiler.metrics.per_rank import rank_totals
from profiler.metrics.priced_waits import priced_wait_us
from profiler.metrics.ranks import RankSummary
from profiler.report import rank_notes, several_ranks
from profiler.rundir import layout
from profiler.tables.ranks import rank_facts
from profiler.tables.run import Run

_QUESTION = "What does each rank do, and who waits for whom?"
_COLUMNS = {
    "rank": "rank",
    "host": "host",
    "call_ms": "call, ms",
    "step_us": "step, ms",
    "compute_us": "compute, ms",
    "exposed_us": "exposed, ms",
    "hidden_us": "hidden, ms",
    "waiting_us": "waiting, ms",
    "idle_us": "other idle, ms",
    "inference_peak_gib": "peak, GiB",
    "collectives": "collectives",
}


def page() -> None:
    """The page."""
    rows = data.readable_runs()
    name = navigation.choose_run(rows, navigation.traced)
    if not name:
        return
    run = data.run(name)
    if not any(run.has(layout.TRACE, rank) for rank in run.ranks):
        parts.head(_QUESTION, f"{name} was not traced.")
        parts.nothing("No trace", "No rank of this run holds a trace.", f"diffuscope import TRACE -o {run.path}-traced")
        parts.bullets([each.problem for each in rank_facts(run) if each.problem])
        return
    summary = data.rank_summary(name)
    _own(run, summary)
    ranks_hta.section(name)


def answer(run: Run, summary: RankSummary) -> str:
    """Who is slow and what it costs the others, in one sentence; of one rank what its step is made of."""
    rows = [row for row in summary.ranks.iter_rows(named=True) if row["step_us"]]
    if not rows:
        return "No rank has times that can be read."
    if len(rows) == 1:
        (row,) = rows
        alone = f"Of {summary.ranks.height} ranks only {row['rank']} can be read" if summary.ranks.height > 1 else "One rank"
        text = f"{alone}: a {summary.window} takes {_ms(row['step_us'])} ms traced, {_ms(row['idle_us'])} of it idle"
        return text + (f", {_ms(row['exposed_us'])} in communication that nothing hides" if row["exposed_us"] else "")
    text = f"Rank {summary.slowest} takes longest on its own"
    waited = summary.waits.filter((pl.col("for_rank") == summary.slowest) & (pl.col("us") > 0)).sort("us", descending=True)
    if waited.is_empty() or summary.slowest is None:
        return text if _without_clock(summary) else f"{text}; nobody waits for it"
    rank, us = waited.select("rank", "us").row(0)
    priced = priced_wait_us(run, rank, summary.slowest, summary.window)
    if priced is None:
        return f"{text}; rank {rank} waits {_ms(us)} ms a {summary.window} for it, as traced"
    return f"{text}; rank {rank} waits {_ms(priced)} ms a {summary.window} for it ({_ms(us)} as traced)"


def _without_clock(summary: RankSummary) -> bool:
    """Whether somebody could wait for a rank, or a rank for somebody, and nobody can tell."""
    timed = summary.ranks.filter(pl.col("step_us").is_not_null())
    return bool((timed["clock_error_us"].is_null() | (timed["unmatched"] > 0)).any())


def _ms(us: float) -> str:
    return f"{us / 1e3:,.2f}"


def _own(run: Run, summary: RankSummary) -> None:
    rows = summary.ranks.to_dicts()
    parts.head(
        _QUESTION, answer(run, summary), f"{run.path.name} · {len(rows)} rank{'s' if len(rows) != 1 else ''} · times as traced"
    )
    timed = [row for row in rows if row["step_us"]]
    if not timed:
        parts.bullets([f"rank {row['rank']}: {row['problem']}" for row in rows if row["problem"]])
        return
    slowest = next(row for row in timed if row["rank"] == summary.slowest)
    parts.figures(_figures(slowest, summary, len(rows)))
    parts.section(
        f"A {summary.window} of each rank", "exposed: communication that no computation hides; hidden communication costs no time"
    )
    parts.plot(charts.steps(rows, summary.window), "rank_steps")
    _table(run, summary)
    parts.bullets(rank_notes.notes(several_ranks.rows(summary, rank_totals(run))))
    _waits(summary)


def _figures(slowest: dict[str, Any], summary: RankSummary, ranks: int) -> list[tuple[str, str, str, str]]:
    of = f"a {summary.window} of rank {slowest['rank']}" + (", the slowest" if ranks > 1 else "")
    found = [
        (f"a {summary.window}", _ms(slowest["step_us"]), "ms", of),
        ("compute", _ms(slowest["compute_us"]), "ms", "all but communication"),
    ]
    if slowest["communication_us"]:
        share = slowest["hidden_us"] / slowest["communication_us"]
        found += [("communication", _ms(slowest["communication_us"]), "ms", f"{share:.0%} of it hidden by computation")]
        found += [("exposed", _ms(slowest["exposed_us"]), "ms", "communication that nothing hides")]
    return [*found, ("idle", _ms(slowest["idle_us"]), "ms", "waits for no rank")]


def _table(run: Run, summary: RankSummary) -> None:
    own = pl.DataFrame([vars(each) for each in rank_totals(run)]).select("rank", "call_ms", "inference_peak_gib")
    shown = [pl.col(name) / 1e3 if name.endswith("_us") else pl.col(name) for name in _COLUMNS]
    frame = summary.ranks.join(own, on="rank", how="left").select(shown).rename(_COLUMNS)
    used = [name for name in frame.columns if set(frame[name]) - {None, ""}]
    times = {name: st.column_config.NumberColumn(name, format="%,.3f") for name in used if name.endswith((", ms", ", GiB"))}
    st.dataframe(
        frame.select(used),
        hide_index=True,
        placeholder="–",
        key="ranks_table",
        column_config=times,
        height=parts.table_height(frame.height),
    )


def _waits(summary: RankSummary) -> None:
    rows = summary.waits.filter(pl.col("us") > 0).sort("us", descending=True)
    if rows.is_empty():
        return
    parts.section("Waiting for a slower rank", f"ms a {summary.window} in collectives that the other rank had not reached")
    parts.bullets(
        [
            f"rank {row['rank']} waits {_ms(row['us'])} ms for rank {row['for_rank']}, in {row['collectives']:,.0f} collectives"
            for row in rows.head(12).iter_rows(named=True)
        ]
    )
