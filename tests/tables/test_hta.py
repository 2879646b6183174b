"""Holistic Trace Analysis: what it says of traces with known times, and what happens where it fails, dies or is not there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hta_runs import as_text, device_events, host_events, truncate, write_rank, write_run
from processes import ROOT

from profiler.core.errors import MissingExtra, UnreadableInput, UsageError
from profiler.metrics.ranks_device import device_time, device_times
from profiler.tables import cache
from profiler.tables import hta as hta_module
from profiler.tables.hta import Hta, Limits
from profiler.tables.hta_answer import ANALYSES, CRITICAL_PATH, IDLE, LAUNCHES, OVERLAP, QUEUE, TEMPORAL, Found
from profiler.tables.run import Run

needs_hta = pytest.mark.skipif(not hta_module.installed(), reason="the hta extra is not installed")


def asked(run: Path, *analyses: str, **more: object) -> Hta:
    """HTA's answer, with everything that it was asked."""
    hta = Hta(Run.open(run), analyses, **more)  # type: ignore[arg-type]
    for _ in hta.stages():
        pass
    return hta


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ranks 0, 3 and 4 on GPUs, 3 with a longer gap, 4 with ids as text; rank 1 without a GPU; rank 2 cut in half."""
    run = tmp_path_factory.mktemp("hta") / "run"
    write_run(
        run, {0: device_events(), 1: host_events(), 2: device_events(), 3: device_events(late=100.0), 4: as_text(device_events())}
    )
    truncate(run / "rank2" / "trace.json.gz")
    return run


@pytest.fixture(scope="module")
def answer(ranks: Path) -> dict[tuple[int, str], Found]:
    hta = asked(ranks)
    assert list(hta.unread) == [2]
    assert hta.unread[2].startswith("HTA raised ")
    return {(each.rank, each.analysis): each for each in hta.results()}


@needs_hta
def test_times_are_those_that_were_written(answer: dict[tuple[int, str], Found]):
    for rank, late in ((0, 0.0), (3, 100.0), (4, 0.0)):
        assert answer[rank, TEMPORAL].rows == [
            {"span_us": 400.0 + late, "compute_us": 200.0, "non_compute_us": 50.0, "idle_us": 150.0 + late}
        ]
        assert answer[rank, OVERLAP].rows == [{"overlap_share": 0.5}]
        (launches,) = answer[rank, LAUNCHES].rows
        assert (launches["launches"], launches["call_median_us"], launches["kernel_median_us"]) == (3, 10.0, 100.0)
        assert (launches["short_kernels"], launches["slow_calls"], launches["late_kernels"]) == (0, 0, 1)
        assert launches["delay_median_us"] == 80.0
        assert sum(row["idle_us"] for row in answer[rank, IDLE].rows if row["stream"] == 7) == 200.0 + late
        assert {row["stream"]: row["most"] for row in answer[rank, QUEUE].rows} == {7: 1.0, 20: 1.0}
        path = answer[rank, CRITICAL_PATH].rows
        assert sum(row["share"] for row in path) == pytest.approx(1.0)
        assert {row["window"] for row in path} == {"whole trace"}


@needs_hta
def test_ids_that_are_text_are_mended_and_said(answer: dict[tuple[int, str], Found]):
    (note,) = answer[4, TEMPORAL].notes
    # Three launches, three kernels, and the event that says no duration.
    assert note.endswith("it was given a copy with 7 events mended") and "TypeError" in note
    assert answer[0, TEMPORAL].notes == []


@needs_hta
def test_our_own_times_are_the_same(ranks: Path, answer: dict[tuple[int, str], Found]):
    own, unread = device_times(Run.open(ranks), [0, 1, 3])
    assert [each.rank for each in own] == [0, 3] and unread == {}
    for each in own:
        (theirs,) = answer[each.rank, TEMPORAL].rows
        assert {name: getattr(each, name) for name in theirs} == pytest.approx(theirs)
        assert each.overlap_share == answer[each.rank, OVERLAP].rows[0]["overlap_share"]
        assert each.communication_us == 100.0 and each.events == 3


@needs_hta
def test_a_rank_without_a_gpu_fails_by_name(answer: dict[tuple[int, str], Found]):
    why = {answer[1, name].why for name in ANALYSES}
    assert why == {"the trace holds no GPU event, and HTA analyses those alone"}
    assert not any(answer[1, name].rows for name in ANALYSES)


@needs_hta
def test_results_are_kept_until_the_trace_changes(ranks: Path, answer: dict[tuple[int, str], Found], tmp_path: Path):
    run = Path(shutil.copytree(ranks, tmp_path / "run"))
    kept = Hta(Run.open(run), ranks=[0, 3])
    assert kept.complete and list(kept.stages()) == []
    assert [each.rows for each in kept.results()] == [answer[rank, name].rows for rank in (0, 3) for name in ANALYSES]
    assert Hta(Run.open(run), ranks=[1]).complete, "what fails every time is kept too"
    write_rank(run, 3, device_events(late=50.0))
    assert not Hta(Run.open(run), ranks=[3]).complete
    assert Hta(Run.open(run), ranks=[0]).complete


@needs_hta
@pytest.mark.parametrize("text", ["null{", "[1]", '{"queue_length": 3}', '{"queue_length": {"rank": 0}}'])
def test_kept_results_that_are_damaged_are_made_again(ranks: Path, tmp_path: Path, text: str):
    run = Run.open(shutil.copytree(ranks, tmp_path / "run"))
    hta = Hta(run, ranks=[0])

    def fill(place: Path) -> dict[str, object]:
        (place / "results.json").write_text(text)
        return {}

    entry = cache.store(run.path / "cache", "hta-rank0", hta._key(0), fill, again=True)
    assert cache.find(entry.parent, "hta-rank0", hta._key(0)) == entry
    assert not Hta(run, ranks=[0]).complete


@needs_hta
@pytest.mark.parametrize("name", ["flux-dev-bf16", "clinic-clean"])
def test_idle_and_busy_of_kept_runs(tmp_path: Path, name: str):
    golden = ROOT / "traces" / name
    if not (golden / "rank0" / "trace.json.gz").is_file():
        pytest.skip("the kept runs are not in traces/")
    run = Path(shutil.copytree(golden, tmp_path / "run", ignore=shutil.ignore_patterns("cache", "*.pickle.gz")))
    (found,) = asked(run, TEMPORAL).results()
    own = device_time(Run.open(run))
    assert own is not None
    (theirs,) = found.rows
    assert own.span_us == pytest.approx(theirs["span_us"], abs=0.002)
    if name == "flux-dev-bf16":
        assert found.notes == []
        assert {each: getattr(own, each) for each in theirs} == pytest.approx(theirs, abs=0.01)
        return
    # HTA takes Triton's launches for kernels: their time is its surplus of compute, and its lack of idle and other time.
    assert found.notes == ["HTA takes events that carry a stream and are no kernel for kernels: 460 cpu_op"]
    surplus = theirs["compute_us"] - own.compute_us
    assert surplus == pytest.approx(own.idle_us + own.non_compute_us - theirs["idle_us"] - theirs["non_compute_us"], abs=0.002)
    assert 0 < surplus < 0.01 * own.compute_us


# Takes the place of the child: it dies at one analysis, and answers every other.
_DIES = """
import json, os, sys
asked = json.load(open(sys.argv[2]))
with open(sys.argv[3], "a", buffering=1) as out:
    for each in asked["ranks"]:
        print(json.dumps({"begins": [each["rank"], None]}), file=out)
        for name in each["analyses"]:
            print(json.dumps({"begins": [each["rank"], name]}), file=out)
            if name == "comm_comp_overlap":
                os.kill(os.getpid(), 9)
            print(json.dumps({"rank": each["rank"], "analysis": name, "rows": [{"a": 1}], "notes": [], "seconds": 0.5}), file=out)
"""


def test_an_analysis_that_kills_the_process_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hta_module, "version", lambda: "0.0")
    monkeypatch.setattr(hta_module, "_BOOT", _DIES)
    run = write_run(tmp_path / "run", {0: device_events(), 1: device_events()})
    hta = asked(run, TEMPORAL, OVERLAP, IDLE)
    found = {(each.rank, each.analysis): each.why for each in hta.results()}
    assert list(found) == [(rank, name) for rank in (0, 1) for name in (TEMPORAL, OVERLAP, IDLE)]
    assert {key for key, why in found.items() if why} == {(0, OVERLAP), (1, OVERLAP)}
    assert "killed by SIGKILL" in found[0, OVERLAP]
    again = Hta(Run.open(run), [TEMPORAL, OVERLAP, IDLE])
    assert [each.analysis for each in again.results()] == [TEMPORAL, IDLE] * 2, "a death is tried again"


def test_what_takes_too_long_is_named_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hta_module, "version", lambda: "0.0")
    monkeypatch.setattr(hta_module, "_BOOT", "import time; time.sleep(60)")
    run = write_run(tmp_path / "run", {0: device_events()})
    hta = asked(run, QUEUE, limits=Limits(seconds=0.2))
    (found,) = hta.results()
    assert found.why == "not done within 0.2 s; give it more with --time-limit"
    assert not Hta(Run.open(run), [QUEUE]).complete


@pytest.mark.parametrize(("code", "why"), [("raise SystemExit('no room')", "failed ('no room')"), ("pass", "ended early")])
def test_a_process_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, why: str):
    monkeypatch.setattr(hta_module, "version", lambda: "0.0")
    monkeypatch.setattr(hta_module, "_BOOT", code)
    hta = asked(write_run(tmp_path / "run", {0: device_events()}), QUEUE)
    told = [*hta.unread.values(), *(each.why for each in hta.results())]
    assert len(told) == 1 and why in told[0]


def test_wrong_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hta_module, "version", lambda: "0.0")
    run = Run.open(write_run(tmp_path / "run", {0: device_events()}))
    with pytest.raises(UsageError, match="no analysis called 'x'"):
        Hta(run, ["x"])
    with pytest.raises(UsageError, match="no trace of rank 4"):
        Hta(run, ranks=[4])
    with pytest.raises(UnreadableInput, match="holds no trace"):
        Hta(Run.open(write_run(tmp_path / "empty", {})))


def test_without_the_extra_the_pip_line_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hta_module, "installed", lambda: False)
    run = Run.open(write_run(tmp_path / "run", {0: device_events()}))
    with pytest.raises(MissingExtra, match=r"pip install 'diffuscope\[hta\]'"):
        Hta(run)


@needs_hta
def test_a_pandas_that_breaks_it_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hta_module.importlib.metadata, "version", lambda name: "3.0.1")
    with pytest.raises(UsageError, match=r"does not work on pandas 3\.0\.1"):
        hta_module.version()
