"""Two ranks that two GPUs recorded: their ledgers are whole, who holds up whom, and HTA says the same of the same events."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ledger_traces import check_conserved

from profiler.metrics.ledger import ledger
from profiler.metrics.ranks import rank_summary
from profiler.metrics.ranks_device import device_time
from profiler.tables.run import Run

GOLDEN = Path(__file__).parents[2] / "traces"
NAMES = ("flux-dev-bf16-2gpu", "flux-dev-fp8dqrow-2gpu")


@pytest.fixture(scope="module", params=NAMES)
def run(request, tmp_path_factory):
    if not (GOLDEN / request.param / "run.json").is_file():
        pytest.skip("the kept runs are not in traces/")
    kept = tmp_path_factory.mktemp("two") / request.param
    return Run.open(Path(shutil.copytree(GOLDEN / request.param, kept, ignore=shutil.ignore_patterns("cache"))))


def test_each_ledger_sums_to_its_windows(run):
    for rank in (0, 1):
        check_conserved(ledger(run, "step", rank))


def test_rank_1_comes_late_to_what_both_exchange(run):
    """Each step exchanges 57 times four messages, and gathers once; the GPU of rank 1 is idle while rank 0 waits."""
    summary = rank_summary(run)
    rows = {row["rank"]: row for row in summary.ranks.to_dicts()}
    assert summary.charged_us[1] > 30 * summary.charged_us.get(0, 0.0)
    assert rows[0]["waiting_us"] > 0.9 * rows[1]["idle_us"]
    assert rows[1]["idle_us"] > 5 * rows[0]["idle_us"]
    for row in rows.values():
        parts = (row[name] for name in ("compute_us", "exposed_us", "waiting_us", "idle_us"))
        assert sum(parts) == pytest.approx(row["step_us"], abs=0.01)
        assert 7_000 < row["exposed_us"] < 10_000
        assert row["hidden_us"] < 0.1 * row["exposed_us"]


def _without_launching_operators(source: Path, target: Path) -> int:
    """A copy in which only GPU events carry a stream; how many others did."""
    trace = json.loads(gzip.decompress(source.read_bytes()))
    strange = [each for each in trace["traceEvents"] if each.get("cat") == "cpu_op" and "stream" in (each.get("args") or {})]
    for each in strange:
        del each["args"]["stream"]
    target.write_bytes(gzip.compress(json.dumps(trace).encode(), 1))
    return len(strange)


@pytest.mark.skipif(not importlib.util.find_spec("hta"), reason="needs the extra hta")
def test_hta_agrees_once_operators_that_launch_are_no_kernels(run, tmp_path):
    """HTA takes what Triton's launches carry a stream for kernels. Without that both say the same."""
    files = [tmp_path / f"{rank}.json.gz" for rank in (0, 1)]
    for rank, file in enumerate(files):
        assert _without_launching_operators(run.path / f"rank{rank}" / "trace.json.gz", file) > 1000
    environment = os.environ | {"HTA_DISABLE_NS_ROUNDING": "1", "PYTHONWARNINGS": "ignore"}
    script = Path(__file__).parent / "hta_ranks.py"
    done = subprocess.run([sys.executable, script, *files], capture_output=True, text=True, env=environment, check=True)
    for name, theirs in json.loads(done.stdout.splitlines()[-1]).items():
        own = device_time(run, int(name))
        assert own is not None
        mine = {"span": own.span_us, "compute": own.compute_us, "other": own.non_compute_us, "idle": own.idle_us}
        assert {key: theirs[key] / 1000 for key in mine} == pytest.approx(mine, abs=0.01)
        assert theirs["overlap"] == pytest.approx(100 * (own.overlap_share or 0.0), abs=0.01)
