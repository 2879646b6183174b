"""Notes below a table of ranks: what is to be said of many is one line."""

from __future__ import annotations

from typing import Any

from profiler.metrics.ranks import ROW
from profiler.report.rank_notes import notes, numbers


def row(rank: int, **more: Any) -> dict[str, Any]:
    known = {"rank": rank, "step_us": 1.0, "lost": 0, "unmatched": 0, "collectives": 4, "clock_error_us": 0.0, "problem": ""}
    return dict.fromkeys(ROW) | known | more


def test_rising_numbers_in_few_words():
    assert [numbers(each) for each in ([3], [0, 1], [0, 8, 9, 10, 12])] == ["rank 3", "ranks 0, 1", "ranks 0, 8 to 10, 12"]


def test_the_ranks_of_a_host_share_the_line_of_its_clock():
    rows = [row(rank, clock_shift_us=-3e6 * (rank > 3)) for rank in range(8)]
    assert notes(rows) == ["ranks 4 to 7: the clock was shifted by -3,000.000 ms (error 0.0 us), as the collectives tell"]


def test_clocks_that_all_differ_are_not_a_page_and_one_that_has_no_times_is_told_once():
    lines = notes([row(rank, clock_shift_us=float(rank)) for rank in range(1, 300)])
    assert len(lines) == 9 and lines[-1] == "and 291 more like it (--json has them)"
    assert notes([row(0, lost=1, problem="cut", step_us=None)]) == ["rank 0 has no times: cut"]
