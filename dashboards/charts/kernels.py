"""Kernels: by class and name, and how steady their classes are from step to step."""

from __future__ import annotations

import plotly.graph_objects as go
import polars as pl

from dashboards.charts.style import figure, label
from profiler.core import palette

# Kernels of a class shown in the icicle; the rest of the class is one box.
_SHOWN = 8
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


def icicle(kernels: pl.DataFrame, unit: str = "") -> go.Figure:
    """Busy time by class, and in each class by kernel; `kernels` as `of_ledger` gives them, `unit` what they are of: `a step`."""
    ids, names, parents, values, colours, hovers = [""], ["busy time"], [""], [0.0], ["rgba(0,0,0,0)"], [""]
    ids[0] = "all"
    for (name,), rows in kernels.group_by("class", maintain_order=True):
        total = float(rows["total_ms"].sum())
        values[0] += total
        for row in [(f"class/{name}", str(name), "all", total, rows["count"].sum()), *_boxes(str(name), rows)]:
            identity, text, parent, value, count = row
            ids.append(identity)
            names.append(label(text, 60))
            parents.append(parent)
            values.append(value)
            colours.append(palette.of_class(str(name)))
            hovers.append(f"{value:,.3f} ms{unit and ' ' + unit}, {count:,.0f} times")
    hovers[0] = f"{values[0]:,.3f} ms"
    box = go.Icicle(
        ids=ids,
        labels=names,
        parents=parents,
        values=values,
        branchvalues="total",
        tiling={"orientation": "v"},
        marker={"colors": colours, "line": {"width": 1, "color": "#FFFFFF"}},
        hovertext=hovers,
        texttemplate="%{label}<br>%{value:,.2f} ms",
        hovertemplate="<b>%{label}</b><br>%{hovertext}<br>%{percentRoot:.1%} of busy time<extra></extra>",
        sort=True,
    )
    return figure(360, box) if values[0] else figure(360)


def _boxes(name: str, rows: pl.DataFrame) -> list[tuple[str, str, str, float, float]]:
    parent = f"class/{name}"
    shown = rows.head(_SHOWN)
    made = [
        (f"kernel/{name}/{kernel}", kernel, parent, float(total), float(count))
        for kernel, total, count in shown.select("name", "total_ms", "count").iter_rows()
    ]
    rest = rows.slice(_SHOWN)
    if rest.height:
        made.append((f"rest/{name}", f"{rest.height} more", parent, float(rest["total_ms"].sum()), float(rest["count"].sum())))
    return made


def stability(rows: pl.DataFrame) -> go.Figure:
    """Each repeat of a window as a bar of its classes and idle time, in traced ms: index, kind, label, total_ns."""
    summed = rows.group_by("index", "kind", "label").agg((pl.col("total_ns").sum() / 1e6).alias("ms"))
    order = summed.group_by("kind", "label").agg(pl.col("ms").sum()).sort(["kind", "ms"], descending=[False, True])
    made = figure(260, barmode="stack")
    for kind, name, total in order.iter_rows():
        if not total:
            continue
        of = summed.filter((pl.col("kind") == kind) & (pl.col("label") == name)).sort("index")
        made.add_trace(_steps(kind, name, of))
    made.update_xaxes(title="step of the trace", dtick=1 if summed["index"].n_unique() <= 30 else None)
    made.update_yaxes(title="ms, traced", rangemode="tozero")
    return made


def _steps(kind: str, name: str, of: pl.DataFrame) -> go.Bar:
    idle = kind != "busy"
    return go.Bar(
        x=of["index"].to_list(),
        y=of["ms"].to_list(),
        name=label(name),
        marker={
            "color": palette.of_row(kind, name),
            "pattern": {"shape": "/" if idle else "", "fgcolor": "rgba(255,255,255,0.55)", "size": 6},
        },
        hovertemplate=f"<b>{label(name)}</b><br>step %{{x}}: %{{y:,.3f}} ms<extra></extra>",
    )


def per_class(kernels: pl.DataFrame) -> dict[str, float]:
    """ms by class, dearest first."""
    rows = kernels.group_by("class").agg(pl.col("total_ms").sum()).sort("total_ms", descending=True)
    return dict(rows.iter_rows())


def beside(first: pl.DataFrame, second: pl.DataFrame, names: tuple[str, str]) -> go.Figure:
    """Two runs' busy time by class, a pair of bars a class."""
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
    made.update_xaxes(title="ms a window, traced")
    return made
