"""The seed's rows beside a sweep's cells, on the Sweep page: ratios, and why they differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import polars as pl
import streamlit as st

from dashboards import navigation, parts, sweeps
from dashboards.charts import sweep as charts
from dashboards.links import Selection
from dashboards.navigation import SWEEP
from profiler.core.lists import by_reason
from profiler.metrics.sweep import SweepResult
from profiler.metrics.sweep_seed import QUANTITIES, SeedComparison
from profiler.report.sweep import result_data
from profiler.report.sweep_seed_text import facts
from profiler.report.sweep_seed_why import NAMES

SEED, NOTHING = "seed", "nothing"
_NAMES = {"time": "time, s", "model_memory": "model memory, GiB", "inference_memory": "inference memory, GiB"}


def beside(at: Selection, result: SweepResult) -> None:
    """A switch, and below it the comparison. It reads the traces of slow cells, and is made where it is asked for."""
    preset = (result.tables.file.preset if result.tables.file else None) or ""
    shown = at.base == SEED or (at.base != NOTHING and preset.startswith(SEED))
    st.session_state["seed_switch"] = shown
    parts.section("Against the seed", "its row of the same options; ratios are ours over the seed's")
    st.toggle(
        "Hold the cells against the seed's rows",
        key="seed_switch",
        on_change=lambda: navigation.select(replace(at, base=SEED if st.session_state["seed_switch"] else NOTHING), SWEEP),
    )
    if not shown:
        return
    full = sweeps.result(at.run, SEED)
    found = full.against_seed
    if found is None or found.rows.is_empty():
        parts.note("none of the seed's rows was measured")
    else:
        parts.plot(charts.beside_seed(found.rows), "sweep_seed")
        _table(found)
        parts.bullets(facts(result_data(full)["against_seed"]))
    if found:
        _causes(found)


def table(found: SeedComparison) -> pl.DataFrame:
    """Ours, the seed's and the ratio of each quantity, a row a cell, fastest first."""
    columns = [pl.col("id")]
    for quantity in ("time_s", *(name for name in QUANTITIES if name != "time_s")):
        short = quantity.rpartition("_")[0]
        columns += [pl.col(quantity).alias(short), pl.col(f"seed_{quantity}").alias(f"seed_{short}"), pl.col(f"{short}_ratio")]
    marks = ["extrapolated"] if found.rows["extrapolated"].any() else []
    return found.rows.sort("time_s", "id", nulls_last=True).select(*columns, *marks, "seed_gpu", "same_layers")


def _table(found: SeedComparison) -> None:
    number = st.column_config.NumberColumn
    config: dict[str, Any] = {
        "id": st.column_config.TextColumn("cell", pinned=True),
        "seed_gpu": "seed's GPU",
        "same_layers": "same layers quantized",
    }
    for short, name in _NAMES.items():
        config |= {
            short: number(name, format="%.3f"),
            f"seed_{short}": number("seed's", format="%.3f"),
            f"{short}_ratio": number("ratio", format="%.2f"),
        }
    frame = table(found)
    st.dataframe(
        frame,
        hide_index=True,
        placeholder="–",
        key="sweep_seed_table",
        column_config=config,
        height=parts.table_height(frame.height),
    )


def _causes(found: SeedComparison) -> None:
    for cell, causes in found.causes.items():
        with st.expander(f"Why {navigation.plain(cell)} differs"):
            parts.bullets([f"{NAMES[each.quantity]}: {'' if each.measured else 'may be: '}{each.text}" for each in causes])
    if found.unmatched:
        with st.expander(f"Not in the seed: {len(found.unmatched)}"):
            parts.bullets([f"{why}: {', '.join(cells)}" for why, cells in by_reason(found.unmatched.items()).items()])
