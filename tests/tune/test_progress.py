"""The progress line: how far, how long still, and what stays."""

from __future__ import annotations

import io
import os

import pytest

from profiler.tune import progress
from profiler.tune.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_time_left_follows_what_is_done(clock: list[float]):
    line = Progress(8, Terminal())
    line.label("4608x3072x12288")
    assert line.line() == f"4608x3072x12288  [{'.' * 24}]   0%  time left unknown"
    clock[0] = 10.0
    line.advance()
    line.advance()
    assert line.line() == f"4608x3072x12288  [{'#' * 6}{'.' * 18}]  25%  30 s left"
    clock[0] = 100.0
    assert line.line().endswith("25%  5 min left")
    for _ in range(20):
        line.advance()
    assert line.line().endswith("100%  0 s left"), "never beyond the whole"


def test_a_terminal_is_drawn_over_and_told_lines_stay(clock: list[float]):
    file = Terminal()
    line = Progress(2, file)
    line.label("a")
    clock[0] = 1.0
    line.advance()
    line.tell("a: 1.0 us")
    drawn = file.getvalue().split("\r\x1b[K")
    assert drawn[-1] == "a: 1.0 us\n"
    assert drawn[-2].endswith("50%  1 s left")


def test_elsewhere_only_whole_lines_are_written(clock: list[float]):
    file = io.StringIO()
    line = Progress(2, file)
    line.label("a")
    clock[0] = 1.0
    line.advance()
    line.tell("a: 1.0 us")
    assert file.getvalue() == "a: 1.0 us\n"


def test_a_reader_that_is_gone_ends_nothing():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w", buffering=1) as file:
        line = Progress(1, file)
        line.tell("a shape is done")
        line.tell("another one")
    assert file.closed, "what was not read is not kept until the end, where it would fail"
