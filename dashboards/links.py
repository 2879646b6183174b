"""What is selected, as the query of an address: a link to a finding can be sent to a colleague."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from urllib.parse import urlencode

ANY_RANK = -1
"""No rank is selected: each page shows the one that it says most of."""

TRACE_VIEW, TRACE_FILE, PERFETTO = "/trace-view", "/trace-file", "/perfetto"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A selection; what is not selected is empty.

    Args:
        run, base: names of runs in the folder.
        finding: number of a finding, from 1, as the diagnosis counts them.
        window: label of a window of the trace: `step/3`, `decode`.
        kernel: name of a kernel or operator.
        row: id of a ledger row, of a tuned shape, of a cell of a sweep.
        rank: of the process, where a run has several; `ANY_RANK`, which is not in the address, where none is selected.
        graph_break: name of a graph break.
        region: compile id of a compiled region, like `1/0`.
        also: names of more runs, one a line.
        work: which cells of a sweep, by the work that they do.
        at_most_gib, at_least_db: the budget of a sweep's recommendation, as it was typed.
    """

    run: str = ""
    base: str = ""
    finding: int = 0
    window: str = ""
    kernel: str = ""
    row: str = ""
    rank: int = ANY_RANK
    graph_break: str = ""
    region: str = ""
    also: str = ""
    work: str = ""
    at_most_gib: str = ""
    at_least_db: str = ""

    @property
    def others(self) -> list[str]:
        """The names in `also`."""
        return [name for name in self.also.split("\n") if name]

    def query(self) -> dict[str, str]:
        """The parts that are set, as text."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: str(value) for name, value in values.items() if (value != ANY_RANK if name == "rank" else value)}


# What stands for a number that is not there, or none.
_NUMBERS = {"finding": 0, "rank": ANY_RANK}


def selection_of(query: Mapping[str, str]) -> Selection:
    """The selection that a query holds; what it holds else, or no number where one is due, selects nothing."""
    texts = {each.name: query[each.name] for each in fields(Selection) if each.name not in _NUMBERS and each.name in query}
    numbers = {name: _number(query.get(name, ""), nothing) for name, nothing in _NUMBERS.items()}
    return Selection(**texts, finding=numbers["finding"], rank=numbers["rank"])


def _number(text: str, nothing: int) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else nothing


def page_url(page: str, selection: Selection) -> str:
    """The address of a page with a selection, from the server's root."""
    query = urlencode(selection.query())
    return f"/{page}?{query}" if query else f"/{page}"


def trace_file_url(run: str, rank: int, artifact: str) -> str:
    """Where the server gives a trace file of a run."""
    return f"{TRACE_FILE}?{urlencode({'run': run, 'rank': rank, 'artifact': artifact})}"


@dataclass(frozen=True)
class View:
    """What the trace viewer shows: (start, end) in ns on the trace's own clock, and the stretch that it marks."""

    shown: tuple[int, int]
    marked: tuple[int, int]


def trace_view_url(run: str, rank: int, artifact: str, view: View | None, title: str) -> str:
    """The page with the trace viewer in it, opened at a view or at all of the trace."""
    query: dict[str, str | int] = {"run": run, "rank": rank, "artifact": artifact, "title": title}
    if view:
        query |= {"start": view.shown[0], "end": view.shown[1], "from": view.marked[0], "to": view.marked[1]}
    return f"{TRACE_VIEW}?{urlencode(query)}"
