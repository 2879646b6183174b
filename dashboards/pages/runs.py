"""Runs: what is in the folder, and which run is worth a look."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import streamlit as st

from dashboards import data, navigation, parts
from dashboards.charts import runs as charts
from dashboards.folder import folder
from dashboards.links import Selection
from profiler.metrics.listing import RunRow

_COLUMNS = {
    "run": "run",
    "model": "model",
    "scheme": "scheme",
    "compile": "compile",
    "batch": "batch",
    "ms": "call, ms",
    "model_gib": "model, GiB",
    "peak_gib": "peak, GiB",
    "sqnr": "SQNR, dB",
    "breaks": "graph breaks",
    "recompiles": "recompiles",
    "gpu": "device",
    "status": "status",
    "created": "recorded",
}


def page() -> None:
    """The page."""
    rows = data.runs()
    if not rows:
        parts.head("Which run is worth a look?", "This folder holds no runs yet.")
        parts.nothing(f"No runs in {folder()}", "Record one, or import a trace.", "diffuscope record flux-tiny --device cpu")
        return
    parts.head("Which run is worth a look?", _answer(rows), f"{folder()}: {_counted(rows)}")
    shown = _filtered(rows)
    parts.section("Runs", "tick one for its diagnosis, two to compare them; a click on a column's name sorts by it")
    _links(_table(shown), shown)
    for row in shown:
        if row.error:
            parts.note(f"{row.name} cannot be read: {row.error}")
    parts.section(
        "Latency against memory", "lower left is better; a dotted line joins runs that no other of the same model beats in both"
    )
    if charts.placed(shown):
        parts.plot(charts.scatter(shown), "runs_scatter")
    else:
        parts.note("None of these runs was timed on a GPU: nothing to place.")


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
    wanted = [name for name in ("model", "scheme", "compile", "status") if len({getattr(row, name) for row in rows} - {None}) > 1]
    columns = st.columns(4)
    for column, name in zip(columns, wanted, strict=False):
        choices = sorted({str(value) for row in rows if (value := getattr(row, name)) is not None})
        with column:
            chosen = st.multiselect(name, choices, key=f"filter_{name}", placeholder="all")
        kept = [row for row in kept if not chosen or str(getattr(row, name)) in chosen]
    return kept


def frame(rows: Sequence[RunRow]) -> pl.DataFrame:
    """The table of runs as it is shown."""
    made = [_row(row, rows) for row in rows]
    types: dict[str, pl.DataType | type[pl.DataType]] = dict.fromkeys(_COLUMNS, pl.String)
    types |= dict.fromkeys(("batch", "breaks", "recompiles"), pl.Int64) | dict.fromkeys(
        ("ms", "model_gib", "peak_gib", "sqnr"), pl.Float64
    )
    types["created"] = pl.Datetime("us")
    return pl.DataFrame(made, schema=types)


def _row(row: RunRow, rows: Sequence[RunRow]) -> dict[str, object]:
    applied = {} if row.error else data.run(row.name).manifest.applied
    return {
        "run": row.name,
        "model": row.model,
        "scheme": row.scheme,
        "compile": row.compile,
        "batch": row.batch,
        "ms": row.median_ms,
        "model_gib": row.model_gib,
        "peak_gib": row.inference_peak_gib,
        "sqnr": _sqnr(row, rows),
        "breaks": applied.get("graph_breaks"),
        "recompiles": applied.get("recompiles"),
        "gpu": (row.gpu or "").removeprefix("NVIDIA ") or None,
        "status": "unreadable" if row.error else row.status,
        "created": row.created_ns // 1000 if row.created_ns else None,
    }


def _sqnr(row: RunRow, rows: Sequence[RunRow]) -> float | None:
    """Of the last latents, against the bf16 run of the same model and batch that is not compiled, else any of them."""
    if row.error or not row.scheme or row.scheme == "bf16":
        return None
    bases = [each for each in rows if each.scheme == "bf16" and (each.model, each.batch) == (row.model, row.batch)]
    bases.sort(key=lambda each: each.compile != "none")
    return data.sqnr_db(row.name, bases[0].name) if bases else None


def _table(rows: Sequence[RunRow]) -> list[str]:
    """The table; returns the names of the rows that are picked."""
    made = frame(rows)
    used = [name for name in made.columns if name == "run" or made[name].null_count() < made.height]
    number = st.column_config.NumberColumn
    config = {name: st.column_config.Column(_COLUMNS[name]) for name in used} | {
        "run": st.column_config.TextColumn("run", width="medium", pinned=True),
        "ms": number(_COLUMNS["ms"], format="%,.1f"),
        "model_gib": number(_COLUMNS["model_gib"], format="%.2f"),
        "peak_gib": number(_COLUMNS["peak_gib"], format="%.2f"),
        "sqnr": number(_COLUMNS["sqnr"], format="%.1f", help="of the last latents, against the run in bf16"),
        "created": st.column_config.DatetimeColumn(_COLUMNS["created"], format="YYYY-MM-DD HH:mm"),
    }
    found = st.dataframe(
        made.select(used),
        hide_index=True,
        placeholder="–",
        column_config={name: config[name] for name in used},
        on_select="rerun",
        selection_mode="multi-row",
        key="runs_table",
        height=parts.table_height(made.height),
    )
    return [rows[index].name for index in found["selection"]["rows"] if index < len(rows)]


def _links(picked: Sequence[str], rows: Sequence[RunRow]) -> None:
    """Where to go from here: for the picked runs, else for the newest that can be read."""
    readable = {row.name: row for row in rows if not row.error}
    names = [name for name in picked if name in readable]
    if not names:
        names = [row.name for row in sorted(readable.values(), key=lambda row: -(row.created_ns or 0))[:1]]
    if not names:
        return
    with st.container(horizontal=True, gap="medium"):
        at = Selection(run=names[0])
        for path, label in ((navigation.DIAGNOSIS, "Diagnose"), (navigation.TIMELINE, "Timeline"), (navigation.MEMORY, "Memory")):
            navigation.link(path, f"{label} {navigation.plain(names[0])}" if path == navigation.DIAGNOSIS else label, at)
        if len(names) > 1:
            navigation.link(navigation.COMPARE, "Compare the picked two", Selection(run=names[1], base=names[0]))
