"""Two CPU ranks of one run, started by torchrun: recorded, killed, merged."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from processes import ROOT, TIMEOUT_S, diffuscope, environment, show

from profiler.core.errors import UnreadableInput, UsageError
from profiler.core.spec import RunSpec
from profiler.metrics.ranks import rank_summary
from profiler.models.base import MODELS
from profiler.rundir.merge import merge_runs
from profiler.rundir.ranks import read_rank
from profiler.rundir.reader import read_manifest
from profiler.tables.run import Run

TINY = ("--device", "cpu", "--size", "64", "--steps", "1", "--trace-steps", "1", "--warmup", "0", "--parallel", "ulysses")
FILES = ["trace.json.gz", "places.json.gz", "memory.json.gz", "weights.json", "sources.json"]
# Who waits for whom in one step is chance; in all of three it is not.
STEPS = "3"
# All-to-all of q, k, v and of the attention's output in each of 2 + 2 blocks, in each step.
EXCHANGES = 4 * 4 * int(STEPS)


def torchrun(model: str, *arguments: str, out: Path) -> subprocess.CompletedProcess[str]:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "profiler", "record"]
    return subprocess.run(
        [*run, model, *TINY, *arguments, "-o", str(out), "--json"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    return torchrun(
        "flux-tiny", "--repeats", "2", "--steps", STEPS, "--trace-steps", STEPS, out=tmp_path_factory.mktemp("ranks") / "run"
    )


@pytest.fixture(scope="module")
def run(done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["run"])


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("killed") / "run"
    ended = torchrun("rank_pipelines:slow_and_dying", "--repeats", "1", out=out)
    assert ended.returncode != 0
    assert "error: the recorded run ended as failed: rank 1" in ended.stderr
    return out


def diagnosed(run: Path) -> dict[str, Any]:
    """What `diffuscope diagnose RUN --json` prints, its ledger checked to be whole."""
    done = diffuscope("diagnose", run, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    for key, window in (("total_us", "dur_us"), ("priced_us", "untraced_us")):
        assert sum(row[key] for row in found["ledger"]) == pytest.approx(found["window"][window], abs=1e-3)
    return found


def calls(run: Path, rank: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(the traced call's mark, what ran inside it)."""
    with gzip.open(run / f"rank{rank}" / "trace.json.gz") as file:
        events = [each for each in json.load(file)["traceEvents"] if each.get("ph") == "X"]
    (mark,) = (each for each in events if each["name"] == "diffuscope/call" and each.get("cat") == "user_annotation")
    return mark, [each for each in events if mark["ts"] <= each["ts"] <= mark["ts"] + mark["dur"]]


def test_one_directory_holds_both_ranks(run: Path, done: subprocess.CompletedProcess[str]):
    assert json.loads(done.stdout) == {"run": str(run), "status": "ok"}
    manifest = read_manifest(run)
    assert (manifest.status, manifest.world_size, len(manifest.run_id), manifest.lost) == ("ok", 2, 12, [])
    assert manifest.spec["parallel"] == {"kind": "ulysses", "degree": 2}
    assert manifest.applied["parallel"] == {"kind": "ulysses", "degree": 2, "attention_backend": "native"}
    wanted = {f"rank{rank}/{name}" for rank in (0, 1) for name in FILES}
    assert set(manifest.artifacts) == wanted | {"output.npz", "output.png"}
    assert all((run / name).stat().st_size == each["size_bytes"] for name, each in manifest.artifacts.items())
    assert not list(run.rglob(".*"))
    assert len(manifest.timed["iterations_ns"]) == 2


def test_each_rank_says_how_it_went(run: Path):
    manifest, words = read_manifest(run), [read_rank(run, rank) for rank in (0, 1)]
    phases = ["load", "quantize", "warmup", "timed", "untraced", "traced", "places", "memory"]
    for rank, word in enumerate(words):
        assert word is not None
        assert (word.rank, word.status, word.phase, word.failure) == (rank, "ok", None, None)
        assert (word.host, word.run_id, word.world_size) == (socket.gethostname(), manifest.run_id, 2)
        assert [each.name for each in word.phases] == phases
        assert set(word.memory) == {"model_bytes", "load_peak_bytes", "inference_peak_bytes"}
        assert list(word.artifacts) == [f"rank{rank}/{name}" for name in FILES]
    assert words[0].pid != words[1].pid
    assert words[0].timed == manifest.timed


def test_the_calls_begin_together_and_exchange_what_ulysses_exchanges(run: Path):
    (first, inside), (second, beside) = calls(run, 0), calls(run, 1)
    assert abs(first["ts"] - second["ts"]) < min(first["dur"], second["dur"])
    for events in (inside, beside):
        names = Counter(each["name"] for each in events)
        assert (names["gloo:all_to_all"], names["gloo:all_gather"]) == (EXCHANGES, int(STEPS))
        # Lining up is outside of the call.
        assert names["gloo:send"] + names["gloo:recv"] == 0


def test_the_output_is_that_of_one_process(run: Path):
    model = MODELS.get("flux-tiny")
    spec = model.resolve(RunSpec(model="flux-tiny", height=64, width=64))
    pipe = model.build("cpu", torch.bfloat16, 0)
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        alone = pipe(
            **model.call_kwargs(spec, int(STEPS)), generator=torch.Generator().manual_seed(0), output_type="latent"
        ).images
    alone, spread = alone.float().numpy(), np.load(run / "output.npz")["last_latents"]
    assert np.abs(spread - alone).max() < 0.01 * np.abs(alone).max()


def test_show_names_the_ranks(run: Path):
    assert "ulysses over 2 ranks" in diffuscope("show", run).stdout


def test_a_killed_rank_is_named_with_its_phase(killed: Path):
    manifest = read_manifest(killed)
    assert manifest.failure is not None
    assert (manifest.status, manifest.failure.phase) == ("failed", "memory")
    assert manifest.failure.message == f"rank 1 on {socket.gethostname()} in memory: the recording process was killed by SIGKILL"
    words = [read_rank(killed, rank) for rank in (0, 1)]
    survivor, victim = [each for each in words if each]
    assert (victim.status, victim.phase, victim.secondhand) == ("failed", "memory", False)
    # It hears of the end by the broken connection or by torchrun's signal, whichever comes first.
    assert survivor.status in ("failed", "interrupted")
    assert (survivor.phase, survivor.secondhand) == ("memory", True)
    assert show(killed)["status"] == "failed"
    assert not list(killed.rglob(".reserve"))


def test_the_rank_that_works_more_is_the_first_finding(killed: Path):
    """As seen from the rank that is shown unless one is asked for: the fast one, which waits. Both died after the traced call."""
    data = diagnosed(killed)
    assert (data["rank"], data["slowest"]) == (0, 1)
    first = data["findings"][0]
    assert (first["rule"], first["rows"]) == ("straggler", ["idle/waiting for a slower rank/rank 1"])
    assert first["title"].startswith("rank 1 is slow: rank 0 waits ")
    assert first["severity"] in ("high", "critical")
    assert any(
        each.endswith("ms more on rank 1 (32 times, rank 0 0 times)") and "GEMM fp32: " in each for each in first["evidence"]
    )
    assert first["change"].startswith("it does more work (GEMM fp32)")
    where = first["where"][0]
    assert (Path(where["file"]).name, where["function"]) == ("rank_pipelines.py", "_work")


def test_only_a_rank_that_takes_longer_on_its_own_is_a_straggler(run: Path):
    """Of two equal ranks a busy machine starves one, or none; that it came late now and then is no reason to name it."""
    named = [each["title"].split(" waits ")[0] for each in diagnosed(run)["findings"] if each["rule"] == "straggler"]
    own = dict(rank_summary(Run.open(run)).ranks.select("rank", "own_us").iter_rows())
    slow = max(own, key=lambda rank: own[rank])
    assert named in ([], [f"rank {slow} is slow: rank {1 - slow}"])


@pytest.fixture
def hosts(run: Path, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The run as two hosts without a shared folder would have left it."""
    here, there = tmp_path / "a", tmp_path / "b"
    for folder, rank in ((here, 1), (there, 0)):
        shutil.copytree(run, folder)
        shutil.rmtree(folder / f"rank{rank}")
        raw = json.loads((folder / "run.json").read_text())
        raw["artifacts"] = {name: each for name, each in raw["artifacts"].items() if not name.startswith(f"rank{rank}/")}
        raw["lost"] = [{"what": f"rank{rank}", "why": "on another host", "count": 1}]
        (folder / "run.json").write_text(json.dumps(raw))
    yield here, there


def test_merged_hosts_are_the_run(run: Path, hosts: tuple[Path, Path], tmp_path: Path):
    done = diffuscope("merge", hosts[1], hosts[0], "-o", tmp_path / "whole", "--json")
    assert json.loads(done.stdout) == {"run": str(tmp_path / "whole"), "status": "ok"}, done.stderr
    merged, whole = read_manifest(tmp_path / "whole"), read_manifest(run)
    assert (merged.artifacts, merged.lost, merged.run_id) == (whole.artifacts, [], whole.run_id)
    for name in whole.artifacts:
        assert (tmp_path / "whole" / name).read_bytes() == (run / name).read_bytes()
    again = diffuscope("merge", *hosts, "-o", tmp_path / "whole")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


def test_what_is_no_part_of_the_run_is_refused(run: Path, killed: Path, hosts: tuple[Path, Path], tmp_path: Path):
    out = tmp_path / "whole"
    with pytest.raises(UsageError, match=r"is of run .*, and .* of run"):
        merge_runs([hosts[0], killed], out)
    with pytest.raises(UsageError, match="rank 0 is in"):
        merge_runs([hosts[0], run], out)
    with pytest.raises(UsageError, match="folders of two hosts or more"):
        merge_runs([run], out)
    raw = json.loads((hosts[1] / "rank1" / "rank.json").read_text())
    (hosts[1] / "rank1" / "rank.json").write_text(json.dumps(raw | {"run_id": "other"}))
    with pytest.raises(UnreadableInput, match=r"rank 1 in .* is of another run"):
        merge_runs(list(hosts), out)
    (hosts[1] / "rank1" / "rank.json").write_text("{")
    with pytest.raises(UnreadableInput, match="is no status of a rank"):
        merge_runs(list(hosts), out)
    assert not out.exists()
