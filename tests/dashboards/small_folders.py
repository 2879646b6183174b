"""Names of the kept runs, and run directories of a few bytes."""

from __future__ import annotations

import json
from pathlib import Path

from processes import diffuscope

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


def hostile_run(folder: Path) -> Path:
    """A trace with markup for names, imported into a folder with markup for a name."""
    where = {"ph": "X", "pid": 1, "tid": 1}
    name = f"{HOSTILE}<script>window.hacked=1</script>"
    on_gpu = {"correlation": 7, "device": 0, "stream": 7}
    events = [
        where | {"cat": "cpu_op", "name": f"[x](javascript:window.hacked=1) {HOSTILE}", "ts": 10.0, "dur": 9.0, "args": {}},
        where | {"cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 12.0, "dur": 4.0, "args": {"correlation": 7}},
        where | {"cat": "kernel", "name": name, "ts": 20.0, "dur": 30.0, "args": on_gpu},
    ]
    trace = folder.parent / f"{folder.name}-hostile.json"
    trace.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    run = folder / HOSTILE.replace("/", "")
    done = diffuscope("import", trace, "-o", run, "--json")
    assert done.returncode == 0, done.stderr
    return run
