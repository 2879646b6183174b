"""One row a cell of a sweep: the columns of the seed's tables, and those that it lacks."""

from __future__ import annotations

import statistics
from typing import Any

import polars as pl

from profiler.core.plan_file import names_plan
from profiler.core.units import GIB, gib
from profiler.metrics import phases
from profiler.metrics.main_rank import slowest_calls
from profiler.metrics.memory.summary import summarize
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest
from profiler.tables.sweep import CellRun, SweepTables

COLUMNS: dict[str, Any] = {
    "id": pl.Utf8,
    "model": pl.Utf8,
    "gpu": pl.Utf8,
    "batch_size": pl.Int64,
    "compile": pl.Boolean,
    "compile_mode": pl.Utf8,
    "compile_vae": pl.Boolean,
    "fuse_qkv": pl.Boolean,
    "quantize_vae": pl.Boolean,
    "quantize_text_encoder": pl.Boolean,
    "quantization": pl.Utf8,
    "sparsify": pl.Boolean,
    "scheme": pl.Utf8,
    "steps": pl.Int64,
    "height": pl.Int64,
    "width": pl.Int64,
    "frames": pl.Int64,
    "guidance": pl.Float64,
    "model_memory_gib": pl.Float64,
    "inference_memory_gib": pl.Float64,
    "time_s": pl.Float64,
    "spread_s": pl.Float64,
    "inference_peak_gib": pl.Float64,
    "load_peak_gib": pl.Float64,
    "quantize_s": pl.Float64,
    "compile_s": pl.Float64,
    "graph_breaks": pl.Int64,
    "sqnr_db": pl.Float64,
    "sqnr_transformer_db": pl.Float64,
    "psnr_db": pl.Float64,
    "base": pl.Utf8,
    "psnr_base": pl.Utf8,
    "quality_note": pl.Utf8,
    "status": pl.Utf8,
    "run": pl.Utf8,
    "extrapolated": pl.Boolean,
    "error_s": pl.Float64,
    "reason": pl.Utf8,
    "pareto": pl.Boolean,
}
"""Columns of `SweepResult.cells`. Times in seconds, sizes in GiB, ratios in dB; what a cell does not say is null.

`quantization` and `sparsify` are the seed's words for `scheme` (`sparsify` is its int8dq with `sparsify`). `inference_memory_gib`
is the seed's: `max_memory_allocated` since the start; `inference_peak_gib` is of the call alone. On a CPU `model_memory_gib` is
the sum of the weights, and no peak is known. `spread_s` is longest less shortest timed call, `error_s` what an extrapolated time
may be off by. `base` is the cell that SQNR is against, `psnr_base` the one that PSNR is (another where `base` kept no
picture); `quality_note` says why a level is missing or infinite.
"""

AUTOQUANT = "autoquant"
_SPARSE = {"sparsify": "int8dq", "fp8-sparse": "fp8dqrow"}


def cell_rows(tables: SweepTables) -> list[dict[str, Any]]:
    """The rows of all cells, without quality and Pareto front."""
    steps = tables.file.steps if tables.file else None
    return [_row(each, steps) for each in tables.cells]


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """The rows as a frame with `COLUMNS`."""
    return pl.DataFrame([{name: row.get(name) for name in COLUMNS} for row in rows], schema=COLUMNS)


def _row(each: CellRun, steps: int | None) -> dict[str, Any]:
    cell, run = each.cell, each.run
    spec = (run.manifest.spec if run else None) or cell.spec
    row = {"id": cell.id, "status": cell.status, "extrapolated": cell.extrapolated is not None, "pareto": False}
    failure = run.manifest.failure if run else None
    ended = failure.message.partition("\n")[0] if failure else None
    row |= {"run": cell.run, "reason": cell.reason or each.problem or ended} | _asked(spec)
    if run is None:
        return row | {"steps": steps or spec.get("steps")}
    row |= _memory(run.manifest) | _effort(run.manifest) | _time(each, steps)
    gpu = run.manifest.environment.get("gpu") or {}
    name = gpu.get("name") or (run.manifest.environment.get("cpu") or {}).get("model")
    ranks = run.manifest.world_size
    # One call over several devices is no cell beside those of one.
    row["gpu"] = f"{ranks} x {name}" if ranks > 1 and name else name
    return row


def _asked(spec: dict[str, Any]) -> dict[str, Any]:
    scheme, mode = spec.get("scheme"), spec.get("compile")
    same = ("model", "compile_vae", "fuse_qkv", "quantize_vae", "quantize_text_encoder", "height", "width", "frames", "guidance")
    return {name: spec.get(name) for name in same} | {
        "batch_size": spec.get("batch"),
        "compile": None if mode is None else mode != "none",
        "compile_mode": mode,
        "scheme": scheme,
        "quantization": _quantization(scheme) if scheme else None,
        "sparsify": None if scheme is None else scheme in _SPARSE,
    }


def _quantization(scheme: str) -> str:
    """The seed's word for a scheme; a plan of a scheme for each layer is what it called autoquant."""
    return AUTOQUANT if names_plan(scheme) else _SPARSE.get(scheme, scheme)


def _memory(manifest: Manifest) -> dict[str, float | None]:
    sizes, summary = phases.memory(manifest), summarize(manifest)
    # What a run that died while it loaded reached is no figure of its scheme.
    inferred = sizes.inference_peak_gib is not None
    on_cpu = manifest.environment.get("device") == "cpu"
    stored = manifest.applied.get("weight_bytes") or {}
    return {
        "model_memory_gib": sum(stored.values()) / GIB if on_cpu and stored else sizes.model_gib,
        "inference_memory_gib": gib(summary.since_start_peak_bytes) if inferred else None,
        "inference_peak_gib": sizes.inference_peak_gib,
        "load_peak_gib": sizes.load_peak_gib,
    }


def _effort(manifest: Manifest) -> dict[str, Any]:
    quantize = manifest.phase(layout.QUANTIZE)
    ended = quantize is not None and quantize.end_ns is not None
    return {
        "quantize_s": (quantize.end_ns - quantize.start_ns) / 1e9 if quantize and ended and quantize.end_ns else None,
        "compile_s": _compile_s(manifest),
        "graph_breaks": manifest.applied.get("graph_breaks"),
    }


def _compile_s(manifest: Manifest) -> float | None:
    """What the first call takes more than a later one of as many steps; None where nothing is compiled, or none followed."""
    warmup = manifest.phase(layout.WARMUP)
    detail = warmup.detail if warmup else {}
    first, calls = detail.get("first_call_ns"), detail.get("calls_ns") or []
    untraced = manifest.untraced
    later = [untraced["dur_ns"]] if untraced.get("dur_ns") and untraced.get("steps") == detail.get("steps") else calls[1:2]
    return (first - later[0]) / 1e9 if manifest.applied.get("compiled") and first is not None and later else None


def _time(each: CellRun, steps: int | None) -> dict[str, Any]:
    """The timed calls, or what shorter ones were extrapolated to."""
    found = each.cell.extrapolated
    manifest = slowest_calls(each.run) if each.run else Manifest()
    if found is not None:
        total = steps or each.cell.spec.get("steps")
        time_s = None if total is None else (found.fixed_ms + found.step_ms * total) / 1e3
        return {"steps": total, "time_s": time_s, "error_s": found.error_ms / 1e3}
    iterations = manifest.timed.get("iterations_ns") or []
    spread = (max(iterations) - min(iterations)) / 1e9 if len(iterations) > 1 else None
    return {
        "steps": manifest.timed.get("steps") or manifest.spec.get("steps"),
        "time_s": statistics.median(iterations) / 1e9 if iterations else None,
        "spread_s": spread,
    }


def found_compiled(tables: SweepTables) -> dict[str, tuple[int, int]]:
    """By cell: FX graphs that its run found in the cache, and all that it needed; cells that say nothing of it are left out."""
    found = {}
    for each in tables.cells:
        counts = (each.run.manifest.applied.get("caches") if each.run else None) or {}
        hits, misses = (counts.get(f"fx_{name}") if isinstance(counts, dict) else None for name in ("hits", "misses"))
        if isinstance(hits, int) and isinstance(misses, int):
            found[each.cell.id] = (hits, hits + misses)
    return found
