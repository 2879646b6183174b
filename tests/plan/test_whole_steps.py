"""Whole steps in processes of their own: real ones, of the tiny Flux on a CPU, one that cannot run and one that is killed."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from profiler.core.spec import RunSpec
from profiler.plan import whole_steps
from profiler.plan.layers import find_layers
from profiler.plan.whole_steps import measure_steps
from profiler.schemes.base import SCHEMES

SPEC = RunSpec(model="flux-tiny", device="cpu", height=64, width=64)


def linears() -> list[dict[str, Any]]:
    found = find_layers(SPEC, [SCHEMES.get("int8wo")]).linears
    return [
        {"module": each.module, "in_features": each.in_features, "out_features": each.out_features, "rows": each.rows}
        for each in found
    ]


def test_what_runs_is_timed_and_what_does_not_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(whole_steps, "_MOST_STEPS", 3)
    layers = linears()
    every = [each["module"] for each in layers]
    # The second is for tensor cores of Hopper alone.
    assignments = {"mixed": dict.fromkeys(every, "left") | {every[0]: "int8wo"}, "fp8dqrow": dict.fromkeys(every, "fp8dqrow")}
    found = measure_steps(SPEC, layers, assignments)
    assert found["steps"] == 3
    assert {name: len(each) for name, each in found["steps_us"].items()} == {"mixed": 5}
    assert min(found["steps_us"]["mixed"]) > 0
    assert set(found["failed"]) == {"fp8dqrow"}
    assert "Error" in found["failed"]["fp8dqrow"]


def test_each_goes_first_in_turn():
    assert [whole_steps._turned(["a", "b", "c"], number) for number in (0, 1, 5)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
    ]


def test_a_process_that_dies_is_named_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(whole_steps, "_MOST_STEPS", 2)
    started: list[subprocess.Popen[str]] = []
    real = subprocess.Popen

    def noted(*arguments: Any, **options: Any) -> Any:
        started.append(real(*arguments, **options))
        return started[-1]

    asked: list[int] = []
    step_us = whole_steps._Process.step_us

    def killing(self: Any, count: int) -> float | None:
        asked.append(count)
        if len(asked) == 4:
            started[1].kill()
            started[1].wait()
        return step_us(self, count)

    monkeypatch.setattr(whole_steps.subprocess, "Popen", noted)
    monkeypatch.setattr(whole_steps._Process, "step_us", killing)
    layers = linears()
    same = {each["module"]: "left" for each in layers}
    found = measure_steps(SPEC, layers, {"one": same, "other": same})
    assert {name: len(each) for name, each in found["steps_us"].items()} == {"one": 5}
    assert found["failed"] == {"other": "its process ended without an answer; the machine may be out of memory"}
    assert all(each.poll() is not None for each in started)
