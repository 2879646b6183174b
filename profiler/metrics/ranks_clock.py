"""One clock for all ranks, read from the collectives.

All ranks leave a blocking collective at nearly the same instant, whenever they came. So the difference of two ranks' end times of
one collective is the difference of their clocks, and the median over many does not mind the few that were left late.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

# Those that end together on all ranks: the root of a broadcast may leave early.
_BLOCKING = r"^_?(all|reducescatter|barrier|sendrecv)"
SAME_HOST, COLLECTIVES, UNKNOWN, FOREIGN = "same host", "collectives", "not aligned", "another run"
# Collectives of one run end together to within far less than this share of the time that they span.
_MOST_APART = 0.01

_SCHEMA = {"rank": pl.Int64, "shift_ns": pl.Int64, "error_ns": pl.Int64, "collectives": pl.Int64, "by": pl.String}
_Row = tuple[int, int | None, int | None, int, str]


def clocks(calls: pl.DataFrame, bases: Mapping[int, int], hosts: Mapping[int, str]) -> pl.DataFrame:
    """One row a rank: `shift_ns` (add it to a time of the rank's trace for the time on the first rank's clock, epoch where that
    one has it), `error_ns` (median distance of the collectives from it), `collectives` (how many it was read from), `by`.

    Ranks of one host with epoch times share a clock. One that shares no collective with any other has no shift, nor has one whose
    collectives lie at another time and do not end with the other's: its trace is of another run.

    Args:
        calls: of `ranks_collectives.matched`.
        bases: by rank, what makes epoch time of trace time, or 0.
        hosts: by rank, the name of the machine, or empty.
    """
    if not bases:
        return pl.DataFrame(schema=_SCHEMA)
    first = min(bases)
    ends = calls.filter(pl.col("kind").str.contains(_BLOCKING)).select("rank", "key", "end_ns")
    rows: dict[int, _Row] = {first: (first, bases[first], 0, 0, SAME_HOST)}
    waiting = set(bases) - {first}
    while waiting:
        placed = {rank: row for rank, row in rows.items() if row[1] is not None}
        near = {rank: found for rank in waiting if (found := _place(rank, placed, ends, bases, hosts))}
        if not near:
            break
        rows |= near
        waiting -= set(near)
    rows |= {rank: (rank, None, None, 0, UNKNOWN) for rank in waiting}
    return pl.DataFrame(sorted(rows.values()), schema=_SCHEMA, orient="row")


def _place(
    rank: int, placed: Mapping[int, _Row], ends: pl.DataFrame, bases: Mapping[int, int], hosts: Mapping[int, str]
) -> _Row | None:
    """The rank beside one that is placed already: of the same host, else the one that it shares most collectives with."""
    for other, (_, shift, error, _, _) in placed.items():
        if hosts.get(rank) and hosts[rank] == hosts.get(other) and bases[rank] and bases[other] and shift is not None:
            return rank, shift + bases[rank] - bases[other], error, 0, SAME_HOST
    found = max((_differences(rank, other, ends) for other in placed), key=lambda each: len(each[1]), default=(0, pl.Series()))
    other, apart = found
    if not len(apart):
        return None
    _, shift, error, _, _ = placed[other]
    middle = apart.median()
    spread = (apart - middle).abs().median()
    assert shift is not None and error is not None and isinstance(middle, int | float) and isinstance(spread, int | float)
    ahead = shift + middle - bases[rank]
    if bases[rank] and bases[other] and _strange(abs(ahead), spread, ends.filter(pl.col("rank") == rank)["end_ns"]):
        return rank, None, None, 0, FOREIGN
    return rank, shift + round(middle), error + round(spread), len(apart), COLLECTIVES


def _strange(ahead_ns: float, spread_ns: float, ends: pl.Series) -> bool:
    """Whether collectives lie at another time, and do not end with the other rank's however its clock is set."""
    first, last = ends.min(), ends.max()
    assert isinstance(first, int) and isinstance(last, int)
    return ahead_ns > last - first and spread_ns > _MOST_APART * (last - first)


def _differences(rank: int, other: int, ends: pl.DataFrame) -> tuple[int, pl.Series]:
    """`other`, and by how much its clock is ahead, one value a shared collective."""
    mine, theirs = (ends.filter(pl.col("rank") == each) for each in (rank, other))
    both = theirs.join(mine, on="key", suffix="_mine")
    return other, both["end_ns"] - both["end_ns_mine"]
