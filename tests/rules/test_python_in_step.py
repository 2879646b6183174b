"""Long Python inside a step: what comes in every step is the program's, what comes in one is the machine's."""

from __future__ import annotations

import pytest
from ledger_traces import mark, op
from small_runs import found, only


def _steps(*pauses_us):
    """Steps on a CPU: an operator of 5 ms, a pause, an operator of 5 ms; a millisecond between the steps."""
    events, at = [], 0
    for number, pause in enumerate(pauses_us):
        end = at + 10_000 + pause
        events += [mark(f"diffuscope/step/{number}", at, end), op("aten::mm", at, at + 5_000), op("aten::mm", end - 5_000, end)]
        at = end + 1_000
    return events


def test_a_pause_in_every_step_is_a_finding(run_with):
    each = only(run_with(_steps(6_000, 4_000)), "python-in-step")
    assert each.finding.title == "Python holds a step up for 5.0 ms in one place"
    assert each.rows == ["idle/Python between operators"]


@pytest.mark.parametrize("pauses_us", [(8_000, 0), (0, 8_000), (900, 8_000)])
def test_on_a_cpu_a_pause_of_one_step_is_none(run_with, pauses_us):
    assert not found(run_with(_steps(*pauses_us)), "python-in-step")


def test_of_a_single_step_every_pause_counts(run_with):
    assert only(run_with(_steps(8_000)), "python-in-step").finding.title == "Python holds a step up for 8.0 ms in one place"
