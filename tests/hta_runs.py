"""Runs of several ranks whose device times are known: a product, a collective that half overlaps it, a gap, a product."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

KERNEL, RUNTIME, OPERATOR = "kernel", "cuda_runtime", "cpu_op"


def event(cat: str, name: str, ts: float, dur: float, tid: int, **args: Any) -> dict[str, Any]:
    pid = 0 if cat == KERNEL else 100
    return {"ph": "X", "cat": cat, "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": args}


def launched(number: int, name: str, ts: float, dur: float, stream: int, call: float) -> list[dict[str, Any]]:
    """A kernel and the call of 10 us that launched it, at `call`."""
    return [
        event(RUNTIME, "cudaLaunchKernel", call, 10.0, 100, correlation=number),
        event(KERNEL, name, ts, dur, stream, stream=stream, correlation=number, device=0),
    ]


def device_events(late: float = 0.0) -> list[dict[str, Any]]:
    """Span 400 + late us, compute 200, communication 100 of which 50 hidden, nothing 150 + late; on two streams."""
    return [
        event(OPERATOR, "aten::mm", 1000.0, 80.0, 100),
        *launched(1, "ampere_bf16_gemm", 1100.0, 100.0, 7, 1010.0),
        *launched(2, "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)", 1150.0, 100.0, 20, 1030.0),
        *launched(3, "ampere_bf16_gemm", 1400.0 + late, 100.0, 7, 1380.0 + late),
    ]


def as_text(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with every id as text, as some programs write them, and one event without a duration."""
    texts = [each | {"args": {name: str(value) for name, value in each["args"].items()}} for each in events]
    return [*texts, {"ph": "X", "cat": OPERATOR, "name": "aten::lost", "pid": 100, "tid": 100, "ts": 1.0}]


def host_events() -> list[dict[str, Any]]:
    """Nothing on a device."""
    return [event(OPERATOR, "aten::mm", 1000.0, 80.0, 100), event(OPERATOR, "aten::add", 1090.0, 5.0, 100)]


def write_run(folder: Path, ranks: Mapping[int, list[dict[str, Any]]]) -> Path:
    """A run directory with a trace a rank."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"schema_version": 1, "kind": "import", "status": "ok"}))
    for rank, events in ranks.items():
        write_rank(folder, rank, events)
    return folder


def write_rank(run: Path, rank: int, events: list[dict[str, Any]]) -> Path:
    """One rank's trace, written anew; it says nothing of its rank."""
    path = run / f"rank{rank}" / "trace.json.gz"
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"schemaVersion": 1, "baseTimeNanoseconds": 0, "traceEvents": events})
    path.write_bytes(gzip.compress(text.encode()))
    return path


def truncate(trace: Path) -> None:
    """Cut a file in half."""
    data = trace.read_bytes()
    trace.write_bytes(data[: len(data) // 2])
