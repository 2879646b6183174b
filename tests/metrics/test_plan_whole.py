"""Whole steps that were measured decide between the plan of single Linears and single schemes; nothing is measured here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from plan_materials import material

from profiler.core.errors import Refused, UnreadableInput
from profiler.metrics.plan import choose
from profiler.metrics.plan_whole import MIXED, fastest, finalists
from profiler.report.plan import make_plan, plan_data, plan_text


def steps(**us: list[float]) -> dict[str, Any]:
    return {"steps": 15, "steps_us": us, "failed": {}}


def test_the_plan_and_the_near_single_schemes_that_keep_the_budget_are_compared():
    found = material()
    # int4dq is slower by more than a quarter; 20 dB it would not keep either.
    assert finalists(found, choose(found, None, 20.0)) == {
        MIXED: {"transformer.a": "fp8wo", "transformer.b": "int8wo"},
        "int8wo": {"transformer.a": "int8wo", "transformer.b": "int8wo"},
        "fp8wo": {"transformer.a": "fp8wo", "transformer.b": "fp8wo"},
    }
    # fp8wo alone is of 30 dB.
    assert set(finalists(found, choose(found, None, 31.0))) == {MIXED, "int8wo"}


def test_of_two_schemes_that_give_every_layer_the_same_one_is_measured():
    found = material()
    twice = found | {"outcomes": found["outcomes"] | {"int8dq": found["outcomes"]["int8wo"]}}
    assert set(finalists(twice, choose(twice, None, 20.0))) == {MIXED, "fp8wo", "int8dq"}


def test_there_is_nothing_to_compare_where_the_plan_is_a_single_scheme():
    alone = material(a={"left": (100.0, None), "int8wo": (40.0, 40.0), "fp8wo": (100.0, 30.0), "int4dq": (90.0, 12.0)})
    result = choose(alone, None, 35.0)
    assert set(result.layers.values()) == {"int8wo"}
    assert finalists(alone, result) == {}


SLOW = {"left": (100.0, None), "int8wo": (99.0, 40.0), "fp8wo": (50.0, 30.0), "int4dq": (99.0, 12.0)}
UNCOMPARED: dict[str, tuple[dict[str, Any], str]] = {
    # 100 us for the plan, 149 for each of the two schemes.
    "far": (
        material(a=SLOW, b=SLOW | {"int8wo": (50.0, 40.0), "fp8wo": (99.0, 30.0)}),
        "no single scheme within the budget is within 25% of the plan by the sum",
    ),
    "alone": (material(b=SLOW), "no other single scheme within the budget is within 25% of the plan by the sum"),
    "unknown": (material() | {"known_inputs": False}, "the inputs of flux-tiny are not known"),
}


@pytest.mark.parametrize("case", UNCOMPARED)
def test_where_whole_steps_are_left_out_the_plan_says_why(case: str):
    found, why = UNCOMPARED[case]

    def measure(_: Any) -> Any:
        raise AssertionError("nothing is there to measure")

    content = make_plan(found, None, 20.0, None, measure)
    assert (content["whole_steps"], content["notes"]) == (None, [f"whole steps were not measured: {why}"])
    assert why in " ".join(plan_text(content, 80).split())
    assert make_plan(found, None, 20.0, None)["notes"] == []


def test_the_fastest_has_the_least_median():
    assert fastest(steps(mixed=[3.0, 9.0, 3.0], int8wo=[2.0, 4.0, 4.0])) == MIXED
    assert fastest(steps()) is None


def test_a_single_scheme_whose_steps_are_faster_is_the_plan():
    asked: list[set[str]] = []

    def measure(assignments: dict[str, dict[str, str]]) -> dict[str, Any]:
        asked.append(set(assignments))
        return steps(mixed=[101e3, 102e3, 103e3], int8wo=[98e3, 99e3, 104e3], fp8wo=[120e3, 120e3, 120e3])

    content = make_plan(material(), None, 20.0, None, measure)
    assert asked == [{MIXED, "int8wo", "fp8wo"}]
    assert content["layers"] == {"transformer.a": "int8wo", "transformer.b": "int8wo"}
    assert content["whole_steps"]["taken"] == "int8wo"
    predicted = content["predicted"]
    assert (predicted["us"], predicted["exact"]) == (110.0, False)
    # The plan of single Linears takes 100 us by their sum.
    assert predicted["within"] == pytest.approx(1 - 100 / 110)
    assert content["predicted"]["sqnr_db"] == content["singles"]["int8wo"]["sqnr_db"]
    assert content["groups"][0]["schemes"] == {"int8wo": 1}
    text = plan_text(content, 100)
    (row,) = (line.split() for line in text.splitlines() if line.startswith("int8wo alone  "))
    assert row == ["int8wo", "alone", "99.00", "98.00", "to", "104.00", "the", "plan"]
    # By rounds 97.0, 97.1 and 101.0 %.
    assert "int8wo alone is taken: its whole steps take 2.9% less than those of the plan" in text
    assert "median of 3 rounds of 15 steps, in turn" in text


def test_the_plan_of_single_linears_is_kept_before_whole_steps_are_measured():
    kept: list[dict[str, Any]] = []

    def measure(_: Any) -> dict[str, Any]:
        assert len(kept) == 1
        return steps(mixed=[101e3], int8wo=[98e3])

    content = make_plan(material(), None, 20.0, None, measure, kept.append)
    (early,) = kept
    assert early["layers"] == {"transformer.a": "fp8wo", "transformer.b": "int8wo"} != content["layers"]
    assert (early["whole_steps"]["taken"], early["whole_steps"]["steps_us"]) == (MIXED, {})
    assert set(early["whole_steps"]["failed"]) == {MIXED, "int8wo", "fp8wo"}
    assert "planning ended before its steps were measured" in plan_text(early, 120)


def test_the_plan_stays_where_it_is_the_fastest_or_nothing_could_be_measured():
    mixed = {"transformer.a": "fp8wo", "transformer.b": "int8wo"}
    kept = make_plan(material(), None, 20.0, None, lambda _: steps(mixed=[98e3], int8wo=[99e3]))
    assert (kept["layers"], kept["whole_steps"]["taken"], kept["predicted"]["exact"]) == (mixed, MIXED, True)
    nothing = {"steps": 0, "steps_us": {}, "failed": {MIXED: "OutOfMemoryError: none left", "int8wo": "interrupted"}}
    unknown = make_plan(material(), None, 20.0, None, lambda _: nothing)
    assert (unknown["layers"], unknown["whole_steps"]["taken"]) == (mixed, MIXED)
    text = plan_text(unknown, 100)
    assert "found layer by layer: not measured: OutOfMemoryError: none left" in text.splitlines()
    assert "rounds" not in text
    ended = steps(mixed=[98e3], int8wo=[99e3]) | {"interrupted": True}
    assert "median of 1 round of 15 steps, in turn; interrupted" in plan_text(
        make_plan(material(), None, 20.0, None, lambda _: ended)
    )


def said(taken: str, **us: list[float]) -> str:
    """The plan's last word, on one line."""
    content = make_plan(material(), None, 20.0, None, lambda _: steps(**us))
    assert content["whole_steps"]["taken"] == taken
    text = plan_text(content, 120)
    (line,) = (each for each in text.split("\n\n")[-1].split("by this model")[:1])
    return " ".join(line.split())


def test_rounds_are_compared_in_pairs_and_a_coin_flip_is_no_result():
    # Both slow down together: each round tells the two apart, their ranges do not.
    drift = said("int8wo", mixed=[100.0, 110.0, 120.0], int8wo=[90.0, 99.0, 108.0])
    assert "int8wo alone is taken: its whole steps take 10.0% less than those of the plan that was found" in drift
    assert "which is less than they differ from round to round" in drift
    clear = said(MIXED, mixed=[90.0, 91.0, 92.0], int8wo=[100.0, 101.0, 102.0], fp8wo=[120.0, 120.0, 120.0])
    assert clear == ("the plan that was found layer by layer stays: its whole steps take 9.9% less than those of int8wo alone")
    # The median is less, and in two of three rounds it is the slower.
    odd = said("int8wo", mixed=[100.0, 110.0, 120.0], int8wo=[109.0, 111.0, 100.0])
    assert "though round by round they take no less than those of the plan that was found layer by layer" in odd
    assert "10.0% less than those of int8wo alone, in one round" in said(MIXED, mixed=[90.0], int8wo=[100.0])


def test_reasons_stand_below_the_table_whole():
    long = "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB, 1 free"
    found = {"steps": 3, "steps_us": {"int8wo": [5e3]}, "failed": {MIXED: long, "fp8wo": long, "int4dq": "interrupted"}}
    lines = plan_text(make_plan(material(), None, 20.0, None, lambda _: found), 80).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("whole steps, measured"))
    assert lines[at].split() == ["whole", "steps,", "measured", "ms", "a", "step", "from", "to"]
    assert lines[at + 3].split() == ["found", "layer", "by", "layer", "-", "-", "not", "measured"]
    assert lines[at + 4].split() == ["fp8wo", "alone", "-", "-", "not", "measured"]
    below = " ".join(" ".join(lines[at + 6 :]).split())
    assert below.startswith(
        f"median of 1 round of 3 steps, in turn found layer by layer, fp8wo alone: not measured: {long} int4dq"
    )
    assert "int4dq alone: not measured: interrupted" in lines
    assert max(map(len, lines)) <= 80


def test_a_plan_that_cannot_run_is_not_taken():
    found = {"steps": 3, "steps_us": {"int8wo": [5e3]}, "failed": {MIXED: "RuntimeError: no kernel"}}
    content = make_plan(material(), None, 20.0, None, lambda _: found)
    assert set(content["layers"].values()) == {"int8wo"}
    assert "could not be run" in plan_text(content, 80)


def test_without_measuring_nothing_is_said_and_older_plans_are_shown(tmp_path: Path):
    content = make_plan(material(), None, 20.0, None)
    assert content["whole_steps"] is None
    assert "whole steps" not in plan_text(content)
    older = {name: each for name, each in content.items() if name != "whole_steps"}
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(older))
    assert plan_data(path) == older


CHANGED: dict[str, dict[str, Any]] = {
    "no time": {"whole_steps": {"steps": 1, "steps_us": {"mixed": [0], "int8wo": [0]}, "failed": {}, "taken": "int8wo"}},
    "more than a float holds": {"whole_steps": steps(mixed=[10**400]) | {"taken": "mixed"}},
    "no rounds": {"whole_steps": steps(mixed=[]) | {"taken": "mixed"}},
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_changed_file_is_one_error(tmp_path: Path, case: str):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(make_plan(material(), None, 20.0, None) | CHANGED[case]))
    with pytest.raises(UnreadableInput, match=r"plan\.json cannot be shown"):
        plan_data(path)


def test_a_memory_that_nothing_fits_into_is_refused_with_one_that_does():
    with pytest.raises(
        Refused, match=r"--max-memory is 0.05 MiB, and the smallest model that these schemes make has 0.11 MiB"
    ) as no:
        choose(material(), 50_000, None)
    assert no.value.hint == "give --max-memory 0.11MiB, or allow smaller schemes"
