"""`show`: the documented JSON, and text that fits, whatever the run lacks."""

from __future__ import annotations

import json

import pytest

from profiler.report.names import readable, shorten
from profiler.report.render import bar, number, percent
from profiler.report.show import show_data
from profiler.report.show_text import show_text
from profiler.rundir.manifest import Failure, Lost, Manifest, Phase
from profiler.tables.run import Run

_GIB = 1 << 30
_DOCUMENTED = {"run", "status", "spec", "applied", "phases", "timed", "memory", "classes", "kernels", "lost"}


@pytest.fixture
def run(tmp_path, make_trace, gpu_events):
    """A whole run of kind record with a trace of a few events."""
    (tmp_path / "r" / "rank0").mkdir(parents=True)
    make_trace(gpu_events).rename(tmp_path / "r" / "rank0" / "trace.json.gz")
    linears = [{"module": f"a.{n}", "scheme": "int8dq", "reason": None} for n in range(3)]
    linears += [{"module": "b", "scheme": "left", "reason": "M <= 16"}, {"module": "c", "scheme": "left", "reason": "M <= 16"}]
    manifest = Manifest(
        status="ok",
        spec={
            "model": "flux-dev",
            "scheme": "int8dq",
            "compile": "regional",
            "batch": 1,
            "steps": 28,
            "height": 1024,
            "width": 768,
        },
        applied={
            "linears": linears,
            "compiled": ["x"] * 57,
            "graphs": 3,
            "graph_breaks": 0,
            "recompiles": 1,
            "notes": ["a note"],
        },
        environment={"gpu": {"name": "NVIDIA H100"}, "versions": {"torch": "2.11"}},
        phases=[
            Phase(name="load", start_ns=5_000_000, end_ns=7_000_000, alloc_bytes=31 * _GIB, peak_bytes=32 * _GIB),
            Phase(name="traced", start_ns=8_000_000, end_ns=9_000_000, alloc_bytes=31 * _GIB, peak_bytes=34 * _GIB),
        ],
        timed={"iterations_ns": [3_000_000_000, 3_010_000_000, 3_100_000_000], "steps": 28, "batch": 1},
        untraced={"dur_ns": 400_000_000, "steps": 4},
        traced={"dur_ns": 420_000_000, "steps": 4},
        lost=[Lost(what="output.png", why="no space", count=1)],
    )
    return Run(tmp_path / "r", manifest)


def test_the_documented_json(run):
    data = json.loads(json.dumps(show_data(run), allow_nan=False))
    assert data.keys() >= _DOCUMENTED
    documented = {"name": "load", "start_ms": 0.0, "dur_ms": 2.0, "alloc_gib": 31.0, "peak_gib": 32.0}
    assert data["phases"][0].items() >= documented.items()
    assert data["phases"][1]["start_ms"] == 3.0
    assert data["timed"] == {"median_ms": 3010.0, "spread_ms": 100.0, "repeats": 3}
    assert data["memory"].items() >= {"model_gib": 31.0, "load_peak_gib": 32.0, "inference_peak_gib": 34.0}.items()
    assert data["kernels"][0] == {
        "name": "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn",
        "class": "GEMM bf16",
        "count": 2,
        "total_us": 4.003,
        "mean_us": 2.0015,
        "share": pytest.approx(4003 / 6503),
    }
    assert [each["class"] for each in data["classes"]] == ["GEMM bf16", "copy", "memset"]
    assert data["lost"] == {"count": 1, "items": [{"what": "output.png", "why": "no space", "count": 1}]}


def test_top_limits_the_kernels_but_not_the_totals(run):
    data = show_data(run, top=1)
    assert (len(data["kernels"]), data["trace"]["kernels"], len(data["classes"])) == (1, 3, 3)
    assert data["trace"]["total_us"] == pytest.approx(6.503)


@pytest.mark.parametrize("width", [40, 80, 100, 120, 300])
def test_the_text_says_it_all_and_fits(run, width):
    text = show_text(show_data(run), top=2, width=width)
    # A path is never cut.
    assert max(len(line) for line in text.splitlines() if str(run.path) not in line) <= max(80, min(120, width))
    for part in (
        "flux-dev · scheme int8dq · compile regional",
        "1024x768 px",
        "NVIDIA H100",
        "3,010.0 ms median of 3, spread 100.0 ms",
        "model 31.00 GiB, inference peak 34.00 GiB, load peak 32.00 GiB",
        "420.0 ms = 1.05 x untraced (400.0 ms)",
        "5 Linears: 3 int8dq, 2 left",
        "2 left: M <= 16",
        "compiled: 57 modules, 3 graphs, 0 graph breaks, 1 recompile",
        "a note",
        "the first 2 of 3",
        "1 x output.png: no space",
    ):
        assert part in text


def test_a_failed_run_shows_how_and_what_it_has(tmp_path):
    (tmp_path / "r").mkdir()
    failure = Failure(type="OutOfMemoryError", message="CUDA out of memory. " * 20, phase="warmup")
    manifest = Manifest(status="oom", phases=[Phase(name="load", start_ns=0, end_ns=None)], failure=failure)
    text = show_text(show_data(Run(tmp_path / "r", manifest)), top=5, width=80)
    assert "oom in phase warmup: OutOfMemoryError: CUDA out of memory." in text
    assert "no kernel breakdown" in text and "rank0/trace.json.gz" in text
    assert max(len(line) for line in text.splitlines() if "no kernel breakdown" not in line and str(tmp_path) not in line) <= 80


def test_a_failed_run_shows_where_its_program_raised(tmp_path):
    (tmp_path / "r").mkdir()
    frames = [
        f'  File "/app/{name}.py", line {line}, in {name}\n    {name}_code()' for name, line in (("a", 3), ("b", 7), ("c", 9))
    ]
    traceback = "Traceback (most recent call last):\n" + "\n".join(frames) + "\nValueError: bad\n"
    failure = Failure(type="ValueError", message="bad", phase="warmup", traceback=traceback)
    text = show_text(show_data(Run(tmp_path / "r", Manifest(status="failed", failure=failure))), top=5)
    assert "  at /app/b.py:7 b: b_code()\n  at /app/c.py:9 c: c_code()" in text
    assert "a_code" not in text


def test_an_empty_manifest_has_nothing_and_breaks_nothing(tmp_path):
    (tmp_path / "r").mkdir()
    data = show_data(Run(tmp_path / "r", Manifest()))
    assert {data["memory"][key] for key in ("model_gib", "load_peak_gib", "inference_peak_gib", "at_peak", "oom")} == {None}
    assert (data["kernels"], data["classes"], data["phases"]) == ([], [], [])
    assert "no kernel breakdown" in show_text(data, top=5)


def test_losses_of_the_trace_are_shown_from_the_cache_too(run, make_trace, make_span):
    make_trace([make_span("bad", "kernel", 1, -1), make_span("good", "kernel", 1, 1)]).rename(run.artifact("trace.json.gz"))
    for _ in range(2):
        data = show_data(Run(run.path, Manifest()))
        assert data["lost"] == {"count": 1, "items": [{"what": "rank0/trace.json.gz", "why": "negative duration", "count": 1}]}


def test_an_unreadable_trace_leaves_the_rest(run):
    run.artifact("trace.json.gz").write_bytes(b"nothing")
    data = show_data(run)
    assert "is not JSON" in data["trace"]["problem"]
    assert data["timed"]["median_ms"] == 3010.0
    assert "is not JSON" in show_text(data, top=3)


def test_names_are_cut_in_the_middle():
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghij", 7) == "abcd…ij"
    assert [len(shorten("abcdefghij", width)) for width in range(12)] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]
    native = "void at::native::(anonymous namespace)::RowwiseMomentsCUDAKernel<c10::BFloat16>(long, c10::BFloat16)"
    assert readable(native) == "RowwiseMomentsCUDAKernel<BFloat16>"
    assert readable("Memcpy DtoD (Device -> Device)") == "Memcpy DtoD (Device -> Device)"


def test_numbers_for_people():
    assert (number(1234.56), number(None), percent(0.256), percent(None)) == ("1,234.6", "-", "25.6", "-")
    assert (bar(1.0, 4), bar(0.5, 4), bar(0.0, 4), bar(1 / 32, 4), bar(7.0, 2)) == ("████", "██", "", "▏", "██")
