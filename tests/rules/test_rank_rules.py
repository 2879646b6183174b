"""Findings over several ranks: a planted straggler, lateness in turn, exposed communication, each at its planted price."""

from __future__ import annotations

import json

import pytest
from rank_traces import COMPUTE, Planted, ranks_of, write

from profiler.report.diagnose import Report, diagnose, to_json
from profiler.report.diagnose_text import render
from profiler.report.show import show_data
from profiler.report.show_text import show_text
from profiler.tables.importing_ranks import import_ranks
from profiler.tables.run import Run

_OF_RANKS = ("straggler", "load-imbalance", "exposed-communication")
SLOW = Planted(slow_us={2: 300})


def imported(folder, planted) -> Run:
    write(folder / "in", planted)
    return import_ranks(folder / "in", folder / "run", timed_ms=planted.step_us / 1000)


def of_ranks(report: Report) -> dict[str, dict]:
    return {each["rule"]: each for each in to_json(report)["findings"] if each["rule"] in _OF_RANKS}


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    return imported(tmp_path_factory.mktemp("slow"), SLOW)


def test_a_straggler_is_the_first_finding_and_costs_what_the_others_wait(slow):
    report = diagnose(slow)
    assert report.findings[0].finding.rule == "straggler"
    found = of_ranks(report)
    straggler = found["straggler"]
    assert straggler["rows"] == ["idle/waiting for a slower rank/rank 2"]
    assert straggler["cost_us"] == pytest.approx(SLOW.waited_us(0), rel=0.01)
    assert straggler["title"] == "rank 2 is slow: rank 1 waits 1.20 ms a step for it"
    assert "GEMM bf16: 1.20 ms more on rank 2 (8 times, rank 1 8 times)" in straggler["evidence"]
    assert straggler["change"].startswith("the same work takes it longer")
    assert straggler["severity"] == "high"
    assert "load-imbalance" not in found


def test_exposed_communication_has_the_planted_price_without_the_waiting(slow):
    found = of_ranks(diagnose(slow))["exposed-communication"]
    assert found["cost_us"] == pytest.approx(SLOW.layers * SLOW.exposed_us)
    assert "hidden by computation: 0.60 ms a step" in found["evidence"]


def test_rows_sum_and_no_row_is_granted_twice(slow):
    data = to_json(diagnose(slow))
    assert sum(row["total_us"] for row in data["ledger"]) == pytest.approx(data["window"]["dur_us"], abs=1e-6)
    granted = [row for each in data["findings"] if each["window"] == "step" for row in each["rows"]]
    assert len(granted) == len(set(granted))


def test_the_slowest_ranks_ledger_stands_beside_the_medians(slow):
    data = to_json(diagnose(slow))
    assert (data["rank"], data["median"], data["slowest"]) == (1, 1, 2)
    rows = {each["label"]: each for each in data["beside"]["ledger"]}
    assert (rows["GEMM bf16"]["slowest_us"], rows["GEMM bf16"]["rank_us"]) == (SLOW.computed_us(2), SLOW.computed_us(1))
    assert rows["waiting for a slower rank"]["slowest_us"] == 0
    assert [row["waiting_for_us"] for row in data["ranks"]] == [{"2": 1200.0}, {"2": 1200.0}, {}, {"2": 1200.0}]
    text = render(diagnose(slow))
    assert "rank 2 (slowest) beside rank 1" in text and "ranks, a step as traced" in text


def test_the_stragglers_own_ledger_waits_for_nobody(slow):
    report = diagnose(slow, rank=2)
    assert to_json(report)["rank"] == 2 and "straggler" not in of_ranks(report)
    assert to_json(report)["beside"] == {"rank": 2, "slowest": None, "ledger": []}


def test_show_lists_the_ranks(slow):
    data = show_data(slow)
    assert [row["compute_us"] for row in data["ranks"]] == [SLOW.computed_us(rank) for rank in range(4)]
    assert "waits most for" in show_text(data, 5)
    json.dumps(data)


def test_lateness_in_turn_is_imbalance_and_no_straggler(tmp_path):
    """Rank 0 is late in every other all-reduce, rank 1 in the rest."""
    planted = Planted(world=2, steps=2, layers=4)
    traces = ranks_of(planted)
    for rank, trace in enumerate(traces):
        compute = [each for each in trace["traceEvents"] if each["name"] == COMPUTE]
        reduces = [each for each in trace["traceEvents"] if each["name"].startswith("ncclDevKernel_AllReduce")]
        for index, (kernel, reduce) in enumerate(zip(compute, reduces, strict=True)):
            if index % 2 == rank:
                kernel["dur"] -= 200
                reduce |= {"ts": reduce["ts"] - 200, "dur": reduce["dur"] + 200}
    for rank, trace in enumerate(traces):
        path = tmp_path / "in" / f"rank{rank}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(trace))
    found = of_ranks(diagnose(import_ranks(tmp_path / "in", tmp_path / "run")))
    assert "straggler" not in found
    assert found["load-imbalance"]["cost_us"] == 400.0
    assert found["load-imbalance"]["title"] == "the ranks are not equally busy: rank 0 waits 0.40 ms a step for rank 1"


def test_a_straggler_that_does_more_or_is_held_up_by_its_host_is_told_so(tmp_path):
    more = ranks_of(Planted(world=2, slow_us={1: 300}))
    extra = [dict(each) for each in more[1]["traceEvents"] if each["name"] == COMPUTE]
    for kernel, second in zip((each for each in more[1]["traceEvents"] if each["name"] == COMPUTE), extra, strict=True):
        kernel["dur"] -= 300
        second |= {"ts": kernel["ts"] + kernel["dur"], "dur": 300, "args": second["args"] | {"correlation": 0}}
    held = ranks_of(Planted(world=2, slow_us={1: 300}))
    for kernel in held[1]["traceEvents"]:
        if kernel["name"] == COMPUTE:
            kernel |= {"dur": kernel["dur"] - 300}
    more[1]["traceEvents"] += extra
    changes = []
    for name, traces in (("more", more), ("held", held)):
        folder = tmp_path / name
        folder.mkdir()
        for rank, trace in enumerate(traces):
            (folder / f"rank{rank}.json").write_text(json.dumps(trace))
        changes.append(of_ranks(diagnose(import_ranks(folder, tmp_path / f"run-{name}")))["straggler"]["change"])
    assert changes[0].startswith("it does more work (GEMM bf16)")
    assert changes[1].startswith("its host holds it up")


def test_a_rank_that_is_late_but_not_slow_is_no_straggler(tmp_path):
    """Rank 1 begins the step 400 us after rank 0, which waits for it in the first all-reduce."""
    traces = ranks_of(Planted(world=2, steps=1))
    early = traces[0]["traceEvents"]
    reduce = next(each for each in early if each["name"].startswith("ncclDevKernel_AllReduce"))
    kernel = next(each for each in early if each["name"] == COMPUTE)
    mark = next(each for each in early if each["name"].startswith("ProfilerStep"))
    for each in [kernel, reduce, mark, *(each for each in early if each["cat"] in ("cuda_runtime", "cpu_op"))]:
        each["ts"] -= 400
    for each in (reduce, mark):
        each["dur"] += 400
    for rank, trace in enumerate(traces):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"rank{rank}.json").write_text(json.dumps(trace))
    found = of_ranks(diagnose(import_ranks(tmp_path / "in", tmp_path / "run", timed_ms=6.05), rank=0))
    assert "straggler" not in found
    assert found["load-imbalance"]["cost_us"] == 400.0
    assert found["load-imbalance"]["severity"] == "low"
    evidence = found["load-imbalance"]["evidence"]
    assert "rank 1 begins a step 0.40 ms later than rank 0 (traced): look at what comes before it" in evidence


def test_what_happened_once_is_no_sure_saving(tmp_path):
    """The same slowness in one collective of the whole trace, and in eight."""
    once = of_ranks(diagnose(imported(tmp_path / "once", Planted(world=2, steps=1, layers=1, slow_us={1: 300}))))["straggler"]
    often = of_ranks(diagnose(imported(tmp_path / "often", Planted(world=2, steps=2, slow_us={1: 300}))))["straggler"]
    assert (once["saving_us"], once["severity"]) == ({"low": 0.0, "high": 300.0}, "low")
    assert (often["saving_us"]["low"], often["severity"]) == (pytest.approx(0.6 * 1200 * 7 / 8), "high")
    assert any(each.startswith("only 0% of it comes again and again") for each in once["evidence"])
    assert not any("hiccup" in each for each in often["evidence"])
    assert (once["count"], often["count"]) == (1, 4)


def test_balanced_ranks_have_neither_finding(tmp_path):
    found = of_ranks(diagnose(imported(tmp_path, Planted(world=2, exposed_us=10))))
    assert found == {}


def test_with_ranks_missing_and_cut_the_others_are_diagnosed(tmp_path):
    paths = write(tmp_path / "in", Planted(world=4, slow_us={2: 300}), "rank{rank}.json")
    paths[0].unlink()
    cut = paths[3].read_bytes()
    paths[3].write_bytes(cut[: len(cut) * 9 // 10])
    run = import_ranks(tmp_path / "in", tmp_path / "run")
    data = to_json(diagnose(run))
    problems = {row["rank"]: (row["problem"], row["lost"]) for row in data["ranks"]}
    assert problems[0] == ("rank 0 left no folder", 0) and problems[3] == ("", 1)
    assert data["slowest"] == 2 and data["findings"][0]["rule"] == "straggler"
    text = show_text(show_data(run), 5)
    assert "rank 0 has no times: rank 0 left no folder" in text and "rank 3: the trace is cut or damaged" in text


@pytest.mark.parametrize(
    ("parallel", "advised"),
    [
        ({"kind": "ulysses", "degree": 2}, "--parallel ring moves the same bytes between two ranks"),
        ({"kind": "ulysses", "degree": 4}, "fewer ranks with a larger batch each: diffusers waits"),
        ({"kind": "ring", "degree": 2}, "fewer ranks with a larger batch each: diffusers waits"),
        ({"kind": "ring", "degree": 4}, "--parallel ulysses moves fewer bytes"),
    ],
)
def test_nothing_is_promised_that_diffusers_does_not_do(tmp_path, parallel, advised):
    """Its ring gathers all keys and values before it computes: it hides no communication either."""
    run = imported(tmp_path, Planted(world=2, layers=2, steps=1))
    run.manifest.spec["parallel"] = parallel
    change = of_ranks(diagnose(run))["exposed-communication"]["change"]
    assert change.startswith(advised) and "while it computes" not in change


def test_communication_that_no_other_rank_has_says_that_it_may_be_waiting(tmp_path):
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", SLOW, "rank{rank}.json")
    for rank in (1, 2, 3):
        (tmp_path / "in" / f"rank{rank}.json").unlink()
    found = of_ranks(diagnose(import_ranks(tmp_path / "in", tmp_path / "run")))["exposed-communication"]
    assert "24 collectives of the trace are on no other rank's: waiting for that rank is part of this" in found["evidence"]
