"""Distinct graph breaks: why, where, what they cause, and how often they happen in the trace.

One place in the code breaks many compiles (each recompile, each caller); all of them are one break. Frames that torch gave up on
because of it are its consequences. Without a log, a trace with stacks still tells function and line of each resumed function.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import Any

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.metrics import break_records
from profiler.metrics.break_records import Row
from profiler.metrics.break_spans import break_spans
from profiler.metrics.compile_join import has_log
from profiler.metrics.compile_regions import resumes
from profiler.metrics.compiles import compiles
from profiler.rundir import layout
from profiler.tables.run import Run

FROM_LOG, FROM_TRACE = "log", "trace"

CONSEQUENCE = pl.Struct(
    {
        "generation": pl.Int64,
        "compile_id": pl.String,
        "function": pl.String,
        "file": pl.String,
        "line": pl.Int64,
        "why": pl.String,
    }
)
TYPES: dict[str, pl.DataType | type[pl.DataType]] = {
    "break": pl.String,
    "gb_id": pl.String,
    "title": pl.String,
    "reason": pl.String,
    "explanation": pl.String,
    "context": pl.String,
    "hints": pl.List(pl.String),
    "file": pl.String,
    "line": pl.Int64,
    "function": pl.String,
    "code": pl.String,
    "stack": pl.List(pl.String),
    "log_count": pl.Int64,
    "consequences": pl.List(CONSEQUENCE),
    "before": pl.List(pl.String),
    "after": pl.List(pl.String),
    "trace_count": pl.Int64,
    "split_count": pl.Int64,
    "joined": pl.Boolean,
    "source": pl.String,
    "rank": pl.Int32,
}
# A resumed function in a trace: its name, the line at which it resumes, its file's name.
_Place = tuple[str, int, str]


def graph_breaks(run: Run, rank: int = 0) -> pl.DataFrame:
    """One row a distinct break, the most frequent in the trace first.

    Columns: break (its name: id and place); gb_id, title, reason, explanation, context, hints (torch's; from its registry where
    the log lacks them); file, line, function, code (the innermost frame outside torch and the standard library), stack (all of
    it, `file:line function`, outermost first); log_count (records in the log); consequences (frames that run eagerly for it);
    before and after (compile ids of the regions that it separates; where some ran in the trace, those, else those of the
    generation that did); trace_count (how often it was reached in the trace), split_count (how many regions ended at it there:
    those of callers that had inlined it too); joined (whether the trace runs code of its generation: a break of what explain() or
    an earlier reset() compiled alone does not join); source ("log", or "trace" where there is no log).

    Raises:
        UnreadableInput: trace and log are of two programs, cannot be read, or are both missing.
    """
    if not has_log(run, rank):
        return _from_trace(run, rank)
    known = compiles(run, rank).to_dicts()
    spans = break_spans(run, rank)
    seen = _Seen(
        resumed=_resumed(run, rank),
        innermost=Counter(spans.filter("innermost")["break"].to_list()),
        splits=Counter(spans["break"].to_list()),
        registry=break_records.registry(run, rank),
    )
    grouped = break_records.distinct(run.compile_log(rank).frame("breaks").to_dicts())
    rows = [seen.row(name, records, known) for name, records in grouped.items()]
    return pl.DataFrame(rows, schema=TYPES, orient="row").sort("trace_count", "log_count", descending=True, maintain_order=True)


class _Seen:
    """What the trace and the registry know of breaks."""

    def __init__(self, resumed: Counter[_Place], innermost: Counter[str], splits: Counter[str], registry: dict[str, Row]) -> None:
        self._resumed, self._innermost, self._splits, self._registry = resumed, innermost, splits, registry

    def row(self, name: str, records: list[Row], known: list[Row]) -> Row:
        first = records[0]
        entry = break_records.entry(first, self._registry)
        rests = break_records.rests(records, known)
        ran = {each["generation"] for each in known if each["calls"]}
        count = self._innermost[name] or self._count_without_region(records, rests)
        told: Row = {each: first[each] for each in ("title", "reason", "context", "rank")}
        return {
            **told,
            **break_records.user_frame(first),
            "break": name,
            "gb_id": first["gb_id"] or entry.get("id"),
            "explanation": first["explanation"] or entry.get("Explanation"),
            "hints": first["hints"] or entry.get("Hints") or [],
            "stack": [f"{each['file']}:{each['line']} {each['function']}" for each in break_records.stack(first)],
            "log_count": len(records),
            "consequences": break_records.consequences(records, known),
            "before": _ids(break_records.splits(records, known), ran),
            "after": _ids(rests, ran),
            "trace_count": count,
            "split_count": self._splits[name],
            "joined": any(each["generation"] in ran for each in records),
            "source": FROM_LOG,
        }

    def _count_without_region(self, records: list[Row], rests: list[Row]) -> int:
        """A region without a graph leaves nothing in a trace: then its rest does, or, with stacks, the resumed function."""
        calls: int = sum(each["calls"] for each in rests)
        places = {
            (each["function"], each["line"], PurePosixPath(each["file"]).name)
            for record in records
            for each in break_records.stack(record)
        }
        return calls or max((count for place, count in self._resumed.items() if place in places), default=0)


def _ids(rows: list[Row], ran: set[Any]) -> list[str]:
    """Compile ids that ran in the trace, else of the generations that did, else all."""
    wanted = [each for each in rows if each["calls"]] or [each for each in rows if each["generation"] in ran] or rows
    return list(dict.fromkeys(each["compile_id"] for each in wanted))


def _resumed(run: Run, rank: int) -> Counter[_Place]:
    """Calls of each resumed function in the trace."""
    if not run.has(layout.TRACE, rank):
        return Counter()
    found = resumes(run.trace(rank)).select("function", "line", "file").iter_rows()
    return Counter((function, line, PurePosixPath(file).name) for function, line, file in found)


def _from_trace(run: Run, rank: int) -> pl.DataFrame:
    """What a trace alone tells: a resumed function for each break, its file as Python's path has it."""
    if not run.has(layout.TRACE, rank):
        raise UnreadableInput(f"{run.path} holds no compile log and no trace", "record it compiled, or import its trace or log")
    counts = Counter(resumes(run.trace(rank)).select("function", "line", "file").iter_rows())
    rows = [_inferred(place, count, rank) for place, count in counts.most_common()]
    return pl.DataFrame(rows, schema=TYPES, orient="row")


def _inferred(resumed: tuple[Any, ...], count: int, rank: int) -> Row:
    function, line, file = resumed
    place = {"file": file, "line": line, "function": function, "stack": [f"{file}:{line} {function}"]}
    empty: Row = {name: [] for name in ("hints", "consequences", "before", "after")}
    seen = {"log_count": 0, "trace_count": count, "split_count": count, "joined": True, "source": FROM_TRACE, "rank": rank}
    row: Row = {"break": f"graph break {file}:{line}", "title": "graph break"} | place | empty | seen
    return {name: row.get(name) for name in TYPES}
