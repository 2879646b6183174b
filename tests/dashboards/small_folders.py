"""Names of the kept runs, and run directories of a few bytes."""

from __future__ import annotations

import json
from pathlib import Path

INT8, BF16, FP8, OOM = "flux-dev-int8dq-regional", "flux-dev-bf16", "flux-dev-fp8dqrow-regional", "flux-dev-batch64-oom"
BREAKS = "clinic-item-in-block"
HOSTILE = "<img src=x onerror=window.hacked=1>"


def write_run(path: Path, trace: bytes = b"") -> Path:
    """A run directory that opens; with a trace file of these bytes where there are any."""
    (path / "rank0").mkdir(parents=True)
    (path / "run.json").write_text(json.dumps({"schema_version": 1, "kind": "import", "status": "ok", "created_ns": 1}))
    if trace:
        (path / "rank0" / "trace.json.gz").write_bytes(trace)
    return path
