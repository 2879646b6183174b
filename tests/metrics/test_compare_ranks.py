"""One rank against several: what is planted is found as scaling; a rank that is gone, cut or of another run is named."""

from __future__ import annotations

import json
import shutil

import pytest
from hta_runs import truncate
from rank_runs import GIB, change_rank, pair

from profiler.core.errors import UsageError
from profiler.metrics.compare import compare
from profiler.metrics.compare_runs import OPTION
from profiler.metrics.floor import floor
from profiler.metrics.ledger import ledger
from profiler.metrics.main_rank import main_rank, memory_rank, slowest_calls
from profiler.metrics.memory import memory_summary
from profiler.metrics.sweep_cells import cell_rows
from profiler.metrics.sweep_seed import against_seed
from profiler.report.compare import compare_data
from profiler.report.compare_text import compare_text
from profiler.report.compare_verdict import verdicts
from profiler.tables.ranks import chosen_rank, manifest_of
from profiler.tables.run import Run
from profiler.tables.sweep import open_sweep


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tuple(map(Run.open, pair(tmp_path_factory.mktemp("pair"))))


@pytest.fixture
def fresh(tmp_path):
    return pair(tmp_path)


def scaled_ms(data):
    return {each["name"]: each["many_ms"] for each in data["comparisons"][0]["scaling"]["parts"]}


def scaled(found):
    return {each.name: (each.few_ns / 1e3, each.even_ns / 1e3, each.many_ns / 1e3) for each in found.parts}


def test_two_ranks_against_one(runs):
    found = compare(runs[1], runs[0])
    assert [(each.what, each.base, each.new, each.kind, each.spoils) for each in found.differences] == [
        ("parallel", "none", "ulysses", OPTION, ()),
        ("ranks", 1, 2, OPTION, ()),
    ]
    assert (found.ranks[0], found.ranks[1].rank, found.ranks[1].median, found.ranks[1].slowest) == (None, 0, 0, 1)
    scaling = found.scaling
    # A call ends when its slowest rank does: 64, 66, 64 ms.
    assert (scaling.few, scaling.many, scaling.run, scaling.of) == (1, 2, "new", "call")
    assert (scaling.speedup, scaling.efficiency) == (pytest.approx(100 / 64), pytest.approx(50 / 64))
    assert scaled(scaling) == {
        "computation": (9200, 4600, 5200),
        "exposed communication": (0, 0, 400),
        "waiting for a slower rank": (0, 0, 800),
        "idle time": (50, 25, 50),
    }
    step = found.windows["step"]
    assert sum(each.lost_ns for each in scaling.parts) == step.new_ns - step.base_ns / 2 == 1_825_000
    times = found.ranks[1].times_us
    assert (times["hidden_us"], times["exposed_us"], times["waiting_us"]) == (600, 400, 800)
    assert found.ranks[1].inference_peak_gib == {0: 31.0, 1: 32.0}


def test_the_slower_rank_and_the_way_back(runs):
    slower = compare(runs[1], runs[0], rank=1)
    assert scaled(slower.scaling)["computation"] == (9200, 4600, 6000)
    assert "waiting for a slower rank" not in scaled(slower.scaling)
    assert slower.memory.phase("inference peak").new == 32 * GIB
    back = compare(runs[0], runs[1])
    assert (back.scaling.run, back.scaling.efficiency) == ("base", pytest.approx(50 / 64))
    assert scaled(back.scaling) == scaled(compare(runs[1], runs[0]).scaling)
    same = compare(runs[1], runs[1])
    assert (same.scaling, same.differences, same.calls.delta_ms) == (None, [], 0.0)
    with pytest.raises(UsageError, match="holds no rank 5"):
        compare(runs[1], runs[0], rank=5)


def test_verdicts_and_text_say_whose_times_they_are(runs):
    told = {each.about: (each.kind, each.text) for each in verdicts(compare(runs[1], runs[0]))}
    assert (
        told["time"][0] == "real"
        and "eaten: waiting for a slower rank +0.80 ms and exposed communication +0.40 ms" in told["time"][1]
    )
    assert told["scaling"][0] == "partly"
    assert told["scaling"][1].startswith(
        "a call is 1.56 times as fast on 2 ranks instead of 1: 78% of linear scaling. A step of rank 0 takes 6.45 ms, an even "
        "share of one on 1 is 4.62 ms: waiting for a slower rank +0.80 ms, computation +0.60 ms and exposed communication +0.40"
    )
    text = " ".join(compare_text(compare_data(runs)).split())
    for said in (
        "changed: parallel none -> ulysses, ranks 1 -> 2",
        "steps and memory are those of rank 0 of 2, the median of the new run (--rank N for another)",
        "each rank computes its share of one",
        "inference peak by rank, new: 31.00, 32.00 GiB, together 63.00",
        "communication of rank 0: 1.000 ms a step, 60% of it hidden by computation",
    ):
        assert said in text
    assert "NOT COMPARABLE" not in text
    both = " ".join(compare_text(compare_data([runs[1], runs[1]])).split())
    assert "rank 0 of 2, the median of both runs" in both and "communication hidden by computation, in it 0.600 0.600" in both


def test_more_than_the_ranks_changed(tmp_path):
    one, two = map(Run.open, pair(tmp_path, compile="regional"))
    (verdict,) = (each for each in verdicts(compare(two, one)) if each.about == "scaling")
    assert "(with compile changed too: not the ranks alone)" in verdict.text


def test_a_rank_that_is_gone_is_named_and_the_other_compared(fresh):
    shutil.rmtree(fresh[1] / "rank0")
    found = compare_data(list(map(Run.open, fresh)))
    (comparison,) = found["comparisons"]
    assert comparison["ranks"]["new"] | {"times_us": None} == comparison["ranks"]["new"] | {
        "times_us": None,
        "rank": 1,
        "count": 2,
    }
    assert comparison["ranks"]["new"]["problems"] == ["rank 0 left no folder"]
    assert comparison["time"]["windows"][0]["new_ms"] == pytest.approx(6.45)
    assert "new: rank 0 left no folder" in compare_text(found)


def test_a_rank_of_another_run_is_left_out(fresh):
    change_rank(fresh[1], 1, run_id="ffffffffffff")
    two = Run.open(fresh[1])
    found = compare(two, Run.open(fresh[0]))
    assert found.ranks[1].problems == ["rank 1 is of another run (ffffffffffff, this one is 0123456789ab)"]
    assert (found.ranks[1].rank, found.ranks[1].inference_peak_gib) == (0, {0: 31.0})
    assert slowest_calls(two).timed["iterations_ns"] == [60e6, 66e6, 59e6]
    with pytest.raises(UsageError, match="rank 1 is of another run"):
        chosen_rank(two, 1)


def test_a_trace_that_is_cut_is_named(fresh):
    truncate(fresh[1] / "rank0" / "trace.json.gz")
    found = compare_data(list(map(Run.open, fresh)))
    of = found["comparisons"][0]["ranks"]["new"]
    # The other rank's trace is whole, and stands for the run.
    assert (of["rank"], of["median"]) == (1, 1)
    assert of["problems"] == ["rank 0: the trace is cut or damaged, the times are of what is left"]
    assert scaled_ms(found)["computation"] == 6.0 and "new: rank 0: the trace is cut" in compare_text(found)


def test_the_rank_that_is_shown(fresh, runs):
    assert (main_rank(runs[0]), main_rank(runs[1]), memory_rank(runs[0]), memory_rank(runs[1])) == (0, 0, 0, 1)
    assert [memory_summary(runs[1], rank).inference_peak_bytes for rank in (0, 1)] == [31 * GIB, 32 * GIB]
    change_rank(fresh[1], 0, status="oom")
    died = Run.open(fresh[1])
    assert (memory_rank(died), manifest_of(died, 0).status, manifest_of(died, 1).status) == (0, "oom", "ok")
    (fresh[1] / "rank1" / "rank.json").write_text("{")
    assert manifest_of(Run.open(fresh[1]), 1).phases == []
    for rank in (0, 1):
        (fresh[1] / f"rank{rank}" / "trace.json.gz").unlink()
    assert main_rank(Run.open(fresh[1])) == 0


def test_waiting_for_a_rank_is_no_part_of_the_floor(tmp_path):
    _, two = pair(tmp_path)
    raw = json.loads((two / "run.json").read_text())
    raw["environment"]["ceilings"] = {"copy_gbs": 3000.0}
    (two / "run.json").write_text(json.dumps(raw))
    run = Run.open(two)
    found = floor(run, ledger(run, "step", 0), 0)
    floors = {row["class"]: row["floor_ns"] for row in found.classes.iter_rows(named=True)}
    assert floors == {"GEMM bf16": 5_200_000, "communication": pytest.approx(400_000, rel=1e-3)}


def test_two_ranks_are_no_cell_beside_one_process(tmp_path):
    pair(tmp_path)
    tables = open_sweep(tmp_path)
    rows = {row["id"]: row for row in cell_rows(tables)}
    assert {name: (row["gpu"], row["time_s"]) for name, row in rows.items()} == {
        "one": ("NVIDIA H100 80GB HBM3", 0.1),
        "two": ("2 x NVIDIA H100 80GB HBM3", 0.064),
    }
    unmatched = against_seed(tables, list(rows.values())).unmatched
    assert unmatched["two"] == "the seed ran on one GPU, this on 2 ranks" != unmatched.get("one")
