"""Idle time of a GPU, cut by cause: what held the next kernel back."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from profiler.metrics import gpu_timeline as gpu
from profiler.metrics import host_spans as kinds
from profiler.metrics import host_states as causes
from profiler.metrics.host_states import Pieces, State, States, Walk
from profiler.metrics.idle_waits import charge, with_lead
from profiler.tables.trace import TraceTables

REPLAY, QUEUED, LATENCY = "gap inside a CUDA graph's replay", "gap with the next launch already queued", "launch latency"
UNEXPLAINED = "unexplained"
BEFORE_FIRST, AFTER_LAST = "before the first kernel", "after the last kernel"

_OF_GAP = {gpu.REPLAY: State(REPLAY), gpu.QUEUED: State(QUEUED), gpu.NO_LAUNCH: State(UNEXPLAINED, "no launch in the trace")}
# Host waits: see `ledger.Ledger`.
NO_WAITS: dict[str, pl.DataType | type[pl.DataType]] = {
    "name": pl.String,
    "tid": pl.Int64,
    "start_ns": pl.Int64,
    "end_ns": pl.Int64,
    "note": pl.String,
    "lead_ns": pl.Int64,
    "label": pl.String,
    "detail": pl.String,
    "region": pl.String,
    "chain": pl.List(pl.String),
}
PIECE = {"start_ns": pl.Int64, "end_ns": pl.Int64, "state": pl.Int64, "host_ns": pl.Int64}


@dataclass(frozen=True)
class Idle:
    """Idle pieces (start_ns, end_ns, state, host_ns), the states that they name, and every host wait with its site."""

    pieces: pl.DataFrame
    states: list[State]
    waits: pl.DataFrame


def idle_time(trace: TraceTables, events: pl.DataFrame, start_ns: int, end_ns: int, stretch: float = 1.0) -> Idle:
    """The idle time of `device_events` in a stretch of the trace, in ns; `stretch`: see `idle_waits.charge`."""
    found = gpu.gaps(events).filter((pl.col("end_ns") > start_ns) & (pl.col("start_ns") < end_ns))
    edges = _edges(events, start_ns, end_ns)
    states = States(cpu=False)
    calls = kinds.runtime_spans(trace)
    stalls = with_lead(kinds.stalls(trace, calls), events)
    threads = [
        _thread(trace, tid, rows, stalls.filter(pl.col("tid").eq_missing(tid)), calls, states, stretch)
        for tid, rows in _by_thread(found, edges)
    ]
    pieces = [_whole_gaps(found, states), *(pieces for pieces, _ in threads)]
    first, last = events["start_ns"].min(), events["end_ns"].max()
    found_pieces = pl.concat(pieces)
    if isinstance(first, int) and isinstance(last, int):
        found_pieces = _edge_labels(found_pieces, states, first, last)
    sited = pl.concat([sites for _, sites in threads]) if threads else _sites({}, states)
    waits = stalls.filter(pl.col("kind") == kinds.WAIT)
    listed = waits.filter(pl.col("start_ns").is_between(start_ns, end_ns)).select(
        "name", "tid", "start_ns", "end_ns", "note", "lead_ns"
    )
    return Idle(found_pieces.sort("start_ns"), states.all, listed.join(sited, on="start_ns", how="left", maintain_order="left"))


def _edges(events: pl.DataFrame, start_ns: int, end_ns: int) -> pl.DataFrame:
    """What lies before the first event and after the last, as gaps: held by the thread that launched these."""
    known = events.filter(pl.col("launch_ns").is_not_null())
    rows = []
    if not events.is_empty():
        first = events.row(0, named=True)
        if start_ns < first["start_ns"]:
            tid, returned, launch = first["launch_tid"], first["returned_ns"], first["launch_ns"]
            held = first["start_ns"] if returned is None else max(start_ns, min(returned, first["start_ns"]))
            rows.append((start_ns, first["start_ns"], gpu.HELD, held, tid, launch, None))
        last = events["end_ns"].max()
        if isinstance(last, int) and last < end_ns:
            rows.append((last, end_ns, gpu.HELD, end_ns, known["launch_tid"][-1] if known.height else None, None, None))
    columns = ("start_ns", "end_ns", "ended", "held_ns", "launch_tid", "launch_ns", "ahead_ns")
    return pl.DataFrame(rows, schema={name: pl.String if name == "ended" else pl.Int64 for name in columns}, orient="row")


def _by_thread(found: pl.DataFrame, edges: pl.DataFrame) -> list[tuple[int | None, pl.DataFrame]]:
    held = pl.concat([found.filter(pl.col("ended") == gpu.HELD).select(edges.columns), edges]).sort("start_ns")
    return [(key[0], rows) for key, rows in held.partition_by("launch_tid", as_dict=True, maintain_order=True).items()]


def _whole_gaps(found: pl.DataFrame, states: States) -> pl.DataFrame:
    """Gaps that no host thread explains: their kind says it all."""
    numbers = {ended: states.number(state) for ended, state in _OF_GAP.items()}
    whole = found.filter(pl.col("ended") != gpu.HELD)
    state = pl.col("ended").replace_strict(numbers, return_dtype=pl.Int64).alias("state")
    return whole.select("start_ns", "end_ns", state, pl.col("launch_ns").alias("host_ns"))


def _thread(
    trace: TraceTables,
    tid: int | None,
    held: pl.DataFrame,
    waits: pl.DataFrame,
    calls: pl.DataFrame,
    states: States,
    stretch: float,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Pieces of the gaps that one thread held, and the site of each of its waits."""
    charged = charge(held, waits, stretch)
    taken = pl.DataFrame(
        {"start_ns": [each.start for each in charged], "end_ns": [each.end for each in charged]}, schema_overrides=_PAIR
    )
    host = without(held.select("start_ns", pl.col("held_ns").alias("end_ns")), taken)
    latency = without(held.select(pl.col("held_ns").alias("start_ns"), "end_ns"), taken)
    walk = Walk(states, host.rows())
    walk.run(_relevant_spans(trace, tid, calls, host, waits).iter_rows())
    seen = _seen(trace, tid)
    number = states.number(State(LATENCY))
    launches = held.select(pl.col("held_ns").alias("start_ns"), pl.col("launch_ns").alias("host_ns"))
    late = latency.join_asof(launches, on="start_ns", strategy="backward", check_sortedness=False)
    # A pause is no span: what it took has a label of its own.
    paused = states.number(State(causes.AFTER_PAUSE))
    of_waits = [(each.start, each.end, walk.waits.get(each.wait, paused), each.wait) for each in charged]
    parts = [
        _unseen(frame(walk.pieces), seen, states),
        late.select("start_ns", "end_ns", pl.lit(number, pl.Int64).alias("state"), "host_ns"),
        pl.DataFrame(of_waits, schema=PIECE, orient="row"),
    ]
    return pl.concat(parts), _sites(walk.waits, states)


def _seen(trace: TraceTables, tid: int | None) -> tuple[int, int]:
    """From the first to the last thing that the trace knows of a thread."""
    spans = [trace.lazy(table).filter(pl.col("tid").eq_missing(tid)) for table in ("host", "runtime")]
    extents = [
        each.select(pl.col("ts_ns").min(), (pl.col("ts_ns") + pl.col("dur_ns")).max().alias("end_ns")).collect() for each in spans
    ]
    start, end = pl.concat(extents).select(pl.col("ts_ns").min(), pl.col("end_ns").max()).row(0)
    return (0, 0) if start is None else (start, end)


def _unseen(pieces: pl.DataFrame, seen: tuple[int, int], states: States) -> pl.DataFrame:
    """Between its operators a thread runs Python; before the first and after the last nobody knows what it did."""
    number = states.number(State(UNEXPLAINED, "the launching thread left no trace"))
    outside = (pl.col("end_ns") <= seen[0]) | (pl.col("start_ns") >= seen[1])
    state = pl.when(outside & (pl.col("state") == 0)).then(number).otherwise("state")
    return pieces.with_columns(state.cast(pl.Int64).alias("state"))


_PAIR = {"start_ns": pl.Int64, "end_ns": pl.Int64}


def frame(pieces: Pieces) -> pl.DataFrame:
    """Pieces as a frame."""
    columns = (pieces.starts, pieces.ends, pieces.states, pieces.hosts)
    return pl.DataFrame(dict(zip(PIECE, columns, strict=True)), schema=PIECE)


def without(intervals: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """Intervals (start_ns, end_ns; sorted, disjoint) less the `taken` ones (sorted, disjoint); empty ones are left out."""
    nonempty = intervals.filter(pl.col("end_ns") > pl.col("start_ns"))
    if taken.is_empty() or nonempty.is_empty():
        return nonempty
    left: list[tuple[int, int]] = []
    cuts = taken.rows()
    first = 0
    for start, end in nonempty.iter_rows():
        while first < len(cuts) and cuts[first][1] <= start:
            first += 1
        clock, index = start, first
        while index < len(cuts) and cuts[index][0] < end:
            if cuts[index][0] > clock:
                left.append((clock, cuts[index][0]))
            clock = max(clock, cuts[index][1])
            index += 1
        if clock < end:
            left.append((clock, end))
    return pl.DataFrame(left, schema=_PAIR, orient="row")


def _relevant_spans(
    trace: TraceTables, tid: int | None, calls: pl.DataFrame, host: pl.DataFrame, waits: pl.DataFrame
) -> pl.DataFrame:
    """Spans of the thread, and the profiler's own, that share time with what has to be explained or with a wait, and those that
    tell what a compiled region is."""
    mine = pl.col("tid").eq_missing(tid)
    columns = ("kind", "name", "start_ns", "end_ns")
    spans = kinds.host_spans(trace).filter(mine | (pl.col("kind") == kinds.OVERHEAD)).select(columns).collect()
    wanted = [(host["start_ns"], host["end_ns"]), (waits["start_ns"], waits["end_ns"])]
    kept = [_sharing(kinds.telling(spans), spans, wanted)]
    mine_called = calls.filter(mine)
    called = _sharing(pl.Series([False] * mine_called.height, dtype=pl.Boolean), mine_called, wanted)
    resumed = kinds.resume_spans(trace).filter(mine).collect()
    notes = pl.concat([*kept, called, resumed], how="diagonal").with_columns(pl.col("note").fill_null(""))
    return kinds.noted(notes).select(*columns, "note", "types")


def _sharing(already: pl.Series, spans: pl.DataFrame, wanted: list[tuple[pl.Series, pl.Series]]) -> pl.DataFrame:
    """The spans of `already`, and those that share time with what is wanted."""
    mask = already
    for starts, ends in wanted:
        mask = mask | kinds.overlapping(spans, starts, ends)
    return spans.filter(mask)


def _sites(waits: dict[int, int], states: States) -> pl.DataFrame:
    """What each wait is called: start_ns, label, detail, region, chain (operators, outermost first)."""
    found = [
        (start, each.label, each.detail, each.region, list(each.chain)) for start, n in waits.items() for each in [states.all[n]]
    ]
    texts = dict.fromkeys(("label", "detail", "region"), pl.String)
    return pl.DataFrame(found, schema={"start_ns": pl.Int64, **texts, "chain": pl.List(pl.String)}, orient="row")


def _edge_labels(pieces: pl.DataFrame, states: States, first: int, last: int) -> pl.DataFrame:
    """Python before the first event of the trace, and all but the profiler's overhead after the last, have labels of their
    own."""
    before, after = (states.number(State(label)) for label in (BEFORE_FIRST, AFTER_LAST))
    overhead = [number for number, state in enumerate(states.all) if state.label == causes.PROFILER_OVERHEAD]
    python = [number for number, state in enumerate(states.all) if state.label == causes.PYTHON_BETWEEN]
    state = pl.col("state")
    named = (
        pl.when((pl.col("end_ns") <= first) & state.is_in(python))
        .then(before)
        .when((pl.col("start_ns") >= last) & ~state.is_in(overhead))
        .then(after)
        .otherwise(state)
    )
    return pieces.with_columns(named.cast(pl.Int64).alias("state"))
