"""The ledger: a window cut into disjoint rows that sum to it, in integer nanoseconds.

Busy time is labelled by kernel class, idle time by what held the next kernel back. Without a GPU the operators of the main thread
are the busy time.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from profiler.metrics import ledger_cpu, ledger_gpu
from profiler.metrics.gpu_timeline import device_events
from profiler.metrics.ledger_pricing import Pricing, price, pricing_of, stretch_of
from profiler.metrics.ledger_segments import by_window, with_python_places
from profiler.metrics.windows import CALL, windows_of
from profiler.tables.run import Run

_KEYS = ("window", "index", "id", "kind", "label", "detail", "region")


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
            (the least that it
            can be: 0 for idle time without a known untraced time).
        segments: the stretches behind the rows: window, index, start_ns, end_ns, id, host_ns (start of the host call that it is
            laid to: the launch, the wait, the operator; null where there is none).
        waits: every host wait of the call: start_ns, end_ns, name, note, lead_ns, label, detail, region, chain (operators around
            it, outermost first); `lead_ns` is how long the device still worked meanwhile.
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
    trace = run.trace(rank)
    events = device_events(trace)
    every = windows_of(trace, events)
    name = window if (every["name"] == window).any() else CALL
    cut = ledger_cpu.cut if events.is_empty() else ledger_gpu.cut
    segments, waits = cut(trace, events, every, stretch_of(run.manifest, events, every))
    placed = with_python_places(trace, segments, every)
    # Prices come from the whole call, whatever window is asked for.
    totals = {kind: by_window(placed, every.filter(pl.col("name") == kind)) for kind in {name, CALL, "step"}}
    pricing = pricing_of(run.manifest, totals, every)
    mine = totals[name]
    return Ledger(
        window=name,
        source="cpu" if events.is_empty() else "gpu",
        windows=every.filter(pl.col("name") == name),
        rows=price(_rows(mine), pricing),
        segments=mine.filter(pl.col("end_ns") > pl.col("start_ns")).select(
            "window", "index", "start_ns", "end_ns", "id", "host_ns"
        ),
        waits=waits,
        pricing=pricing,
    )


def _rows(segments: pl.DataFrame) -> pl.DataFrame:
    """One row a window and id, longest first in each window. What a row counts: kernels as they are, else distinct host calls."""
    calls = pl.coalesce("host_ns", "start_ns").n_unique()
    kernels = (pl.col("kind") == "busy").first() & (pl.col("source") == "gpu").first()
    length = pl.col("end_ns") - pl.col("start_ns")
    rows = segments.group_by(_KEYS).agg(
        pl.when(kernels).then(pl.len()).otherwise(calls).cast(pl.Int64).alias("count"), length.sum().alias("total_ns")
    )
    nonzero = rows.filter((pl.col("total_ns") > 0) | (pl.col("kind") == "busy"))
    return nonzero.sort(["window", "index", "total_ns", "id"], descending=[False, False, True, False])
