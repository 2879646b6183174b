"""Nothing outside the folder of runs can be read through an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboards import folder
from profiler.core.errors import UnreadableInput


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "runs"
    for run in (root / "mine", tmp_path / "secret"):
        (run / "rank0").mkdir(parents=True)
        (run / "run.json").write_text("{}")
        (run / "rank0" / "trace.json.gz").write_bytes(b"trace")
        (run / "rank0" / "weights.json").write_text("{}")
    (root / "link").symlink_to(tmp_path / "secret")
    (root / "mine" / "rank1").symlink_to(tmp_path / "secret" / "rank0")
    monkeypatch.setenv(folder.VARIABLE, str(root))
    return root


def test_a_run_and_its_trace(runs: Path):
    assert folder.path_of("mine") == runs / "mine"
    assert folder.trace_path("mine", 0, "trace.json.gz").read_bytes() == b"trace"


@pytest.mark.parametrize("name", ["", ".", "..", "../secret", "mine/../../secret", "/etc", "mine/rank0", "link", "nothing"])
def test_what_leads_out_is_no_run(runs: Path, name: str):
    with pytest.raises(UnreadableInput, match="holds no run called"):
        folder.path_of(name)


@pytest.mark.parametrize(
    ("rank", "artifact"),
    [
        (0, "weights.json"),
        (0, "../run.json"),
        (0, "../../../secret/rank0/trace.json.gz"),
        (7, "trace.json.gz"),
        (-1, "trace.json.gz"),
        (1, "trace.json.gz"),
    ],
)
def test_only_traces_of_the_run_itself(runs: Path, rank: int, artifact: str):
    with pytest.raises(UnreadableInput, match="holds no"):
        folder.trace_path("mine", rank, artifact)


def test_the_folder_may_be_the_run(runs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(folder.VARIABLE, str(runs / "mine"))
    assert folder.path_of("mine") == runs / "mine"
    with pytest.raises(UnreadableInput):
        folder.path_of("rank0")
