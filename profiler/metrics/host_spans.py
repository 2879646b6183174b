"""What a host thread was inside of, for the time lines of the ledger: every span with its kind and a note on what follows it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from profiler.metrics.window_pattern import REGION
from profiler.tables import schema
from profiler.tables.trace import TraceTables

# Kinds of spans, as far as a cause of idle time depends on them.
OP, CALL_RT, WAIT, PAUSE, ALLOCATOR, PAGEABLE, OVERHEAD, COMPILE, GUARD, PROLOGUE, REGION_KIND, GRAPH, RESUME, NEUTRAL = (
    "op",
    "runtime",
    "wait",
    "pause",
    "allocator",
    "pageable",
    "overhead",
    "compile",
    "guard",
    "prologue",
    "region",
    "graph",
    "resume",
    "neutral",
)

_RESUME_NAME = r"(torch_dynamo_resume_in_\S+)"
_WAITS = r"^(cuda|hip|cu)\w*Synchronize$|^(cuda|hip)Memcpy$"
_ALLOCATOR = (
    r"^(cuda|hip)(Malloc|Free|Host(Alloc|Malloc|Free|Register)|MemPool)"
    r"|^cuMem(Create|Map|Unmap|Address|SetAccess|Release|Alloc|Free)"
)
# Operators that change no memory: the wrapper of a compiled graph rebuilds aliased outputs with them.
_VIEWS = (
    r"^aten::(view|as_strided|detach|alias|transpose|t|permute|slice|select|expand|(un)?squeeze|reshape|_unsafe_view"
    r"|_reshape_alias)_?$"
)

_SPAN = {
    "kind": pl.String,
    "name": pl.String,
    "tid": pl.Int64,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
    "note": pl.String,
    "types": pl.String,
}


def _named(pattern: str) -> pl.Expr:
    return pl.col("name").str.contains(pattern)


_HOST_KIND = (
    pl.when(pl.col("cat") == "overhead")
    .then(pl.lit(OVERHEAD))
    .when(pl.col("name").str.starts_with(REGION))
    .then(pl.lit(REGION_KIND))
    .when(pl.col("name").str.starts_with("## Call CompiledFxGraph"))
    .then(pl.lit(GRAPH))
    .when(pl.col("cat") == schema.USER_ANNOTATION)
    .then(pl.lit(NEUTRAL))
    .when(pl.col("name").is_in(["TorchDynamo Cache Lookup", "Pregraph bytecode"]))
    .then(pl.lit(GUARD))
    .when(_named(r"^dynamo$|^entire_frame_compile$|^_compile\.compile_inner|\(dynamo_timed\)$"))
    .then(pl.lit(COMPILE))
    .when(_named("^AOTDispatcher Runtime Wrapper"))
    .then(pl.lit(PROLOGUE))
    .otherwise(pl.lit(OP))
)
_RUNTIME_KIND = (
    pl.when(_named(_WAITS))
    .then(pl.lit(WAIT))
    .when(_named(_ALLOCATOR))
    .then(pl.lit(ALLOCATOR))
    .when("pageable")
    .then(pl.lit(PAGEABLE))
    .otherwise(pl.lit(CALL_RT))
)
_TIMES = (pl.col("tid"), pl.col("ts_ns").alias("start_ns"), (pl.col("ts_ns") + pl.col("dur_ns")).alias("end_ns"))


def host_spans(trace: TraceTables, *, types: bool = False) -> pl.LazyFrame:
    """Operators, annotations and profiler overhead: kind, name, tid, start_ns, end_ns, note (empty), types (of inputs, if
    asked)."""
    cats = [schema.CPU_OP, schema.USER_ANNOTATION, "overhead"]
    spans = trace.lazy("host").filter(pl.col("cat").is_in(cats) & (pl.col("dur_ns") > 0))
    inputs = pl.col("input_types") if types else pl.lit(None, pl.String)
    return spans.select(_HOST_KIND.alias("kind"), "name", *_TIMES, pl.lit("").alias("note"), inputs.alias("types"))


def runtime_spans(trace: TraceTables) -> pl.DataFrame:
    """Runtime and driver calls with their kind, in order of start.

    A `cudaMemcpyAsync` that returned only after its copy had ended is a wait. `note` is the copy that a call issued, or that a
    wait was for; empty where there is none. `issued_ns` is the start of the call that issued what a synchronisation waits for.
    """
    copies = trace.lazy("gpu").filter(pl.col("cat") == schema.MEMCPY).filter(pl.col("correlation") > 0)
    copied = copies.select("correlation", pl.col("name").alias("copy"), (pl.col("ts_ns") + pl.col("dur_ns")).alias("copied_ns"))
    calls = trace.lazy("runtime").filter(pl.col("dur_ns") > 0).sort("tid", "ts_ns", maintain_order=True)
    joined = calls.join(copied.unique("correlation", keep="first"), on="correlation", how="left", maintain_order="left")
    pageable = pl.col("copy").str.contains("HtoD") & pl.col("copy").str.contains("Pageable")
    marked = joined.with_columns(pageable.fill_null(False).alias("pageable"), *_TIMES[1:]).with_columns(
        _RUNTIME_KIND.alias("kind")
    )
    # What a synchronisation waits for: the copy issued right before it on the same thread, at most a query apart.
    waited = pl.coalesce("copy", pl.when(pl.col("kind") == WAIT).then(_issued("copy"))).fill_null("")
    blocking = pl.col("copied_ns").is_not_null() & (pl.col("copied_ns") <= pl.col("end_ns")) & (pl.col("kind") == CALL_RT)
    rows = marked.with_columns(waited.alias("note"), pl.when(blocking).then(pl.lit(WAIT)).otherwise("kind").alias("kind"))
    synchronises = (pl.col("kind") == WAIT) & pl.col("copy").is_null()
    issued = pl.when(synchronises).then(_issued("start_ns")).alias("issued_ns")
    columns = ("kind", "name", "tid", "start_ns", "end_ns", "note", issued, pl.lit(None, pl.String).alias("types"))
    return rows.select(columns).collect()


def _issued(column: str) -> pl.Expr:
    """A column of the copy that one of the two calls before issued, on the same thread."""
    copied = pl.when(pl.col("copy").is_not_null()).then(column)
    return pl.coalesce(copied.shift(calls).over("tid") for calls in (1, 2))


def host_waits(calls: pl.DataFrame) -> pl.DataFrame:
    """The waits among `runtime_spans`: a copy that blocks and the synchronisation right after it are one."""
    waits = calls.filter(pl.col("kind") == WAIT)
    blocking = waits.filter(pl.col("name").str.contains("Memcpy"))["start_ns"].implode()
    joins = pl.col("issued_ns").is_in(blocking)
    merged = waits.filter(joins)["issued_ns"].implode()
    kept = waits.filter(~pl.col("start_ns").is_in(merged) | joins.fill_null(False))
    started = kept.with_columns(pl.when(joins).then("issued_ns").otherwise("start_ns").alias("start_ns"))
    return started.unique(["tid", "start_ns"], keep="last", maintain_order=True)


def stalls(trace: TraceTables, calls: pl.DataFrame) -> pl.DataFrame:
    """What holds the host up: waits, calls that ask for memory or copy from pageable memory (of `runtime_spans`), and pauses."""
    others = calls.filter(pl.col("kind").is_in([ALLOCATOR, PAGEABLE]))
    every = [host_waits(calls), others, pauses(trace, calls).select(calls.columns)]
    return pl.concat(every).sort("tid", "start_ns", maintain_order=True)


# A shorter stretch of Python is what any eager code has between two operators.
PAUSE_NS = 1_000_000
_AROUND = (NEUTRAL, REGION_KIND)


def pauses(trace: TraceTables, calls: pl.DataFrame) -> pl.DataFrame:
    """Stretches of PAUSE_NS and more in which a thread that launches runs no operator and no runtime call: a callback, a sleep.

    Columns as of `runtime_spans`.
    """
    spans = host_spans(trace).filter(~pl.col("kind").is_in(_AROUND)).select("tid", "start_ns", "end_ns").collect()
    every = pl.concat([spans, calls.select(spans.columns)]).filter(pl.col("tid").is_in(calls["tid"].unique().implode()))
    ended = pl.col("end_ns").cum_max().shift(1).over("tid")
    following = every.sort("start_ns").with_columns(ended.alias("ended_ns"))
    found = following.filter(pl.col("start_ns") - pl.col("ended_ns") >= PAUSE_NS)
    columns = ("tid", pl.col("ended_ns").alias("start_ns"), pl.col("start_ns").alias("end_ns"))
    marked = found.select(pl.lit(PAUSE).alias("kind"), pl.lit("").alias("name"), *columns, pl.lit("").alias("note"))
    return marked.with_columns(pl.lit(None, pl.Int64).alias("issued_ns"), pl.lit(None, pl.String).alias("types"))


def resume_spans(trace: TraceTables) -> pl.LazyFrame:
    """Frames in which Dynamo resumed after a graph break, where the trace has stacks; `note` is the function's name."""
    frames = trace.lazy("python").filter(pl.col("name").str.contains("torch_dynamo_resume_in_", literal=True))
    note = pl.col("name").str.extract(_RESUME_NAME).fill_null("")
    return frames.select(
        pl.lit(RESUME).alias("kind"), "name", *_TIMES, note.alias("note"), pl.lit(None, pl.String).alias("types")
    )


def noted(spans: pl.DataFrame) -> pl.DataFrame:
    """The spans of one thread with notes: a region's break (empty where it has none), the region that a guard check or a
    compilation leads to."""
    ordered = spans.sort(["start_ns", "end_ns"], descending=[False, True], maintain_order=True)
    regions = ordered.filter(pl.col("kind") == REGION_KIND)
    if regions.is_empty():
        return ordered
    following = regions.select("start_ns", pl.col("name").str.strip_prefix(REGION).alias("following"))
    with_next = ordered.join_asof(following, on="start_ns", strategy="forward", check_sortedness=False)
    leads = pl.col("kind").is_in([GUARD, COMPILE]) & (pl.col("name") != "Pregraph bytecode")
    breaks = _breaks(ordered)
    joined = with_next.join(breaks, on=["kind", "start_ns", "end_ns"], how="left", maintain_order="left")
    note = pl.coalesce("break", pl.when(leads).then(pl.col("following")), "note")
    return joined.with_columns(note.alias("note")).select(list(_SPAN))


def _breaks(spans: pl.DataFrame) -> pl.DataFrame:
    """Regions (kind, start_ns, end_ns) that hold a graph break, and which: `5/0 > 6/1` or `6/1 > aten::item`, with the resume
    function's name after it where the trace has stacks."""
    rows = [
        (REGION_KIND, start, end, found)
        for start, end, name, inside in _direct_children(spans)
        if (found := _break_of(name.removeprefix(REGION), inside))
    ]
    return pl.DataFrame(
        rows, schema={"kind": pl.String, "start_ns": pl.Int64, "end_ns": pl.Int64, "break": pl.String}, orient="row"
    ).unique(["start_ns", "end_ns"], keep="first")


_Child = tuple[str, str, str]


def _direct_children(spans: pl.DataFrame) -> list[tuple[int, int, str, list[_Child]]]:
    """Each region with (kind, name, note) of the spans directly in it; prologues, guard checks and frames do not hide what is
    below."""
    regions: list[tuple[int, int, str, list[_Child]]] = []
    open_regions: list[int] = []
    covered = 0
    columns = spans.filter(telling(spans)).select("kind", "name", "note", "start_ns", "end_ns")
    for kind, name, note, start, end in columns.iter_rows():
        while open_regions and regions[open_regions[-1]][1] <= start:
            open_regions.pop()
        if open_regions and start >= covered:
            regions[open_regions[-1]][3].append((kind, name, note))
        if kind == REGION_KIND:
            regions.append((start, end, name, []))
            open_regions.append(len(regions) - 1)
        elif kind in (OP, GRAPH, GUARD, PROLOGUE, COMPILE):
            covered = max(covered, end)
    return regions


def telling(spans: pl.DataFrame) -> pl.Series:
    """Which spans tell what a compiled region is: regions, graphs, guard checks, and what lies in a region beside its graphs."""
    dynamo = spans["kind"].is_in([REGION_KIND, GRAPH, GUARD, PROLOGUE, COMPILE, RESUME])
    regions, graphs = (spans.filter(pl.col("kind") == kind).sort("start_ns") for kind in (REGION_KIND, GRAPH))
    # Regions nest; their union does not.
    outer = regions.filter((pl.col("end_ns").cum_max().shift(1) <= pl.col("start_ns")).fill_null(True))
    inside = overlapping(spans, outer["start_ns"], outer["end_ns"])
    hidden = overlapping(spans, graphs["start_ns"], graphs["end_ns"])
    return dynamo | (inside & ~hidden & (spans["kind"] == OP))


def _break_of(region: str, inside: Sequence[_Child]) -> str:
    """What ends the compiled part of a region before its end; empty where nothing does."""
    graphs = [index for index, child in enumerate(inside) if child[0] == GRAPH]
    resumed = next((note for kind, _, note in inside if kind == RESUME), "")
    nested = next((name for kind, name, _ in reversed(inside) if kind == REGION_KIND), "")
    after = inside[graphs[0] + 1 :] if graphs else []
    eager = [name for kind, name, _ in after if kind == OP]
    real = pl.Series(eager, dtype=pl.String).filter(~pl.Series(eager, dtype=pl.String).str.contains(_VIEWS))
    if not (nested or resumed or len(real)):
        return ""
    follower = nested.removeprefix(REGION) or (real[0] if len(real) else "end")
    return f"{region} > {follower} {resumed}".rstrip()


def overlapping(spans: pl.DataFrame, starts: pl.Series, ends: pl.Series) -> pl.Series:
    """Which spans share time with any of the intervals; these are sorted and disjoint."""
    intervals = pl.DataFrame({"from_ns": starts, "until_ns": ends}).filter(pl.col("until_ns") > pl.col("from_ns"))
    if intervals.is_empty() or spans.is_empty():
        return pl.Series([False] * spans.height, dtype=pl.Boolean)
    keyed = spans.select(pl.int_range(pl.len()).alias("row"), "start_ns", "end_ns").sort("start_ns")
    found = keyed.join_asof(
        intervals, left_on="start_ns", right_on="until_ns", strategy="forward", allow_exact_matches=False, check_sortedness=False
    )
    hit = (pl.col("from_ns") < pl.col("end_ns")).fill_null(False)
    return found.sort("row").select(hit.alias("hit")).to_series()
