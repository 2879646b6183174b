"""Folders of sweeps made by hand: `sweep.json` and run directories that hold a manifest alone, or kept runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from profiler.core.spec import RunSpec
from profiler.metrics.quality import TENSORS
from profiler.rundir.manifest import Manifest, Phase

GIB = 1 << 30
TRACES = Path(__file__).resolve().parents[1] / "traces"
H100 = {"name": "NVIDIA H100 80GB HBM3", "capability": [9, 0], "count": 1}
VERSIONS = {"torch": "2.11.0", "torchao": "0.18.0", "diffusers": "0.42.1"}
KEPT = {
    "bf16-none": "flux-dev-bf16",
    "bf16-default": "flux-dev-bf16-compiled",
    "fp8dqrow-regional": "flux-dev-fp8dqrow-regional",
    "int8dq-regional": "flux-dev-int8dq-regional",
    "bf16-none-b64": "flux-dev-batch64-oom",
}
"""Cells of a sweep of FLUX.1-dev on one H100, by the runs of `traces/` that they are."""


def spec(scheme: str = "bf16", compile: str = "none", **more: Any) -> dict[str, Any]:
    """A spec as `run.json` has it."""
    made = {"model": "flux-dev", "steps": 28, "height": 1024, "width": 1024, **more}
    return RunSpec(**made, scheme=scheme, compile=compile).to_dict()


def manifest(
    asked: dict[str, Any],
    seconds: tuple[float, ...] = (3.0, 3.1, 3.05),
    sizes: tuple[float, float, float] | None = (20.0, 32.0, 22.5),
    linears: dict[str, int] | None = None,
    **applied: Any,
) -> Manifest:
    """A finished run: its timed calls in seconds, its (model, load peak, inference peak) in GiB, Linears by what they got."""
    model, load, call = (None if sizes is None else round(each * GIB) for each in sizes or (0, 0, 0))
    phases = [
        Phase(name="load", start_ns=0, end_ns=10**10, alloc_bytes=model, peak_bytes=load),
        Phase(name="quantize", start_ns=10**10, end_ns=12 * 10**9, alloc_bytes=model, peak_bytes=load),
        Phase(name="warmup", start_ns=12 * 10**9, end_ns=50 * 10**9, peak_bytes=call, detail={"first_call_ns": 30e9, "steps": 2}),
        Phase(name="timed", start_ns=50 * 10**9, end_ns=60 * 10**9, peak_bytes=call),
    ]
    got = [
        {"module": f"transformer.{scheme}.{index}", "in_features": 3072, "out_features": 3072, "scheme": scheme, "reason": "why"}
        for scheme, count in (linears or {asked["scheme"]: 2}).items()
        for index in range(count)
    ]
    compiled = {"compiled": ["transformer"], "graph_breaks": 0} if asked["compile"] != "none" else {"graph_breaks": 0}
    return Manifest(
        status="ok",
        spec=asked,
        applied={"base_dtype": "bfloat16", "linears": got, **compiled, **applied},
        environment={"device": "cuda", "gpu": H100, "versions": VERSIONS},
        phases=phases,
        timed={"iterations_ns": [each * 1e9 for each in seconds], "steps": asked["steps"]},
        untraced={"dur_ns": 0.5e9, "steps": 2},
    )


def cell(name: str, asked: dict[str, Any], status: str = "ok", **more: Any) -> dict[str, Any]:
    """A row of `sweep.json`."""
    return {"id": name, "spec": asked, "hash": "0", "status": status, "run": name, "attempts": 1, **more}


def sweep_json(folder: Path, cells: list[dict[str, Any]], **header: Any) -> None:
    """Write `sweep.json`."""
    folder.mkdir(exist_ok=True)
    content = {"schema": 1, "model": "flux-dev", "steps": 28, "executor": "local", **header, "cells": cells}
    (folder / "sweep.json").write_text(json.dumps(content))


def write_run(folder: Path, made: Manifest) -> Path:
    """A run directory of a manifest alone."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(made.to_dict()))
    return folder


def sweep_of(folder: Path, runs: dict[str, Manifest], **header: Any) -> Path:
    """A sweep whose cells went well."""
    for name, made in runs.items():
        write_run(folder / name, made)
    sweep_json(folder, [cell(name, made.spec) for name, made in runs.items()], **header)
    return folder


def kept_sweep(folder: Path) -> Path:
    """A sweep of the kept runs."""
    folder.mkdir()
    cells = []
    for name, run in KEPT.items():
        (folder / name).symlink_to(TRACES / run)
        found = json.loads((TRACES / run / "run.json").read_text())
        cells.append(cell(name, found["spec"], found["status"]))
    sweep_json(folder, cells)
    return folder


def tensors(run: Path, noise: float) -> None:
    """Outputs that are `noise` away from all ones: 20 log10(1 / noise) dB."""
    values = np.full((1, 1000), 1.0 + noise, np.float32)
    np.savez(run / "output.npz", steps=2, **dict.fromkeys(TENSORS, values))


def only(result, name):
    (row,) = (each for each in result.cells.iter_rows(named=True) if each["id"] == name)
    return row


def rated(folder: Path) -> Path:
    """bf16, and three schemes that are faster, smaller or truer."""
    runs = {
        "bf16": manifest(spec(), (4.0, 4.0, 4.0), (30.0, 31.0, 33.0)),
        "bf16-compiled": manifest(spec(compile="regional"), (3.0, 3.0, 3.0), (30.0, 31.0, 33.0)),
        "fast": manifest(spec("fp8dqrow", "regional"), (2.0, 2.0, 2.0), (20.0, 32.0, 23.0)),
        "true": manifest(spec("int8wo", "regional"), (3.5, 3.5, 3.5), (20.0, 32.0, 23.0)),
        "small": manifest(spec("fp6_e3m2", "regional"), (3.2, 3.2, 3.2), (17.0, 32.0, 20.0)),
    }
    sweep_of(folder, runs)
    for name, noise in {"bf16": 0.0, "bf16-compiled": 2**-8, "fast": 0.25, "true": 2**-6, "small": 0.125}.items():
        tensors(folder / name, noise)
    return folder
