"""Findings, windows and kernels are found where they are in the trace."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dashboards import moments
from profiler.metrics.ledger import Ledger, ledgers
from profiler.metrics.windows import windows
from profiler.report.diagnose import Report, diagnose
from profiler.tables.run import Run


@pytest.fixture(scope="module")
def run(golden: Path) -> Run:
    return Run.open(golden / "flux-dev-int8dq-regional")


@pytest.fixture(scope="module")
def cut(run: Run) -> dict[str, Ledger]:
    return ledgers(run, ["step", "text", "decode", "call"])


@pytest.fixture(scope="module")
def report(run: Run) -> Report:
    return diagnose(run)


def test_windows_are_those_of_the_metrics(run: Run, cut: dict[str, Ledger]):
    found = moments.windows(cut)
    assert list(found) == ["call", "text", "step/0", "step/1", "decode"]
    step = windows(run).filter((pl.col("name") == "step") & (pl.col("index") == 1)).row(0, named=True)
    assert found["step/1"] == (step["start_ns"], step["end_ns"])


def test_a_finding_about_kernels_stands_on_one_of_them(run: Run, cut: dict[str, Ledger], report: Report):
    first = report.findings[0]
    assert first.finding.rule == "old-architecture-gemm"
    start, end = moments.of_finding(first, cut) or (0, 0)
    ran = run.trace().lazy("gpu").filter((pl.col("ts_ns") == start) & (pl.col("dur_ns") == end - start)).collect()
    assert "cutlass_80" in ran["name"][0]
    window = moments.windows(cut)["step/1"]
    assert window[0] <= start < end <= window[1]


def test_every_finding_that_has_rows_has_a_moment_in_its_window(cut: dict[str, Ledger], report: Report):
    shown = [each for each in report.findings if each.rows]
    assert len(shown) >= 5
    for each in shown:
        start, end = moments.of_finding(each, cut) or (0, 0)
        spans = [span for label, span in moments.windows(cut).items() if label.startswith(each.finding.window)]
        assert any(first <= start < end <= last for first, last in spans), each.finding.title


def test_a_kernel_is_found_at_its_longest(run: Run, cut: dict[str, Ledger]):
    kernels = run.trace().lazy("gpu").filter(pl.col("cat") == "kernel")
    name, longest = kernels.sort("dur_ns", descending=True).select("name", "dur_ns").head(1).collect().row(0)
    start, end = moments.of_kernel(run, name) or (0, 0)
    assert end - start == longest
    assert moments.of_kernel(run, "no such kernel") is None
    assert moments.of_kernel(run, name, (0, 1)) is None


def test_the_view_holds_the_moment_and_what_is_around_it():
    assert moments.around((1_000_000, 2_000_000)) == (-500_000, 3_500_000)
    assert moments.around((5_000, 5_000)) == (-15_000, 25_000)
