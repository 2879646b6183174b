"""What a reader of a table of ranks must know of single ranks; ranks of which the same is to be said share a line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

Row = dict[str, Any]
# So many lines of one kind; clocks of hosts that nobody names are all different.
_MOST_LINES = 8


def notes(ranks: list[Row]) -> list[str]:
    """Of rows of `metrics.ranks.ROW`: ranks without times, cut traces, collectives without a match, clocks."""
    lines = [f"rank {row['rank']} has no times: {row['problem']}" for row in ranks if row["problem"]]
    return lines + trace_notes(ranks)


def trace_notes(ranks: list[Row]) -> list[str]:
    """The same of the traces that are read."""
    cut = [row for row in ranks if row["lost"] and not row["problem"]]
    lines = _shared(cut, lambda _: "the trace is cut or damaged, the times are of what is left")
    alone = [row for row in ranks if row["unmatched"]]
    lines += _shared(alone, lambda row: f"{row['unmatched']:,} collectives that no other rank has")
    lines += _shared([row for row in ranks if row["clock_shift_us"]], _shift)
    return lines + _clockless(ranks)


def numbers(ranks: Sequence[int]) -> str:
    """`rank 3`, `ranks 0, 8 to 15`: rising numbers in few words."""
    breaks = [0, *(at for at, (before, after) in enumerate(pairwise(ranks), 1) if after != before + 1), len(ranks)]
    runs = [ranks[start:end] for start, end in pairwise(breaks)]
    words = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"rank{'s' * (len(ranks) > 1)} {', '.join(words)}"


def _shared(rows: list[Row], text: Callable[[Row], str]) -> list[str]:
    alike: dict[str, list[int]] = {}
    for row in rows:
        alike.setdefault(text(row), []).append(row["rank"])
    lines = [f"{numbers(ranks)}: {said}" for said, ranks in alike.items()]
    rest = lines[_MOST_LINES:]
    return lines[:_MOST_LINES] + ([f"and {len(rest)} more like it (--json has them)"] if rest else [])


def _shift(row: Row) -> str:
    shift, error = row["clock_shift_us"] / 1e3, row["clock_error_us"]
    return f"the clock was shifted by {shift:+,.3f} ms (error {error:,.1f} us), as the collectives tell"


def _clockless(ranks: list[Row]) -> list[str]:
    unknown = [row for row in ranks if row["step_us"] is not None and row["clock_error_us"] is None]
    strange = [row["rank"] for row in unknown if row["collectives"] > row["unmatched"]]
    alone = [row["rank"] for row in unknown if row["collectives"] <= row["unmatched"]]
    lines = [f"no clock of {numbers(alone)}: it shares no collective"] if alone else []
    why = "its collectives are of another time and do not end with the others': of another run? It waits for nobody here"
    return [*lines, *([f"no clock of {numbers(strange)}: {why}"] if strange else [])]
