"""The floor: the least time that this GPU could need for the kernels of a window, at the rates that were measured on it.

A product needs its FLOPs at the matmul rate of its dtype, and everything its bytes at the copy bandwidth: what takes longer
counts. It is the floor of these kernels as they are cut: fusing two of them needs fewer bytes, and lowers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from profiler.metrics.classes import COMMUNICATION
from profiler.metrics.floor_ceilings import Raised, priced, raise_ceilings
from profiler.metrics.floor_events import CALL_KEYS, window_events
from profiler.metrics.floor_prices import BYTES, FLOP, Price, price_copy, usable
from profiler.metrics.ledger import Ledger
from profiler.metrics.ledger_segments import BUSY
from profiler.tables import schema
from profiler.tables.ranks import is_spread
from profiler.tables.run import Run

_PRICE = {"ideal_ns": pl.Float64, "bound": pl.String, "flops": pl.Float64, "helper": pl.Boolean, "why": pl.String}
_CLASSES = {
    "class": pl.String,
    **dict.fromkeys(("count", "priced", "clamped", "measured_ns", "floor_ns", "ratio", "flops"), pl.Float64),
    "bound": pl.String,
}
_UNPRICED = {"why": pl.String, "name": pl.String, "count": pl.Float64, "measured_ns": pl.Float64}
_OWN = pl.col("own_ns").cast(pl.Float64)
# Kernels of one call share its work by the time that they took; helpers take no part in it, a memcpy or memset has its own.
_OF_CALL = pl.col("call_id").is_not_null() & (pl.col("cat") == schema.KERNEL)
_ALL_NS = pl.when(_OF_CALL).then(pl.col("dur_ns").sum().over("index", "call_id", "helper", "cat")).otherwise("dur_ns")
_PART = pl.col("own_ns") / _ALL_NS.clip(1)
# The time of a kernel is known to a few ns: nothing is clamped for less.
_CLAMPED = pl.col("floor_ns") < 0.999 * pl.col("whole_ns")


@dataclass(frozen=True)
class Floor:
    """The floor of one repeat of a window.

    Args:
        classes: one row a kernel class, longest first: class, count (kernels), priced, clamped (kernels whose floor would be more
            than their measured time, and is that), measured_ns (the ledger's busy time), floor_ns, ratio (null where the floor
            is 0), flops, bound (FLOP or bytes, by what holds more of the floor; empty where nothing is priced).
        unpriced: what keeps its measured time as its floor: why (no shapes, no ceiling), name (operator, else kernel), count,
            measured_ns; longest first.
        why: why there is no floor; empty where there is one.
        raised: the ceilings that kernels of these windows beat, and that were therefore taken as they reached them.
    """

    classes: pl.DataFrame
    unpriced: pl.DataFrame
    why: str = ""
    raised: tuple[Raised, ...] = ()

    @property
    def floor_ns(self) -> float:
        """The least time of one repeat, nothing idle."""
        return float(self.classes["floor_ns"].sum())

    @property
    def unpriced_ns(self) -> float:
        """The part of it that is measured time, for want of a price."""
        return float(self.unpriced["measured_ns"].sum())


def floor(run: Run, of: Ledger, rank: int = 0) -> Floor:
    """The floor of the windows of a ledger; with `why` and no rows where the run has no ceilings or nothing ran on a GPU.

    Raises:
        UnreadableInput: no trace, or one that cannot be read.
    """
    ceilings = usable(run.manifest.environment.get("ceilings") or {})
    why = _why_none(run, of, ceilings)
    if why:
        return Floor(pl.DataFrame(schema=_CLASSES), pl.DataFrame(schema=_UNPRICED), why)
    events = window_events(run.trace(rank), of.windows)
    events = _without_waiting(events, of) if is_spread(run) else events
    ceilings, raised = raise_ceilings(run, events, ceilings)
    return replace(_summed(_floors(events, ceilings), max(1, of.windows.height)), raised=raised)


def _without_waiting(events: pl.DataFrame, of: Ledger) -> pl.DataFrame:
    """A collective that waits for a slower rank runs a kernel, and does nothing: only what the ledger calls busy counts."""
    busy = int(of.rows.filter((pl.col("kind") == BUSY) & (pl.col("label") == COMMUNICATION))["total_ns"].sum())
    communicates = pl.col("class") == COMMUNICATION
    share = min(1.0, busy / max(1, int(events.filter(communicates)["own_ns"].sum())))
    return events.with_columns(
        pl.when(communicates).then((pl.col("own_ns") * share).cast(pl.Int64)).otherwise("own_ns").alias("own_ns")
    )


def _why_none(run: Run, of: Ledger, ceilings: Mapping[str, float]) -> str:
    if of.source != "gpu":
        return "nothing ran on a GPU"
    if ceilings:
        return ""
    return "the run has no measured ceilings" + (" (an imported trace brings none)" if run.manifest.kind == "import" else "")


def _floors(events: pl.DataFrame, ceilings: Mapping[str, float]) -> pl.DataFrame:
    """Events with the columns of Price, `whole_ns` (their part of the call's least time) and `floor_ns`."""
    calls = events.select("class", *CALL_KEYS).unique(maintain_order=True)
    prices = [_price(row, ceilings) for row in calls.iter_rows(named=True)]
    columns = {name: [getattr(each, name) for each in prices] for name in _PRICE}
    prices_of = calls.hstack(pl.DataFrame(columns, schema=_PRICE))
    joined = events.join(prices_of, on=["class", *CALL_KEYS], how="left", nulls_equal=True)
    whole = joined.with_columns((pl.col("ideal_ns") * _PART).fill_null(_OWN).alias("whole_ns"), pl.col("flops") * _PART)
    return whole.with_columns(pl.min_horizontal("whole_ns", _OWN).alias("floor_ns"))


def _price(row: dict[str, Any], ceilings: Mapping[str, float]) -> Price:
    is_kernel = row["cat"] == schema.KERNEL
    return priced(row, ceilings) if is_kernel else price_copy(row["name"], row["size_bytes"], ceilings)


def _summed(events: pl.DataFrame, repeats: int) -> Floor:
    classes = events.group_by("class").agg(
        pl.len() / repeats,
        (pl.col("why") == "").sum().alias("priced") / repeats,
        _CLAMPED.sum().alias("clamped") / repeats,
        pl.col("own_ns").sum().alias("measured_ns") / repeats,
        pl.col("floor_ns").sum() / repeats,
        pl.col("flops").sum() / repeats,
        _bound().alias("bound"),
    )
    ratio = pl.when(pl.col("floor_ns") > 0).then(pl.col("measured_ns") / pl.col("floor_ns")).alias("ratio")
    listed = classes.rename({"len": "count"}).with_columns(ratio).sort(["measured_ns", "class"], descending=[True, False])
    unpriced = events.filter(pl.col("why") != "").group_by("why", pl.coalesce("op", "name").alias("name"))
    missing = unpriced.agg(pl.len().alias("count") / repeats, pl.col("own_ns").sum().alias("measured_ns") / repeats)
    return Floor(listed.select(list(_CLASSES)), missing.sort(["measured_ns", "name"], descending=[True, False]))


def _bound() -> pl.Expr:
    """What holds more of a class's priced floor."""
    flop, size = (pl.col("floor_ns").filter(pl.col("bound") == each).sum() for each in (FLOP, BYTES))
    return pl.when((flop == 0) & (size == 0)).then(pl.lit("")).when(flop >= size).then(pl.lit(FLOP)).otherwise(pl.lit(BYTES))
