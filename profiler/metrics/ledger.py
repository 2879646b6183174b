"""The ledger: a window cut into disjoint rows that sum to it, in integer nanoseconds.

Busy time is labelled by kernel class, idle time by what held the next kernel back. Without a GPU the operators of the main thread
are the busy time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import polars as pl

from profiler.metrics import ledger_cpu, ledger_gpu
from profiler.metrics.classes import COMMUNICATION
from profiler.metrics.gpu_timeline import device_events
from profiler.metrics.ledger_pricing import Pricing, knows_untraced, price, pricing_of, stretch_of
from profiler.metrics.ledger_recording import Marks
from profiler.metrics.ledger_segments import BUSY, Cut, in_windows, with_python_places
from profiler.metrics.ranks_cut import with_ranks
from profiler.metrics.ranks_pricing import beside_others
from profiler.metrics.ranks_waits import waits
from profiler.metrics.windows import CALL, COMPILE, DECODE, STEP, TEXT, windows_of
from profiler.tables.ranks import is_spread, manifest_of
from profiler.tables.run import Run

_SMALL_FIRST = (COMPILE, DECODE, TEXT, STEP, CALL)
_KEYS = ("index", "id", "kind", "label", "detail", "region")


@dataclass(frozen=True)
class Ledger:
    """The ledger of all windows of one name.

    Args:
        window: the name; `call` where the trace has none of the name that was asked for.
        source: "gpu" or "cpu": whose time is busy.
        windows: those windows, as `windows.windows` gives them.
        rows: one a window and id: window, index, id (`busy/GEMM bf16/<kernel>`, `idle/host wait/aten::item`), kind (busy, idle),
            label (class or cause), detail (kernel; which break, call, region), region (compile id around it, or empty), count
            (kernels, operators, waits or gaps), total_ns (as traced; sums to the window), priced_ns (untraced), priced_low_ns
            (the least that it can be: 0 for idle time without a known untraced time).
        segments: the stretches behind the rows: window, index, start_ns, end_ns, id, host_ns (start of the host call that it is
            laid to: the launch, the wait, the operator; null where there is none).
        waits: every host wait of the trace: index (of the window in which it began, or null), start_ns, end_ns, name, note,
            lead_ns, label, detail, region, chain (operators around it, outermost first); `lead_ns` is how long the device still
            worked meanwhile.
        pricing: how traced time became untraced time.
    """

    window: str
    source: str
    windows: pl.DataFrame
    rows: pl.DataFrame
    segments: pl.DataFrame
    waits: pl.DataFrame
    pricing: Pricing


def ledger(run: Run, window: str = "step", rank: int = 0) -> Ledger:
    """The ledger of the windows called `window` (text, step, decode, call, compile).

    Raises:
        UnreadableInput: no trace, or one that cannot be read.
    """
    return ledgers(run, [window], rank)[window]


def ledgers(run: Run, names: Sequence[str], rank: int = 0) -> dict[str, Ledger]:
    """The ledgers of several windows by the names that were asked for; the trace is cut once for all of them.

    Raises:
        UnreadableInput: no trace, or one that cannot be read.
    """
    manifest = manifest_of(run, rank)
    every, cut, on_gpu = _cut(run, rank)
    marks = Marks(run.trace(rank))
    if is_spread(run) and knows_untraced(manifest):
        cut, marks = beside_others(
            run.trace(rank), rank, cut, waits(run), lambda late: (_cut(run, late)[1], Marks(run.trace(late)))
        )
    # Prices come from the whole call of a recording, whatever window is asked for.
    pricing = pricing_of(manifest, cut, every, marks)
    known = set(every["name"])
    # Those of few segments first: the memory of the last one comes on top of all others.
    found = {name: name if name in known else CALL for name in names}
    made = {name: _of(name, every, cut, on_gpu, pricing, marks) for name in sorted(set(found.values()), key=_SMALL_FIRST.index)}
    return {name: made[found[name]] for name in names}


def _of(name: str, every: pl.DataFrame, cut: Cut, on_gpu: bool, pricing: Pricing, marks: Marks) -> Ledger:
    chosen = every.filter(pl.col("name") == name)
    segments, ids = in_windows(cut.segments, chosen), cut.ids()
    waits = _with_index(cut.waits, chosen)
    rows = _rows(_kept(segments, cut.labels, pricing, marks), ids, on_gpu)
    return Ledger(
        window=name,
        source="gpu" if on_gpu else "cpu",
        windows=chosen,
        rows=price(rows, pricing).select(pl.lit(name).alias("window"), pl.all()),
        segments=_listed(segments, ids, name),
        waits=waits,
        pricing=pricing,
    )


_CUTS: WeakKeyDictionary[Run, dict[int, tuple[pl.DataFrame, Cut, bool]]] = WeakKeyDictionary()


def _cut(run: Run, rank: int) -> tuple[pl.DataFrame, Cut, bool]:
    """All windows, the trace cut into labelled segments, and whether a GPU is in it; made once for each run and rank."""
    known = _CUTS.setdefault(run, {})
    if rank not in known:
        known[rank] = _made(run, rank)
    return known[rank]


def _made(run: Run, rank: int) -> tuple[pl.DataFrame, Cut, bool]:
    trace = run.trace(rank)
    events = device_events(trace)
    every = windows_of(trace, events)
    side = ledger_cpu if events.is_empty() else ledger_gpu
    cut = side.cut(trace, events, every, stretch_of(manifest_of(run, rank), events, every))
    if is_spread(run):
        cut = with_ranks(cut, events, waits(run).of(rank))
    placed = with_python_places(trace, cut, every)
    return every, replace(placed, segments=placed.segments.sort("start_ns")), side is ledger_gpu


def _listed(segments: pl.DataFrame, ids: pl.DataFrame, window: str) -> pl.DataFrame:
    """Segments of some length, with their ids."""
    listed = segments.lazy().filter(pl.col("end_ns") > pl.col("start_ns"))
    named = listed.join(ids.lazy().select("number", "id"), on="number", maintain_order="left")
    return named.select(pl.lit(window).alias("window"), "index", "start_ns", "end_ns", "id", "host_ns").collect()


def _kept(segments: pl.DataFrame, labels: pl.DataFrame, pricing: Pricing, marks: Marks) -> pl.DataFrame:
    """With `kept_ns`: what is left of each, were it idle, after what recording its events took; `standing_ns`: what stands."""
    length = pl.col("end_ns") - pl.col("start_ns")
    taken = marks.within(segments, labels) * pricing.mark_ns if pricing.mark_ns else pl.lit(0.0)
    stands = marks.stands(segments)
    kept = pl.when(stands).then(0.0).otherwise((length - taken).clip(lower_bound=0))
    return segments.with_columns(kept.alias("kept_ns"), pl.when(stands).then(length).otherwise(0).alias("standing_ns"))


def _rows(segments: pl.DataFrame, ids: pl.DataFrame, on_gpu: bool) -> pl.DataFrame:
    """One row a window and id, longest first in each window. What a row counts: kernels as they are, else distinct host calls."""
    # What hides a collective cuts it into several segments.
    whole = (pl.col("kind") == BUSY) & (pl.col("label") != COMMUNICATION)
    # Numbers of one id become the least of them.
    least = ids.select("number", pl.col("number").min().over("id").alias("same"), whole.alias("busy"))
    calls = pl.coalesce("host_ns", "start_ns").n_unique()
    summed = (
        segments.lazy()
        .join(least.lazy(), on="number")
        .group_by("index", "same")
        .agg(
            pl.when(pl.col("busy").first() & on_gpu).then(pl.len()).otherwise(calls).cast(pl.Int64).alias("count"),
            (pl.col("end_ns") - pl.col("start_ns")).sum().alias("total_ns"),
            pl.col("kept_ns", "standing_ns").sum(),
        )
        .collect()
    )
    rows = summed.join(ids, left_on="same", right_on="number").filter((pl.col("total_ns") > 0) | (pl.col("kind") == BUSY))
    return rows.select(*_KEYS, "count", "total_ns", "kept_ns", "standing_ns").sort(
        ["index", "total_ns", "id"], descending=[False, True, False]
    )


def _with_index(waits: pl.DataFrame, windows: pl.DataFrame) -> pl.DataFrame:
    """Waits with `index`: the window in whose range on the host they began, or null."""
    began = windows.sort("host_start_ns").select("index", "host_start_ns", "host_end_ns")
    found = waits.sort("start_ns").join_asof(
        began, left_on="start_ns", right_on="host_start_ns", strategy="backward", check_sortedness=False
    )
    inside = pl.when(pl.col("start_ns") < pl.col("host_end_ns")).then("index")
    return found.with_columns(inside.alias("index")).drop("host_start_ns", "host_end_ns")
