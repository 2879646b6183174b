"""The tables of the Sweep page: cells with a result, with the seed's columns, and cells without one, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboards import navigation, parts
from dashboards.links import Selection
from dashboards.navigation import SWEEP
from dashboards.uploads import harmless
from profiler.metrics.sweep import SweepResult
from profiler.metrics.sweep_front import Group
from profiler.report.sweep import result_data
from profiler.report.sweep_files import sweep_csv, sweep_markdown

_NAMES = {
    "id": "cell",
    "pareto": "on the front",
    "model": "model",
    "batch_size": "batch size",
    "compile": "compile",
    "compile_mode": "mode",
    "compile_vae": "compile VAE",
    "fuse_qkv": "fuse QKV",
    "quantize_vae": "quantize VAE",
    "quantize_text_encoder": "quantize text encoder",
    "quantization": "quantization",
    "sparsify": "sparsify",
    "time_s": "time, s",
    "error_s": "extrapolated ±, s",
    "model_memory_gib": "model memory, GiB",
    "inference_memory_gib": "inference memory, GiB",
    "inference_peak_gib": "inference peak, GiB",
    "load_peak_gib": "load peak, GiB",
    "sqnr_db": "SQNR, dB",
    "psnr_db": "PSNR, dB",
    "quantize_s": "quantize, s",
    "compile_s": "compile, s",
    "graph_breaks": "graph breaks",
}
_DIGITS = {"time_s": 3, "error_s": 3, "quantize_s": 1, "compile_s": 1, "sqnr_db": 1, "psnr_db": 1}
_HELP = {
    "error_s": "extrapolated from shorter calls, give or take this much",
    "inference_memory_gib": "as the seed measured it: the highest allocation since the start, loading and quantizing included",
    "inference_peak_gib": "the highest allocation of a call alone",
    "sqnr_db": "of the last latents, against the plainest bf16 cell of the same work; – is the base itself",
    "pareto": "no other cell beats it in time, memory and SQNR at once",
}
_UNFINISHED = ("status", "id", "reason", "seconds", "attempts", "worker")
_ORDER = ("running", "failed", "oom", "timeout", "refused", "interrupted", "queued")
_HEIGHT = 460


def table(result: SweepResult, group: Group) -> pl.DataFrame:
    """The group's cells as they are shown, fastest first; a level of the base, which is no number of dB, is null."""
    numbers = (pl.when(pl.col(name).is_finite()).then(name).alias(name) for name in ("sqnr_db", "psnr_db"))
    return result.cells.filter(pl.col("id").is_in(group.ids)).sort("time_s", "id").with_columns(*numbers).select(list(_NAMES))


def shared(frame: pl.DataFrame) -> dict[str, Any]:
    """Options that are the same for all cells: they are told in a line, and take no column."""
    options = (
        "model",
        "batch_size",
        "compile",
        "compile_mode",
        "compile_vae",
        "fuse_qkv",
        "quantize_vae",
        "quantize_text_encoder",
        "quantization",
        "sparsify",
    )
    return {name: frame[name][0] for name in options if frame.height > 1 and frame[name].n_unique() == 1}


def finished(at: Selection, result: SweepResult, group: Group) -> None:
    """The table, where to go from its picked row, and the table to take along."""
    frame = table(result, group)
    same = shared(frame)
    parts.section("Cells", "tick one to open it" + (f"; all: {told(same)}" if same else ""))
    used = [name for name in frame.columns if name not in same and frame[name].null_count() < frame.height]
    _pick(at, result, frame.select(used), "sweep_table", {name: _column(name, frame[name]) for name in used})
    _downloads(at, result)


def _pick(at: Selection, result: SweepResult, frame: pl.DataFrame, key: str, config: dict[str, Any]) -> None:
    """A table of which one cell can be picked; the address says which, and links lead to it."""
    ids = frame["id"].to_list()
    picked = [ids.index(at.row)] if at.row in ids else []

    def chosen() -> None:
        rows = st.session_state[key]["selection"]["rows"]
        navigation.select(replace(at, row=ids[rows[0]] if rows else ""), SWEEP)

    st.dataframe(
        frame,
        hide_index=True,
        placeholder="–",
        key=key,
        on_select=chosen,
        selection_mode="single-row",
        selection_default={"selection": {"rows": picked, "columns": [], "cells": []}} if picked else None,
        column_config=config,
        height=parts.table_height(frame.height, _HEIGHT),
    )
    if picked:
        _links(at, result)


def _downloads(at: Selection, result: SweepResult) -> None:
    """The files that `show --format` prints."""
    with st.container(horizontal=True, gap="medium"):
        for name, render, mime in (("csv", sweep_csv, "text/csv"), ("md", sweep_markdown, "text/markdown")):
            # Made when it is asked for.
            st.download_button(
                f"Table as .{name}",
                partial(_file, render, result),
                file_name=f"{harmless(at.run)}.{name}",
                mime=mime,
                key=f"sweep_{name}",
                on_click="ignore",
                icon=":material/download:",
            )


def _file(render: Callable[[dict[str, Any]], str], result: SweepResult) -> bytes:
    return render(result_data(result)).encode()


def told(same: dict[str, Any]) -> str:
    """Options that all cells share, in a line; what is off stands at its end."""
    values = {name: value for name, value in same.items() if value is not None and not isinstance(value, bool)}
    if not same.get("compile", True):
        values.pop("compile_mode", None)
    words = [f"batch {value}" if name == "batch_size" else str(value) for name, value in values.items()]
    words += [_NAMES[name] for name, value in same.items() if value is True]
    off = [_NAMES[name] for name, value in same.items() if value is False]
    return ", ".join(words + ([f"without {', '.join(off)}"] if off else []))


def _column(name: str, values: pl.Series) -> Any:
    if name == "id":
        return st.column_config.TextColumn(_NAMES[name], pinned=True, width="medium")
    if values.dtype == pl.Float64:
        digits = _DIGITS.get(name, 2 if (values.max() or 0) >= 0.1 else 4)  # type: ignore[operator]
        return st.column_config.NumberColumn(_NAMES[name], format=f"%.{digits}f", help=_HELP.get(name))
    return st.column_config.Column(_NAMES[name], help=_HELP.get(name))


def _links(at: Selection, result: SweepResult) -> None:
    """To the pages of the picked cell; they show it as the run `sweep/cell`."""
    runs = dict(result.cells.select("id", "run").iter_rows())
    if not runs.get(at.row):
        parts.note(f"{at.row} left no run directory")
        return
    run, base = f"{at.run}/{runs[at.row]}", result.cells.filter(pl.col("id") == at.row)["base"].item()
    with st.container(horizontal=True, gap="medium"):
        to = Selection(run=run)
        navigation.link(navigation.DIAGNOSIS, f"Diagnose {navigation.plain(at.row)}", to, ":material/troubleshoot:")
        navigation.link(navigation.KERNELS, "Kernels", to, ":material/bar_chart:")
        navigation.link(navigation.MEMORY, "Memory", to, ":material/memory:")
        if base != at.row and runs.get(base):
            both = Selection(run=run, base=f"{at.run}/{runs[base]}")
            navigation.link(navigation.COMPARE, f"Compare with {navigation.plain(base)}", both, ":material/compare_arrows:")


def without_result(result: SweepResult) -> pl.DataFrame:
    """Cells that are not in the table, as they are shown: those that run first, those that wait last."""
    ranked = {name for group in result.groups for name in group.ids}
    rows = [
        (cell.status, cell.id, cell.reason or each.problem or None, cell.seconds, cell.attempts, cell.worker)
        for each in result.tables.cells
        if (cell := each.cell).id not in ranked
    ]
    rows.sort(key=lambda row: _ORDER.index(row[0]) if row[0] in _ORDER else len(_ORDER))
    types = dict(zip(_UNFINISHED, (pl.Utf8, pl.Utf8, pl.Utf8, pl.Float64, pl.Int64, pl.Utf8), strict=True))
    return pl.DataFrame(rows, schema=types, orient="row")


def unfinished(at: Selection, result: SweepResult) -> None:
    """Cells without a result, with the reason, and where to go from the picked one."""
    frame = without_result(result)
    if frame.is_empty():
        return
    parts.section(
        "Cells without a result",
        "running first, waiting last; the same command goes on, and with --retry runs again what ended badly",
    )
    used = [name for name in frame.columns if frame[name].null_count() < frame.height]
    config: dict[str, Any] = {
        "id": "cell",
        "reason": st.column_config.TextColumn("why", width="large"),
        "seconds": st.column_config.NumberColumn("took, s", format="%.0f"),
    }
    _pick(at, result, frame.select(used), "sweep_unfinished", {name: config[name] for name in used if name in config})
