"""The timed and untraced calls run alone: no profiler, no log handler, no patch on the pipeline."""

from __future__ import annotations

import json
from typing import Any

import pytest
from processes import Recorded

# Ours, and the one that torch makes of TORCH_TRACE.
HANDLERS = ["compile_log", "torch_trace"]
CALLS = {"warmup": 1, "timed": 4, "untraced": 5, "traced": 1, "places": 1, "memory": 1}


@pytest.fixture(scope="module")
def seen(watched_run: Recorded) -> dict[str, list[dict[str, Any]]]:
    """What the pipeline saw before each transformer forward, by the phase in which it happened."""
    assert watched_run.done.returncode == 0, watched_run.done.stderr
    rows = [json.loads(line) for line in (watched_run.path.parent / "watch.jsonl").read_text().splitlines()]
    phases = watched_run.manifest["phases"]
    return {
        phase["name"]: [row for row in rows if phase["start_ns"] <= row["time_ns"] <= phase["end_ns"]]
        for phase in phases
        if phase["name"] in CALLS
    }


def test_every_forward_happened_in_a_phase(seen: dict[str, list[dict[str, Any]]]):
    assert {name: len(rows) for name, rows in seen.items()} == CALLS


@pytest.mark.parametrize("phase", ["timed", "untraced"])
def test_what_is_timed_is_the_program_alone(seen: dict[str, list[dict[str, Any]]], phase: str):
    for row in seen[phase]:
        assert row["profiler"] is False
        assert row["handlers"] == []
        assert (row["patched"], row["vae"], row["scheduler"]) == ([], False, False)


@pytest.mark.parametrize("phase", ["traced", "places", "memory"])
def test_what_is_traced_has_a_profiler_and_marks(seen: dict[str, list[dict[str, Any]]], phase: str):
    for row in seen[phase]:
        assert (row["profiler"], row["kineto"]) == (True, "KINETO")
        assert row["handlers"] == HANDLERS
        assert (row["patched"], row["vae"]) == (["encode_prompt", "progress_bar"], True)


def test_the_warm_up_listens_to_the_compiler_and_captures_steps(seen: dict[str, list[dict[str, Any]]]):
    (row,) = seen["warmup"]
    assert (row["profiler"], row["handlers"]) == (False, HANDLERS)
    assert row["scheduler"] is True
    assert row["patched"] == []
