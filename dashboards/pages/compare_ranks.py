"""The part of the Compare page about ranks: whose times and memory are compared, and what more ranks bring."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import compare as charts
from dashboards.links import ANY_RANK
from profiler.metrics.compare import Comparison
from profiler.report import compare_ranks
from profiler.tables.ranks import is_spread, rank_facts

_MEDIAN = "the median"


def choose(base: str, new: str) -> int | None:
    """Whose windows and memory, of runs of several ranks, picked in a menu; None for the median of each."""
    spread = [run for run in (data.run(base), data.run(new)) if is_spread(run)]
    here = [{each.rank for each in rank_facts(run) if each.here} for run in spread]
    ranks = sorted(set.intersection(*here)) if here else []
    if not ranks:
        return None
    at = navigation.selection().rank
    st.session_state["compare_rank"] = at if at in ranks else ANY_RANK
    chosen: int = st.selectbox(
        "Rank, of a run of several",
        [ANY_RANK, *ranks],
        key="compare_rank",
        on_change=_changed,
        format_func=lambda rank: _MEDIAN if rank == ANY_RANK else str(rank),
        width=220,
    )
    return None if chosen == ANY_RANK else chosen


def _changed() -> None:
    navigation.select(replace(navigation.selection(), rank=st.session_state["compare_rank"]))


def section(found: Comparison) -> None:
    """What must be known of the ranks, and where the time of more of them goes; nothing for two runs of one process."""
    # The menu above does what the command's option does.
    said = compare_ranks.said(compare_ranks.ranks_data(found.ranks))
    parts.bullets([each.replace(" (--rank N for another)", "") for each in said])
    scaling = found.scaling
    if scaling is None or not scaling.parts:
        return
    share = f"{scaling.few}/{scaling.many}"
    note = f"untraced ms of one rank; an even share is {share} of what it takes on {scaling.few}, and what is beyond it is lost"
    parts.section(f"Scaling: a {scaling.window} on {scaling.many} ranks against {scaling.few}", note)
    names = f"even share, {share}", f"on {scaling.many} ranks"
    parts.plot(charts.waterfall(charts.of_scaling(scaling), f"ms a {scaling.window}", names), "scaling_waterfall")
