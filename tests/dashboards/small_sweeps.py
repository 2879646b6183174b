"""A sweep of a few cells, made without recording anything."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

NAME = "sweep-small"
SPEC = {"model": "flux-dev", "batch": 1, "steps": 28, "height": 1024, "width": 1024, "compile_vae": False, "fuse_qkv": False}
SPEC |= {"quantize_vae": False, "quantize_text_encoder": False}
GIB = 1 << 30
FAST, SMALL, BF16, BEATEN = "fp8dqrow-regional", "int8wo-regional", "bf16", "int8dq-regional"
# Seconds of a call, GiB of weights, GiB at the peak of a call.
CELLS = {FAST: (3.0, 20, 24), BF16: (5.0, 31, 34), SMALL: (4.0, 19, 22), BEATEN: (4.5, 20, 25)}
FAILED = {
    "int4wo-regional": ("timeout", "did not finish in 900 s"),
    "<img src=x onerror=window.hacked=1>": ("failed", "<script>window.hacked=1</script> no kernel image"),
}


def _spec(name: str) -> dict[str, Any]:
    scheme, _, mode = name.partition("-")
    return SPEC | {"scheme": scheme if scheme.isalnum() else "int4dq", "compile": mode if mode == "regional" else "none"}


def _phase(name: str, alloc: float, peak: float | None) -> dict[str, Any]:
    sizes = {"alloc_bytes": int(alloc * GIB), "peak_bytes": peak and int(peak * GIB)}
    return {"name": name, "start_ns": 1, "end_ns": 1_000_000_001} | sizes


def write_cell(folder: Path, name: str, time_s: float, weights: float, peak: float | None) -> dict[str, Any]:
    """One finished cell: its run directory, and its entry in `sweep.json`. Sizes in GiB; the peak may not be known."""
    run = folder / name
    run.mkdir(parents=True)
    manifest = {"schema_version": 1, "kind": "record", "status": "ok", "created_ns": 3, "spec": _spec(name)}
    phases = [_phase("load", 32, 33), _phase("quantize", weights, 33), _phase("traced", weights, peak)]
    gpu = {"gpu": {"name": "NVIDIA H100 80GB HBM3"}}
    manifest |= {"phases": phases, "timed": {"iterations_ns": [round(time_s * 1e9)], "steps": 28}, "environment": gpu}
    manifest["applied"] = {"graph_breaks": 0}
    (run / "run.json").write_text(json.dumps(manifest))
    return _entry(name, "ok", run=name, seconds=60.0)


def _entry(name: str, status: str, **more: Any) -> dict[str, Any]:
    began = None if status == "queued" else time.time_ns() - 30 * 10**9
    return {"id": name, "spec": _spec(name), "status": status, "began_ns": began, "attempts": int(bool(began))} | more


def write_sweep(folder: Path, status: str = "ok", waiting: int = 0, **more: Any) -> Path:
    """The sweep `NAME` in `folder`: four cells with a result, two without, one that runs and `waiting` ones where it runs."""
    path = folder / NAME
    cells = [write_cell(path, name, *figures) for name, figures in CELLS.items()]
    cells += [_entry(name, state, reason=why, seconds=90.0) for name, (state, why) in FAILED.items()]
    if status == "running":
        cells += [_entry("fp6_e3m2-regional", "running", worker="box/gpu0")]
    cells += [_entry(f"fp5_e2m2-{number}", "queued") for number in range(waiting)]
    write_state(path, cells, status, **more)
    return path


def write_state(path: Path, cells: list[dict[str, Any]], status: str, **more: Any) -> None:
    """`run.json` and `sweep.json`. A sweep that runs is one of this process."""
    process = {"pid": os.getpid()} if status == "running" else {}
    manifest = {"schema_version": 1, "kind": "sweep", "status": status, "created_ns": 7, "process": process}
    (path / "run.json").write_text(json.dumps(manifest))
    file = {"schema": 1, "model": "flux-dev", "preset": None, "executor": "local", "steps": 28, "cells": cells}
    (path / "sweep.json").write_text(json.dumps(file | more))
