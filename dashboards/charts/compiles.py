"""Compilations: how long each took, and in which phase."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards.charts.style import figure, label
from profiler.core import palette

# In the log each phase holds the next one: its own time is what the next does not take.
_NESTED = ("dynamo_ns", "aot_ns", "inductor_ns", "codegen_ns", "triton_ns")
PHASES = tuple(palette.PHASES)
_MOST = 30


def own_times(compiles: pl.DataFrame) -> pl.DataFrame:
    """ms of each compile's phases without what lies inside: generation, compile_id, function, `PHASES`. They sum to the whole.

    Where torch did not time a phase it took none.
    """
    filled = compiles.with_columns(
        pl.max_horizontal(*(pl.col(inner).fill_null(0) for inner in _NESTED[place:])).alias(name)
        for place, name in enumerate(_NESTED)
    ).with_columns(pl.max_horizontal("dynamo_ns", pl.col("dur_ns").fill_null(0)).alias("dynamo_ns"))
    inner = [*_NESTED[1:], None]
    own = [
        ((pl.col(name) - (pl.col(below) if below else 0)) / 1e6).alias(phase)
        for phase, name, below in zip(PHASES, _NESTED, inner, strict=True)
    ]
    return filled.select("generation", "compile_id", "function", *own)


def time_bar(compiles: pl.DataFrame) -> go.Figure:
    """One bar a compile id, in the order of the log, cut by phase; of many the longest."""
    times = own_times(compiles).with_columns(pl.sum_horizontal(*PHASES).alias("all"))
    kept = times.with_row_index().sort("all", descending=True).head(_MOST).sort("index", descending=True)
    if not kept.height:
        return figure(120)
    several = kept["generation"].n_unique() > 1
    names = [
        f"{generation}: [{identity}] {label(function or '?', 30)}" if several else f"[{identity}] {label(function or '?', 30)}"
        for generation, identity, function in kept.select("generation", "compile_id", "function").iter_rows()
    ]
    made = figure(90 + 26 * kept.height, barmode="stack")
    for phase in PHASES:
        made.add_trace(
            go.Bar(
                y=names,
                x=(kept[phase] / 1e3).to_list(),
                orientation="h",
                name=phase,
                marker={"color": palette.PHASES[phase]},
                hovertemplate=f"%{{y}}<br>{phase}: %{{x:.2f}} s<extra></extra>",
            )
        )
    made.update_xaxes(title="s of compiling")
    return made


def phase_sums(compiles: pl.DataFrame) -> dict[str, float]:
    """Seconds by phase over all compiles."""
    return {name: float(total or 0.0) / 1e3 for name, total in own_times(compiles).select(PHASES).sum().to_dicts()[0].items()}
