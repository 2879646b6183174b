"""Where on the trace's clock something is: a finding, a window, a kernel. Spans are (start, end) in ns, as the viewer wants."""

from __future__ import annotations

import polars as pl

from profiler.metrics.break_spans import break_spans
from profiler.metrics.compile_regions import compilations, regions, resumes
from profiler.metrics.ledger import Ledger
from profiler.report.grant import Granted
from profiler.tables import schema
from profiler.tables.run import Run

Span = tuple[int, int]
# Of what is shown, the moment itself takes about a quarter.
_AROUND = 1.5
_LEAST_NS = 20_000


def around(span: Span) -> Span:
    """A span with some of what is before and after it."""
    margin = max(_LEAST_NS, int((span[1] - span[0]) * _AROUND))
    return span[0] - margin, span[1] + margin


def windows(ledgers: dict[str, Ledger]) -> dict[str, Span]:
    """Every window of a trace by its label (`text`, `step/0`, `decode`), in the order of their starts."""
    found: dict[str, Span] = {}
    for name, each in ledgers.items():
        if each.window != name:
            continue
        for index, start, end in each.windows.select("index", "start_ns", "end_ns").iter_rows():
            found[name if each.windows.height == 1 else f"{name}/{index}"] = (start, end)
    return dict(sorted(found.items(), key=lambda item: item[1]))


def of_rows(ledger: Ledger, ids: list[str]) -> Span | None:
    """The longest stretch of these rows in the window's middle repeat (the first ones warm up); None where they have none."""
    segments = ledger.segments.filter(pl.col("id").is_in(ids))
    if segments.is_empty():
        return None
    repeats = segments["index"].unique().sort()
    middle = repeats[len(repeats) // 2]
    longest = (
        segments.filter(pl.col("index") == middle)
        .with_columns((pl.col("end_ns") - pl.col("start_ns")).alias("dur_ns"))
        .sort("dur_ns", "start_ns", descending=[True, False])
    )
    return longest["start_ns"][0], longest["end_ns"][0]


def of_finding(granted: Granted, ledgers: dict[str, Ledger]) -> Span | None:
    """Where a finding costs most: a stretch of its ledger rows, else its window; None where it lies outside the trace."""
    ledger = ledgers.get(granted.finding.window)
    if ledger is None:
        return None
    rows = of_rows(ledger, list(granted.rows or granted.finding.claims))
    if rows or granted.finding.once or ledger.windows.is_empty():
        return rows
    first = ledger.windows.row(0, named=True)
    return first["start_ns"], first["end_ns"]


def of_kernel(run: Run, name: str, within: Span | None = None, rank: int = 0) -> Span | None:
    """The longest run of a kernel or operator, in a span or in the whole trace; None where it never runs."""
    for table, cats in (("gpu", schema.GPU_BUSY), ("host", (schema.CPU_OP,))):
        rows = run.trace(rank).lazy(table).filter((pl.col("name") == name) & pl.col("cat").is_in(cats))
        if within:
            rows = rows.filter(pl.col("ts_ns").is_between(*within, closed="left"))
        longest = rows.sort("dur_ns", descending=True).select("ts_ns", "dur_ns").head(1).collect()
        if longest.height:
            start, dur = longest.row(0)
            return start, start + dur
    return None


def of_region(run: Run, compile_id: str, rank: int = 0) -> Span | None:
    """Where a compile id was compiled inside the trace, else where its code first runs; None where the trace holds neither."""
    trace = run.trace(rank)
    for rows in (compilations(trace), regions(trace)):
        found = rows.filter(pl.col("compile_id") == compile_id).sort("ts_ns").head(1)
        if found.height:
            return found["ts_ns"][0], found["ts_ns"][0] + found["dur_ns"][0]
    return None


def of_break(run: Run, name: str, rank: int = 0) -> Span | None:
    """Where compiled code first stops at a graph break, by its name in `metrics.graph_breaks`; None where it never does."""
    spans = break_spans(run, rank).filter(pl.col("break") == name).sort(~pl.col("innermost"), "ts_ns")
    if spans.height:
        first = spans.row(0, named=True)
        # Of no length where the rest begins at once: then the region that stops.
        at = ("ts_ns", "dur_ns") if first["dur_ns"] else ("region_ts_ns", "region_dur_ns")
        return first[at[0]], first[at[0]] + first[at[1]]
    rows = resumes(run.trace(rank)).filter(pl.concat_str(pl.lit("graph break "), "file", pl.lit(":"), "line") == name)
    return (rows["ts_ns"][0], rows["ts_ns"][0] + rows["dur_ns"][0]) if rows.height else None
