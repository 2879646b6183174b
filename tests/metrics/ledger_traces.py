"""Small traces by hand, times in whole microseconds, and runs that hold one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl

from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run


def _span(name, cat, start, end, tid=1, **args):
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": tid, "ts": start, "dur": end - start, "args": args}


def op(name, start, end, tid=1, **args):
    return _span(name, "cpu_op", start, end, tid, **args)


def mark(name, start, end, tid=1):
    return _span(name, "user_annotation", start, end, tid)


def region(compile_id, start, end):
    return op(f"Torch-Compiled Region: {compile_id}", start, end)


def graph(start, end, key="fkey"):
    return mark(f"## Call CompiledFxGraph {key} ##", start, end)


def lookup(start, end):
    return op("TorchDynamo Cache Lookup", start, end)


def call(name, start, end, correlation=None, tid=1):
    args = {} if correlation is None else {"correlation": correlation}
    return _span(name, "cuda_runtime", start, end, tid, **args)


def launch(start, end, correlation, tid=1):
    return call("cudaLaunchKernel", start, end, correlation, tid)


def kernel(start, end, correlation, name="nvjet_sm90_tst_1", stream=7):
    return _span(name, "kernel", start, end, stream, correlation=correlation, stream=stream, device=0)


def copy(start, end, correlation, name, stream=7):
    return _span(name, "gpu_memcpy", start, end, stream, correlation=correlation, stream=stream, device=0)


def overhead(name, start, end):
    return _span(name, "overhead", start, end, 0)


def run_of(folder: Path, events, **manifest) -> Run:
    """A run directory with one trace; keyword arguments go into its manifest."""
    rank = folder / "rank0"
    rank.mkdir(parents=True)
    (rank / "trace.json.gz").write_bytes(gzip.compress(json.dumps({"traceEvents": events}).encode()))
    return Run(folder, Manifest(**{"kind": "import", **manifest}))


def idle_us(ledger):
    """Idle time by label and detail, in us; every window of the ledger together."""
    rows = ledger.rows.filter(ledger.rows["kind"] == "idle").group_by("label", "detail").agg(pl.col("total_ns").sum())
    return {(label, detail): total / 1000 for label, detail, total in rows.iter_rows()}


def check_conserved(ledger):
    """Rows and segments of each window sum to it exactly; segments lie in it, do not overlap, and have a row."""
    for window in ledger.windows.iter_rows(named=True):
        dur = window["end_ns"] - window["start_ns"]
        rows = ledger.rows.filter(ledger.rows["index"] == window["index"])
        segments = ledger.segments.filter(ledger.segments["index"] == window["index"]).sort("start_ns", "end_ns")
        lengths = segments["end_ns"] - segments["start_ns"]
        assert rows["total_ns"].sum() == dur
        assert lengths.sum() == dur
        assert not rows["id"].is_duplicated().any()
        assert (rows["total_ns"] >= 0).all() and (rows["priced_ns"] >= 0).all() and (lengths > 0).all()
        assert set(segments["id"]) == set(rows.filter(rows["total_ns"] > 0)["id"])
        if dur:
            assert (segments["start_ns"][0], segments["end_ns"][-1]) == (window["start_ns"], window["end_ns"])
            assert (segments["start_ns"][1:] == segments["end_ns"][:-1]).all()
