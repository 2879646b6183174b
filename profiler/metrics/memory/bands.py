"""Windows of a call's memory events, and the phases of the whole run as bands beside them."""

from __future__ import annotations

import polars as pl

from profiler.metrics.memory.allocations import study
from profiler.metrics.memory.source import MEMORY_PART
from profiler.tables.ranks import manifest_of
from profiler.tables.run import Run

_BANDS = {
    "name": pl.String,
    "start_us": pl.Int64,
    "end_us": pl.Int64,
    "alloc_bytes": pl.Int64,
    "peak_bytes": pl.Int64,
    "reserved_bytes": pl.Int64,
}


def memory_windows(run: Run, rank: int = 0, part: str = MEMORY_PART) -> pl.DataFrame:
    """Text encoding, each step, decoding and the call of a part: name, index, label ("step/0"), start_us, end_us (epoch).

    Raises:
        UnreadableInput: the run holds no memory events of this part, or they cannot be read.
    """
    return study(run, rank, part).windows


def phase_bands(run: Run, rank: int = 0) -> pl.DataFrame:
    """The phases of the whole run, as one rank went through them, in order: name, start_us, end_us (epoch; null while, or where,
    it never ended), and the bytes allocated at its end, at its peak and reserved at its end (null on a CPU).

    From `run.json` alone, of several ranks from `rank.json`.
    """
    rows = [
        (
            each.name,
            each.start_ns // 1000,
            None if each.end_ns is None else each.end_ns // 1000,
            each.alloc_bytes,
            each.peak_bytes,
            each.reserved_bytes,
        )
        for each in manifest_of(run, rank).phases
    ]
    return pl.DataFrame(rows, schema=_BANDS, orient="row")
