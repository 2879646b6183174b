"""Shared fixtures: traces beside the checkout, and small traces and runs made on the spot."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import TESTS, runs_folder

from profiler.core.imports import uncollected

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
_TRACES = sorted([*(SHARED / "h100").glob("*.trace.json.gz"), *(SHARED / "peers" / "hta").glob("*.json.gz")])
_ABSENT = pytest.mark.skip(reason="no ../shared/h100 and ../shared/peers beside this checkout")

# Kept small: tests share two cores with whatever else runs.
os.environ.setdefault("POLARS_MAX_THREADS", "2")
# The width of a terminal, which is not that of the one that the tests happen to run in.
os.environ["COLUMNS"] = "100"
# Hundreds of child processes import this project: they compile it once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# From here on the processes of pytest-xdist find one another's recordings.
runs_folder()

# What takes longest: begun last, one of these would run alone at the end. The clinic is first, and beside it files of one
# process at a time: its controls are clean only where nothing holds a step up.
_LONG = (
    "clinic/test_clinic",
    "recording/test_crashes",
    "cli/test_explain_command",
    "recording/test_explain",
    "recording/test_module_marks",
    "sweep/test_ray",
    "dashboards/test_browser",
    "tables/test_snapshot_hostile",
    "cli/test_record",
    "cli/test_plan_command",
    "cli/test_tune_command",
    "sweep/test_sweep_command",
    "recording/test_recorded_ranks",
    "recording/test_compiled_run",
    "metrics/test_ranks",
    "tables/test_snapshot_golden",
    "placement/test_compiled_offloads",
    "recording/test_tuned_kernels",
    "recording/test_full_disk",
    "dashboards/test_pages",
    "dashboards/test_browser_searches",
    "metrics/test_golden_breakdown",
    "recording/test_packed_run",
    "report/test_diagnose_golden",
    "test_cli_surface",
    "placement/test_offloads",
    "schemes/test_packed_schemes",
    "compilers/test_compilers",
    "metrics/memory/test_memory_metrics_golden",
    "recording/test_eager_run",
    "tune/test_bench",
    "tables/test_snapshot_mutated",
    "tables/test_pieces_property",
    "tables/test_bad_traces",
    "schemes/test_quantize",
    "tune/test_torchao_file",
    "placement/test_vae",
    "recording/test_bare_timing",
)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Imports and collected tests stay to the end: the garbage collector need never look through them."""
    with uncollected(keep=True):
        return (yield)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Several processes begin with the longest files; one process keeps to the order of the folders."""
    if hasattr(config, "workerinput"):
        ranks = {str(TESTS / f"{name}.py"): rank for rank, name in enumerate(_LONG)}
        assert all(map(os.path.exists, ranks)), "conftest's _LONG names a file that is gone"
        items.sort(key=lambda item: ranks.get(str(item.path), len(ranks)))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`shared_trace` runs a test once for each real trace beside the checkout."""
    if "shared_trace" in metafunc.fixturenames:
        params = [pytest.param(path, id=path.name.partition(".")[0]) for path in _TRACES]
        metafunc.parametrize("shared_trace", params or [pytest.param(None, marks=_ABSENT)])


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the checkout; the test is skipped where there is none."""
    if not _TRACES:
        pytest.skip("no ../shared/h100 and ../shared/peers beside this checkout")
    return SHARED


def span(name: str, cat: str, ts: float, dur: float, **args: Any) -> dict[str, Any]:
    """One complete event on thread 1 of process 1."""
    return {"ph": "X", "cat": cat, "name": name, "pid": 1, "tid": 1, "ts": ts, "dur": dur, "args": args}


@pytest.fixture
def make_span() -> Callable[..., dict[str, Any]]:
    return span


@pytest.fixture
def make_trace(tmp_path: Path) -> Callable[..., Path]:
    """Write a trace file of the given events; keyword arguments go before (`name`) or beside the events."""

    def make(events: list[Any], name: str = "trace.json", **metadata: Any) -> Path:
        path = tmp_path / name
        path.write_text(json.dumps({"schemaVersion": 1, **metadata, "traceEvents": events}))
        return path

    return make


@pytest.fixture
def gpu_events() -> list[dict[str, Any]]:
    """A launch and what it ran: one GEMM twice, one copy, one memset, an annotation that keeps no GPU busy."""
    return [
        span(
            "aten::mm",
            "cpu_op",
            10.0,
            9.5,
            **{"External id": 3, "Input Dims": [[2, 3], [3, 4]], "Input type": ["float", "float"]},
        ),
        span("cudaLaunchKernel", "cuda_runtime", 12.0, 4.25, correlation=7, **{"External id": 3}),
        span(
            "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn", "kernel", 20.001, 3.002, correlation=7, device=0, stream=7, grid=[1, 2, 1]
        ),
        span("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn", "kernel", 30.0, 1.001, correlation=8, device=0, stream=7),
        span("Memcpy HtoD (Pageable -> Device)", "gpu_memcpy", 40.0, 2.0, correlation=9, stream=7, bytes=4096),
        span("Memset (Device)", "gpu_memset", 43.0, 0.5, correlation=10, stream=7, bytes=16),
        span("diffuscope/step/0", "gpu_user_annotation", 20.0, 30.0),
    ]
