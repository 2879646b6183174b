"""A CPU run: the profiler's memory events, modules from the recorder's ranges, weights from `weights.json`."""

from __future__ import annotations

import gzip
import json

import pytest
from memory_tape import weight

from profiler.metrics.memory import allocations, growth, memory_summary, oom_report, peak, study, timeline
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

A = 0x7F0000000000
_BASE_NS = 1_000_000_000_000


def _mark(name, start, end):
    return _span(f"diffuscope/{name}", "user_annotation", start, end)


def _span(name, cat, start, end, tid=1):
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": tid, "ts": float(start), "dur": float(end - start)}


def _memory(at, address, size, total, device_type=0):
    args = {"Addr": address, "Bytes": size, "Total Allocated": total, "Total Reserved": 0, "Device Id": -1}
    args["Device Type"] = device_type
    return {
        "ph": "i",
        "s": "t",
        "cat": "cpu_instant_event",
        "name": "[memory]",
        "pid": 1,
        "tid": 1,
        "ts": float(at),
        "args": args,
    }


_WEIGHTS = [
    weight(A, 1000, "conv.weight", "vae", device="cpu"),
    weight(A + 4096, 500, "to_q.weight", device="cpu"),
]


@pytest.fixture
def run(tmp_path):
    """Latents of the pipeline, a step with a linear, decoding with a convolution that gives scratch memory back."""
    events = [
        _mark("call", 0, 100),
        _mark("step/0", 10, 40),
        _mark("decode", 50, 90),
        _mark("module/transformer", 12, 30),
        _mark("module/transformer.to_q", 15, 25),
        _mark("module/scheduler", 32, 38),
        _mark("module/vae.conv", 55, 80),
        _span("aten::linear", "cpu_op", 16, 20),
        _span("aten::conv2d", "cpu_op", 56, 70),
        _span("dynamo", "cpu_op", 81, 85),
        _memory(5, 16, 64, 64),
        _memory(13, 32, 10, 74),
        _memory(17, 48, 20, 94),
        _memory(28, 32, -10, 84),
        _memory(33, 64, 8, 92),
        _memory(57, 96, 300, 392),
        _memory(60, 112, 40, 432),
        _memory(65, 96, -300, 132),
        _memory(75, 48, -20, 112),
        _memory(82, 128, 5, 117),
        # Another device's memory is none of the CPU's.
        _memory(83, 999, 77, 77, device_type=1),
        _memory(95, 160, 3, 120),
    ]
    rank = tmp_path / "rank0"
    rank.mkdir()
    trace = {"schemaVersion": 1, "baseTimeNanoseconds": _BASE_NS, "traceEvents": events}
    (rank / "memory.json.gz").write_bytes(gzip.compress(json.dumps(trace).encode()))
    (rank / "weights.json").write_text(json.dumps(_WEIGHTS))
    return Run(tmp_path, Manifest(status="ok"))


def test_every_byte_has_a_category_a_module_and_a_window(run):
    rows = allocations(run).select("size_bytes", "category", "module", "role", "window").rows()
    assert rows == [
        (1000, "weights", "vae.conv", "weight", ""),
        (500, "weights", "transformer.to_q", "weight", ""),
        (64, "inputs and outputs", "pipeline", "inputs and outputs", "call"),
        (10, "activations", "transformer", "activation", "step/0"),
        (20, "activations", "transformer.to_q", "activation", "step/0"),
        (8, "inputs and outputs", "scheduler", "inputs and outputs", "step/0"),
        (300, "workspace", "vae.conv", "convolution", "decode"),
        (40, "activations", "vae.conv", "activation", "decode"),
        (5, "compile buffers", "unattributed", "compilation", "decode"),
        (3, "inputs and outputs", "pipeline", "inputs and outputs", "call"),
    ]
    assert study(run).problems == {}


def test_live_bytes_are_the_profilers_own_plus_the_weights(run):
    line = timeline(run)
    own = [0, 64, 74, 94, 84, 92, 392, 432, 132, 112, 117, 120]
    assert line.total["live_bytes"].to_list() == [1500 + each for each in own]
    assert line.total["reserved_bytes"].null_count() == line.total.height
    assert line.total["time_us"][1] == _BASE_NS // 1000 + 5


def test_the_peak_of_a_cpu_run(run):
    found = peak(run)
    assert (found.requested_bytes, found.window) == (1932, "decode")
    assert found.by_category == {"weights": 1500, "workspace": 300, "inputs and outputs": 72, "activations": 60}
    assert (found.counted_bytes, found.allocated_bytes, found.rounding_bytes, found.free) == (None, None, None, None)
    assert found.rows["stack_text"].to_list() == [""] * found.rows.height
    assert growth(run).steps["live_bytes"].to_list() == [1592]
    assert memory_summary(run).model_bytes is None
    assert oom_report(run) is None


def test_where_no_module_is_recorded_nothing_is_said_to_be_the_pipelines(run):
    path = run.path / "rank0" / "memory.json.gz"
    trace = json.loads(gzip.decompress(path.read_bytes()))
    trace["traceEvents"] = [each for each in trace["traceEvents"] if "module/" not in each["name"]]
    path.write_bytes(gzip.compress(json.dumps(trace).encode()))
    found = peak(Run(run.path, Manifest(status="ok")))
    assert found.by_category == {"weights": 1500, "workspace": 300, "unknown": 132}
