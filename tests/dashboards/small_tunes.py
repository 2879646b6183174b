"""A run of kind `tune` of three shapes, made without tuning anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

BASELINES = {"int_mm x scale": 200.0, "int_mm": 150.0, "bf16": 120.0, "fp8 row-wise": 60.0}
NAME = "tune-small"


def shape(m: int, k: int, n: int, count: int, us: float, **more: Any) -> dict[str, Any]:
    """One shape; its baselines are `BASELINES` unless told."""
    best = {"kernel": "hopper:block_m=128,stages=4", "config": {"block_m": 128, "stages": 4}, "us": us, "tops": 0.0}
    spaces = {"hopper": {"kernel": best["kernel"], "us": us}, "cublaslt": {"kernel": "cublaslt:scaled", "us": 180.0}}
    sizes = {"m": m, "k": k, "n": n, "count": count}
    return sizes | {"best": best, "baselines": BASELINES, "spaces": spaces, "candidates": 10, "seconds": 2.5} | more


SHAPES = [
    shape(512, 1024, 2048, 2, 50.0),
    shape(4096, 1024, 1024, 10, 100.0, wrong={"hopper:block_m=256": "off by 60 %"}),
    shape(64, 128, 256, 1, 250.0, failed={"<b>torchao:x</b>": "out of shared memory"}),
]


def write_tune(folder: Path, shapes: list[dict[str, Any]] | None = None, **more: Any) -> Path:
    """The run in `folder`, by the name `NAME`."""
    run = folder / NAME
    run.mkdir(parents=True)
    manifest = {"schema_version": 1, "kind": "tune", "status": "ok", "created_ns": 5, "applied": {"notes": ["a note"]}}
    manifest["spec"] = {"model": "flux-dev", "scheme": "int8dq", "batch": 1, "height": 1024, "width": 1024}
    manifest["environment"] = {"ceilings": {"int8_tops": 90.0, "fp8_tflops": 200.0}}
    (run / "run.json").write_text(json.dumps(manifest | more))
    key = {"device": "A GPU", "torch": "2.11", "triton": "3.6"}
    refused = [{"m": 1, "k": 2, "n": 3, "count": 1, "why": "16 rows or fewer"}]
    found = {"key": key, "table": "/kernels.json", "wanted": 3, "refused": refused}
    (run / "tune.json").write_text(json.dumps(found | {"shapes": SHAPES if shapes is None else shapes}))
    return run
