"""Comparisons by hand: whatever a verdict depends on can be set, everything else is unremarkable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from profiler.metrics.compare import Comparison
from profiler.metrics.compare_calls import CallDifference
from profiler.metrics.compare_memory import INFERENCE, LOAD, MODEL, QUANTIZE, SINCE_START, WARMUP, Bytes, MemoryDifference
from profiler.metrics.compare_runs import Difference
from profiler.metrics.compare_time import WindowDifference
from profiler.metrics.compare_weights import ComponentBytes, ExpectedWin
from profiler.metrics.phases import Timed
from profiler.metrics.quality import TENSORS, Level, Quality
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

GIB = 1 << 30
SCHEME = Difference("scheme", "bf16", "fp8dqrow", "option")
COMPILE = Difference("compile", "none", "regional", "option")


def window(classes: dict[str, tuple[float, float]], name: str = "step", idle=(1.0, 1.0), spread_ms=0.1, **more: Any):
    """A window whose classes take (base, new) ms."""
    rows = [("busy", label, *times) for label, times in classes.items()] + [("idle", "launch latency", *idle)]
    frame = pl.DataFrame(
        [
            (kind, label, 1.0, 1.0, round(a * 1e6), round(b * 1e6), round((b - a) * 1e6), 0, "faster")
            for kind, label, a, b in rows
        ],
        schema=["kind", "label", "base_count", "new_count", "base_ns", "new_ns", "delta_ns", "spread_ns", "status"],
        orient="row",
    )
    base, new = int(frame["base_ns"].sum()), int(frame["new_ns"].sum())
    spread = None if spread_ms is None else round(spread_ms * 1e6)
    made = {"base_least_ns": base, "new_least_ns": new, "base_traced_ns": base, "new_traced_ns": new, "calibrated": True} | more
    kernels = frame.with_columns(pl.col("label").alias("detail"))
    return WindowDifference(
        name=name,
        base_ns=base,
        new_ns=new,
        base_repeats=2,
        new_repeats=2,
        spread_ns=spread,
        classes=frame,
        kernels=kernels,
        **made,
    )


def calls(base_ms=100.0, new_ms=50.0, spread_ms=1.0) -> CallDifference:
    """Timed calls of 10 steps."""
    times = [Timed(value, spread_ms, 1 if spread_ms is None else 3) for value in (base_ms, new_ms)]
    return CallDifference(*times, steps=(10, 10), spread_ms=spread_ms, parts=[], ready_ms=None)


def memory(model=(30.0, 20.0), peak=(32.0, 22.0), since=None, where=("step", "step"), lived=(), **more: Any) -> MemoryDifference:
    """Sizes in GiB, (base, new); `since` None: the peak since start is the inference's; `lived` at the peak."""

    def of(name, sizes, *places):
        return Bytes(name, *(None if each is None else round(each * GIB) for each in sizes), *places)

    since, places = (peak, ("traced", "traced")) if since is None else (since, ("traced", "quantize"))
    phases = [
        of(MODEL, model),
        of(LOAD, (30.0, 30.0)),
        of(QUANTIZE, (30.0, 31.0)),
        of(WARMUP, peak),
        of(INFERENCE, peak, *where),
        of(SINCE_START, since, *places),
    ]
    made = {"peak": list(lived), "windows": {}, "holders": ("", "")} | more
    return MemoryDifference(phases=phases, **made)


def expected(base=30.0, win=10.0, measured=10.0, stored=None, offloaded=False) -> ExpectedWin:
    """One component; GiB."""
    stored = win if stored is None else stored
    sizes = [round(each * GIB) for each in (base, base - win, base - stored)]
    return ExpectedWin(
        components=[ComponentBytes("transformer", *sizes)],
        added_bytes=0,
        linears={"fp8dqrow": 4},
        left_bytes={},
        measured=None if measured is None else round(measured * GIB),
        offloaded=offloaded,
    )


def comparison(**changed: Any) -> Comparison:
    """A win that is real in everything, but for what is changed."""
    spec = {"model": "flux-dev", "scheme": "fp8dqrow", "compile": "none", "quantize_on": "device", "weights": None}
    applied = {"linears": [{"module": "a", "scheme": "fp8dqrow"}]}
    level = Level(20.0)
    made = {
        "run": Run(Path("new"), Manifest(spec=spec, applied=applied)),
        "base": Run(Path("base"), Manifest(spec=spec | {"scheme": "bf16"})),
        "shared": {"model": "flux-dev"},
        "unknown": [],
        "differences": [SCHEME],
        "calls": calls(),
        "windows": {"step": window({"GEMM bf16": (9.0, 0.0), "GEMM fp8": (0.0, 4.0)})},
        "windows_why": "",
        "memory": memory(),
        "expected": expected(),
        "expected_why": "",
        "quality": Quality(dict.fromkeys(TENSORS, level), Level(None, "holds no output.png"), 2),
    }
    return Comparison(**(made | changed))
