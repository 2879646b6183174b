"""`diffuscope ranks`: HTA's results under its name beside ours; failures by name; what it costs who does not ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hta_runs import device_events, host_events, truncate, write_run
from processes import diffuscope, loaded

from profiler.cli.app import run as run_command
from profiler.core.errors import UnreadableInput
from profiler.report.hta import hta_data, told
from profiler.report.hta_text import hta_text
from profiler.tables import hta as hta_module
from profiler.tables.hta import Hta
from profiler.tables.hta_answer import CRITICAL_PATH, IDLE, LAUNCHES, OVERLAP, QUEUE, TEMPORAL, Found
from profiler.tables.run import Run

_ROWS = {
    TEMPORAL: {"span_us": 404.0, "compute_us": 204.0, "non_compute_us": 50.0, "idle_us": 150.0},
    OVERLAP: {"overlap_share": 0.5},
    IDLE: {"stream": 7, "category": "host_wait", "idle_us": 200.0, "share": 1.0},
    QUEUE: {"stream": 7, "samples": 4, "mean": 0.5, "least": 0, "q25": 0, "median": 0.5, "q75": 1, "most": 1},
    CRITICAL_PATH: {"window": "diffuscope/step/1", "bound_by": "gpu_compute_bound", "dur_us": 300.0, "share": 0.75},
}


def answered(run: Path, monkeypatch: pytest.MonkeyPatch) -> Hta:
    """An answer of HTA's on ranks 0 and 1, without HTA: launches failed, and of rank 1 everything for one reason."""
    monkeypatch.setattr(hta_module, "version", lambda: "9.9")
    hta = Hta(Run.open(run))
    for name, row in _ROWS.items():
        hta._found[0][name] = Found(0, name, rows=[row], notes=["HTA takes one for the other", "a [warning]"])
    hta._found[0][LAUNCHES] = Found(0, LAUNCHES, why="HTA raised KeyError: 'x'")
    for name in (*_ROWS, LAUNCHES):
        hta._found[1][name] = Found(1, name, why="no GPU")
    return hta


def test_text_names_who_says_what(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = write_run(tmp_path / "run", {0: device_events(), 1: host_events()})
    data = hta_data(Run.open(run), answered(run, monkeypatch))
    text = hta_text(data, 80)
    # The first line names the run, however long its path.
    assert max(map(len, text.splitlines()[1:])) <= 80
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "0 compute 0.204 ms 0.200 ms +2.00" in lines
    assert "0 communication hidden by compute 50.0 % 50.0 % +0.00" in lines
    assert "HTA 9.9: idle-time breakdown" in lines and "0 7 host wait 0.200 100.0" in lines
    assert "HTA 9.9: critical path" in lines and "0 step/1 gpu compute bound 0.300 75.0" in lines
    assert "HTA 9.9: kernel launch statistics" not in lines
    assert "rank 0, HTA 9.9: kernel launch statistics: HTA raised KeyError: 'x'" in lines
    assert "rank 1, HTA 9.9: every analysis: no GPU" in lines
    assert lines.count("HTA takes one for the other") == 1 and "HTA 9.9 says: a [warning]" in lines


def test_json_has_every_analysis_by_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = write_run(tmp_path / "run", {0: device_events(), 1: host_events()})
    data = hta_data(Run.open(run), answered(run, monkeypatch))
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert [each["name"] for each in data["analyses"]] == [TEMPORAL, OVERLAP, IDLE, LAUNCHES, QUEUE, CRITICAL_PATH]
    assert {each["by"] for each in data["analyses"]} == {"HTA 9.9"}
    (launches,) = (each for each in data["analyses"] if each["name"] == LAUNCHES)
    assert [(each["rank"], each["status"]) for each in launches["ranks"]] == [(0, "failed"), (1, "failed")]
    differences = {each["what"]: each["difference"] for each in data["beside"]}
    assert differences["compute"] == pytest.approx(0.02) and differences["idle"] == 0.0
    assert [each["rank"] for each in data["own"]] == [0]
    assert [each["rank"] for each in data["summary"]["ranks"]] == [0, 1]


@pytest.mark.skipif(not hta_module.installed(), reason="the hta extra is not installed")
def test_two_ranks_on_the_command_line(tmp_path: Path):
    run = write_run(tmp_path / "run", {0: device_events(), 1: device_events(late=50.0), 2: device_events()})
    truncate(run / "rank2" / "trace.json.gz")
    asked = ("ranks", run, "--analyses", f"{OVERLAP},{TEMPORAL}", "--json")
    done = diffuscope(*asked, MODULES_AT_EXIT=str(tmp_path))
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert {(each["rank"], each["what"]): each["difference"] for each in data["beside"] if each["rank"] < 2} == {
        (rank, what): pytest.approx(0.0, abs=1e-6)
        for rank in (0, 1)
        for what in ("span", "compute", "communication, copies, memsets alone", "idle", "communication hidden by compute")
    }
    assert {(each["rank"], each["by"].partition(" ")[0]) for each in data["not_read"]} >= {(2, "HTA")}
    assert "HTA, rank 0: reading the trace" in done.stderr
    (process,) = loaded(tmp_path)
    assert "profiler.tables.hta" in process
    assert {"hta", "pandas", "plotly", "torch"} & process.modules == set()
    again = diffuscope("ranks", run, "--ranks", "0,1", "--analyses", TEMPORAL)
    assert again.stderr == "", "nothing runs a second time"
    assert "next: diffuscope diagnose" in again.stdout


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(hta_module, "installed", lambda: False)
    run = write_run(tmp_path / "run", {0: device_events()})
    assert run_command(["ranks", str(run)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Holistic Trace Analysis needs packages" in said.err and "pip install 'diffuscope[hta]'" in said.err


def test_traces_that_nobody_can_read_are_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hta_module, "version", lambda: "9.9")
    run = write_run(tmp_path / "run", {0: device_events()})
    (run / "rank0" / "trace.json.gz").write_bytes(b"no trace")
    hta = Hta(Run.open(run))
    hta.unread[0] = "HTA raised JSONDecodeError"
    with pytest.raises(UnreadableInput, match=r"no trace of .* can be read"):
        hta_data(Run.open(run), hta)


def test_a_rank_without_a_trace_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = write_run(tmp_path / "run", {0: device_events()})
    (run / "rank1").mkdir()
    monkeypatch.setattr(hta_module, "version", lambda: "9.9")
    hta = Hta(Run.open(run))
    assert hta.ranks == [0]
    (lost,) = hta_data(Run.open(run), hta)["not_read"]
    assert (lost["rank"], lost["by"]) == (1, "diffuscope") and lost["why"]


def test_ranks_that_are_no_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = write_run(tmp_path / "run", {0: device_events()})
    assert run_command(["ranks", str(run), "--ranks", "a"]) == 2
    assert "--ranks a is no list of ranks" in capsys.readouterr().err


def test_warnings_alike_are_one_line_and_what_explains_a_difference_says_so():
    edge = "No edge was added - queue length is {}!= 1 but no last kernel on stream 7, current kernel: name = {}"
    strays = "HTA takes events that carry a stream and are no kernel for kernels: 1406 cpu_op"
    notes = [[strays, edge.format(663, "a"), "no sync events"], [strays, edge.format(1, "b"), edge.format(12, "c")]]
    data = {"analyses": [{"ranks": [{"notes": each} for each in notes]}]}
    assert told(data) == [
        f"{strays}; they are why compute, idle time and overlap differ",
        "No edge was added - queue length is 663!= 1 but no last kernel on stream 7 (and 2 more like it)",
        "no sync events",
    ]
