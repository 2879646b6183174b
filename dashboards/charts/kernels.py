"""Kernels: by class and name, and how steady their classes are from step to step."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards.charts import boxes
from dashboards.charts.style import figure, filled, label
from profiler.core import palette

# Labels below this share of all repeats share one segment of a step's bar.
_LEAST_SHARE = 0.01
KERNEL_COLUMNS = ("name", "class", "count", "total_ms", "mean_us", "share")


def of_ledger(rows: pl.DataFrame) -> pl.DataFrame:
    """Busy rows of a ledger (perhaps of several repeats) as kernels: `KERNEL_COLUMNS`, dearest first. Shares are of busy time."""
    busy = rows.filter(pl.col("kind") == "busy")
    summed = busy.group_by(pl.col("detail").alias("name"), pl.col("label").alias("class")).agg(
        pl.col("count").sum(), pl.col("total_ns").sum()
    )
    return with_units(summed)


def with_units(kernels: pl.DataFrame) -> pl.DataFrame:
    """name, class, count and total_ns in the units that are shown: `KERNEL_COLUMNS`."""
    whole = kernels["total_ns"].sum() or 1
    made = kernels.with_columns(
        (pl.col("total_ns") / 1e6).alias("total_ms"),
        (pl.col("total_ns") / 1e3 / pl.col("count")).alias("mean_us"),
        (pl.col("total_ns") / whole).alias("share"),
    )
    return made.select(KERNEL_COLUMNS).sort("total_ms", "name", descending=[True, False])


def a_repeat(kernels: pl.DataFrame, repeats: int) -> pl.DataFrame:
    """Kernels of several repeats as those of one, on average."""
    return kernels.with_columns(pl.col("count") / repeats, pl.col("total_ms") / repeats)


def with_spread(kernels: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """With `spread`: longest less shortest repeat of each kernel, as a share of their mean; `rows` of a ledger's repeats."""
    repeats = rows["index"].n_unique()
    busy = rows.filter(pl.col("kind") == "busy")
    each = busy.group_by(pl.col("detail").alias("name"), pl.col("label").alias("class"), "index").agg(pl.col("total_ns").sum())
    # Where a repeat does not run a kernel at all, its time there is 0.
    least = pl.when(pl.len() == repeats).then(pl.col("total_ns").min()).otherwise(0)
    spread = (pl.col("total_ns").max() - least) / (pl.col("total_ns").sum() / repeats)
    summed = each.group_by("name", "class").agg(spread.alias("spread"))
    return kernels.join(summed, on=["name", "class"], how="left", maintain_order="left")


def icicle(kernels: pl.DataFrame, window: str, height: int = 360) -> go.Figure:
    """Busy time of a window by class, and in each class by kernel; `kernels` as `of_ledger` gives them."""
    found = boxes.boxes(kernels, ("class", "name"), "total_ms", "count")
    return boxes.icicle(found, f"busy time of {window}", "ms", lambda each: palette.of_class(each.path[0]), "launches", height)


def by_step(rows: pl.DataFrame) -> pl.DataFrame:
    """Each repeat of a window by class and cause of idleness: index, kind, label, ms (traced); labels below 1 % are together."""
    whole = rows["total_ns"].sum() or 1
    share = pl.col("total_ns").sum().over("kind", "label") / whole
    rest = pl.when(pl.col("kind") == "busy").then(pl.lit("other, busy")).otherwise(pl.lit("other, idle"))
    named = rows.with_columns(pl.when(share < _LEAST_SHARE).then(rest).otherwise("label").alias("label"))
    summed = named.group_by("index", "kind", "label").agg((pl.col("total_ns").sum() / 1e6).alias("ms"))
    order = pl.col("ms").sum().over("kind", "label")
    return summed.sort(["kind", order, "label", "index"], descending=[False, True, False, False])


def stability(rows: pl.DataFrame) -> go.Figure:
    """Each repeat of a window as a bar, in traced ms; `rows` of a ledger."""
    steps = by_step(rows)
    repeats = steps["index"].n_unique()
    made = figure(90 + 30 * min(repeats, 20), barmode="stack", showlegend=False)
    for (kind, name), of in steps.group_by("kind", "label", maintain_order=True):
        made.add_trace(_steps(str(kind), str(name), of))
    made.update_xaxes(title="ms, traced", rangemode="tozero")
    made.update_yaxes(title="step", autorange="reversed", dtick=1 if repeats <= 20 else None)
    return made


def _steps(kind: str, name: str, of: pl.DataFrame) -> go.Bar:
    return go.Bar(
        y=of["index"].to_list(),
        x=of["ms"].to_list(),
        orientation="h",
        name=label(name),
        marker=filled(kind, name),
        hovertemplate=f"<b>{label(name)}</b><br>step %{{y}}: %{{x:,.3f}} ms<extra></extra>",
    )


def per_class(kernels: pl.DataFrame) -> dict[str, float]:
    """ms by class, dearest first."""
    rows = kernels.group_by("class").agg(pl.col("total_ms").sum()).sort("total_ms", descending=True)
    return dict(rows.iter_rows())


def beside(first: pl.DataFrame, second: pl.DataFrame, names: tuple[str, str], window: str) -> go.Figure:
    """Two runs' busy time of one window by class, a pair of bars a class."""
    one, two = per_class(first), per_class(second)
    order = sorted({*one, *two}, key=lambda name: max(one.get(name, 0.0), two.get(name, 0.0)))
    made = figure(90 + 34 * len(order), barmode="group")
    for number, (name, values) in enumerate(zip(names, (one, two), strict=True)):
        made.add_trace(
            go.Bar(
                y=[label(each) for each in order],
                x=[values.get(each, 0.0) for each in order],
                orientation="h",
                name=label(name),
                marker={"color": palette.SCHEMES[number]},
                hovertemplate="%{y}: %{x:,.2f} ms<extra>" + label(name) + "</extra>",
            )
        )
    made.update_xaxes(title=f"ms of {window}, as traced")
    return made


def differences(first: pl.DataFrame, second: pl.DataFrame) -> pl.DataFrame:
    """Two runs' kernels beside each other, what differs most first: class, name, first_ms, second_ms, delta_ms."""
    sums = [each.group_by("class", "name").agg(pl.col("total_ms").sum()) for each in (first, second)]
    joined = sums[0].join(sums[1], on=["class", "name"], how="full", coalesce=True, suffix="_second").fill_null(0.0)
    named = joined.rename({"total_ms": "first_ms", "total_ms_second": "second_ms"})
    delta = (pl.col("second_ms") - pl.col("first_ms")).alias("delta_ms")
    return named.with_columns(delta).sort(pl.col("delta_ms").abs(), "name", descending=[True, False])
