"""Runs: what is in the folder, and which run is worth a look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import runs as charts
from dashboards.folder import folder
from dashboards.links import Selection
from profiler.metrics.listing import RunRow

# Column: what stands above it, its width in pixels, how numbers are written. Together they fit into 1280 pixels.
_COLUMNS: dict[str, tuple[str, int, str]] = {
    "run": ("run", 205, ""),
    "status": ("status", 78, ""),
    "model": ("model", 108, ""),
    "scheme": ("scheme", 84, ""),
    "compile": ("compile", 80, ""),
    "batch": ("batch", 56, "%d"),
    "ms": ("call, ms", 82, "%,.1f"),
    "model_gib": ("model, GiB", 84, "%.2f"),
    "peak_gib": ("peak, GiB", 80, "%.2f"),
    "sqnr": ("SQNR, dB", 80, "%.1f"),
    "front": ("Pareto", 66, ""),
    "breaks": ("breaks", 66, "%d"),
    "recompiles": ("recompiles", 86, "%d"),
    "gpu": ("device", 105, ""),
    "created": ("recorded", 130, "YYYY-MM-DD HH:mm"),
}
_HELP = {
    "ms": "the median of the timed calls, nothing recorded; of several ranks the slowest's",
    "gpu": "of several ranks how many, and how many of them are in the folder",
    "model_gib": "allocated after load and quantize",
    "peak_gib": "the highest allocated of an inference call",
    "sqnr": "of the last latents, against the run in bf16",
    "front": "no other run of the same model, batch, GPU and number of ranks is both faster and smaller",
    "breaks": "distinct graph breaks",
}
_ALL = "all"


def page() -> None:
    """The page."""
    rows = sorted(data.runs(), key=lambda row: -(row.created_ns or 0))
    if not rows:
        parts.head("Which run is worth a look?", "This folder holds no runs yet.")
        parts.nothing(f"No runs in {folder()}", "Record one, or import a trace.", "diffuscope record flux-tiny --device cpu")
        return
    parts.head("Which run is worth a look?", _answer(rows), f"{folder()}: {_counted(rows)}")
    shown = _filtered(rows)
    parts.section("Runs", "tick one for its diagnosis, several to compare them; a click on a column's name sorts by it")
    with st.container():
        table, links = st.container(), st.container()
    with table:
        picked = _table(shown, rows)
    for row in shown:
        if row.error:
            parts.note(f"{row.name} cannot be read: {row.error}")
    picked += [name for name in _scatter(shown) if name not in picked]
    with links:
        _links(picked, shown)


def _answer(rows: Sequence[RunRow]) -> str:
    """The best of the largest group of runs that may be held against each other."""
    group = next(iter(charts.comparable(rows)), [])
    if len(group) < 2:
        return f"{_counted(rows)}."
    front = charts.pareto(group)
    fastest, smallest = front[0], front[-1]
    of = f" of {len(group)} runs" + (f" of {fastest.model}" if fastest.model else "")
    text = f"{fastest.name} is the fastest{of}: {(fastest.median_ms or 0) / 1e3:,.2f} s a call"
    if smallest is fastest:
        return f"{text}, and needs least memory: {fastest.inference_peak_gib:,.2f} GiB"
    return f"{text}; {smallest.name} needs least memory: {smallest.inference_peak_gib:,.2f} GiB"


def _counted(rows: Sequence[RunRow]) -> str:
    broken = sum(bool(row.error) for row in rows)
    unfinished = sum(row.status not in ("ok", None) for row in rows)
    parts_ = [f"{len(rows)} run{'s' * (len(rows) != 1)}"]
    parts_ += [f"{unfinished} ended early"] if unfinished else []
    parts_ += [f"{broken} cannot be read"] if broken else []
    return ", ".join(parts_)


def _filtered(rows: Sequence[RunRow]) -> list[RunRow]:
    """The rows that the menus leave over; a menu of one choice is not shown."""
    kept = list(rows)
    names = ("model", "scheme", "compile", "status", "gpu")
    wanted = [name for name in names if len({getattr(row, name) for row in rows} - {None}) > 1]
    columns = st.columns(len(wanted)) if wanted else []
    for column, name in zip(columns, wanted, strict=True):
        choices = sorted({str(value) for row in rows if (value := getattr(row, name)) is not None})
        with column:
            label = "device" if name == "gpu" else name
            chosen = st.multiselect(label, choices, key=f"filter_{name}", placeholder=_ALL)
        kept = [row for row in kept if not chosen or str(getattr(row, name)) in chosen]
    return kept


def frame(rows: Sequence[RunRow], every: Sequence[RunRow]) -> pl.DataFrame:
    """The table of runs as it is shown; `every` holds the runs that SQNR and the Pareto front are against."""
    levels = data.sqnr_of(every)
    front = {row.name for group in charts.comparable(every) if len(group) > 1 for row in charts.pareto(group)}
    made = [_row(row, levels.get(row.name), row.name in front) for row in rows]
    types: dict[str, pl.DataType | type[pl.DataType]] = dict.fromkeys(_COLUMNS, pl.String)
    types |= dict.fromkeys(("batch", "breaks", "recompiles"), pl.Int64)
    types |= dict.fromkeys(("ms", "model_gib", "peak_gib", "sqnr"), pl.Float64)
    types["created"] = pl.Datetime("us")
    return pl.DataFrame(made, schema=types)


def _row(row: RunRow, sqnr: float | None, on_front: bool) -> dict[str, object]:
    return {
        "run": row.name,
        "status": "unreadable" if row.error else row.status,
        # Of `module:function` the function tells models apart.
        "model": row.model.rpartition(":")[2] if row.model else None,
        "scheme": row.scheme,
        "compile": row.compile,
        "batch": row.batch,
        "ms": row.median_ms,
        "model_gib": row.model_gib,
        "peak_gib": row.inference_peak_gib,
        "sqnr": sqnr,
        "front": "front" if on_front else None,
        "breaks": row.graph_breaks,
        "recompiles": row.recompiles,
        "gpu": _device(row),
        "created": row.created_ns // 1000 if row.created_ns else None,
    }


def _device(row: RunRow) -> str | None:
    """`H200`, of several ranks `2 x H200`."""
    gpu = (row.gpu or "").removeprefix("NVIDIA ")
    if row.ranks < 2:
        return gpu or None
    here = str(row.ranks) if row.ranks_here == row.ranks else f"{row.ranks_here} of {row.ranks}"
    return f"{here} x {gpu}" if gpu else f"{here} ranks"


def _table(rows: Sequence[RunRow], every: Sequence[RunRow]) -> list[str]:
    """The table; returns the names of the rows that are picked."""
    made = frame(rows, every)
    used = [name for name in made.columns if name == "run" or made[name].null_count() < made.height]
    found = st.dataframe(
        made.select(used),
        hide_index=True,
        placeholder="–",
        column_config={name: _column(name, made[name].dtype) for name in used},
        on_select="rerun",
        selection_mode="multi-row",
        key="runs_table",
        height=parts.table_height(made.height, 520),
    )
    return [rows[index].name for index in found["selection"]["rows"] if index < len(rows)]


def _column(name: str, dtype: Any) -> Any:
    label, width, form = _COLUMNS[name]
    told = _HELP.get(name)
    if dtype == pl.Datetime:
        return st.column_config.DatetimeColumn(label, width=width, format=form)
    if dtype.is_numeric():
        return st.column_config.NumberColumn(label, width=width, format=form, help=told)
    return st.column_config.TextColumn(label, width=width, help=told, pinned=name == "run")


def _scatter(rows: Sequence[RunRow]) -> list[str]:
    """Latency against memory; returns the runs whose points are picked."""
    groups = charts.comparable(rows)
    parts.section("Latency against memory", "lower left is better; no other run of its group beats one with a ring in both")
    if not groups:
        parts.note("None of these runs was timed on a GPU: nothing to place.")
        return []
    names = {charts.group_name(group): group for group in groups}
    label: str | None = None
    if len(names) > 1:
        choices = [*names, _ALL]
        label = st.selectbox("Model, batch, device", choices, width=560, key="scatter_group")
    shown = names.get(label or next(iter(names)), [row for group in groups for row in group])
    if label == _ALL:
        shown = [row for group in groups for row in group]
    found = parts.plot(charts.scatter(shown), "runs_scatter", on_select="rerun", selection_mode="points")
    points = found["selection"]["points"] if found else []
    return [str(each["customdata"][0]) for each in points if each.get("customdata")]


def _links(picked: Sequence[str], rows: Sequence[RunRow]) -> None:
    """Where to go from here: for the picked runs, else for the newest that can be read."""
    readable = {row.name: row for row in rows if not row.error}
    names = [name for name in picked if name in readable] or list(readable)[:1]
    if not names:
        return
    with st.container(horizontal=True, gap="medium", key="run_links"):
        at = Selection(run=names[0])
        if readable[names[0]].kind in navigation.OWN_PAGE:
            kind = str(readable[names[0]].kind)
            navigation.link(kind, f"{kind.capitalize()} page of {navigation.plain(names[0])}", at)
            return
        navigation.link(navigation.DIAGNOSIS, f"Diagnose {navigation.plain(names[0])}", at)
        navigation.link(navigation.TIMELINE, "Timeline", at)
        if len(names) == 1:
            navigation.link(navigation.MEMORY, "Memory", at)
            return
        base = min(names, key=lambda name: (readable[name].scheme != "bf16", readable[name].compile != "none"))
        others = [name for name in names if name != base]
        more = Selection(run=others[0], base=base, also="\n".join(others[1:]))
        count = "two" if len(names) == 2 else str(len(names))
        navigation.link(navigation.COMPARE, f"Compare the picked {count}", more)
        navigation.link(navigation.MEMORY, "Their memory over a call", Selection(run=base, also="\n".join(others)))
