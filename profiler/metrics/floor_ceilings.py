"""Ceilings that a run's own kernels beat: what was measured with one kernel is no limit of the GPU where another is faster.

A little above a ceiling is another clock, or a shape that suits the kernel better. More than that is another kernel, and what it
reached is then the most that is known of this GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from profiler.metrics.floor_calls import call_of
from profiler.metrics.floor_events import CALL_KEYS
from profiler.metrics.floor_prices import FLOP, Price, price
from profiler.tables import schema
from profiler.tables.run import Run

# More than clocks and shapes explain: on an H100 the very library that the ceiling was measured with came up to 1.15 times it.
_ANOTHER = 1.25
# Of shorter calls a trace's clock may make any rate.
_LEAST_NS = 20_000
_CALL = ("index", "call_id")


@dataclass(frozen=True)
class Raised:
    """A ceiling that a kernel of the run beat.

    Args:
        name: of the ceiling, for example `int8_tops`.
        recorded: what was measured beside the run, in 10^12 operations a second.
        reached: the median rate of the calls of one shape in the run: it stands in for the recorded one.
        kernel: the kernel that reached it.
        measured_with: the kernel of the recorded one; empty where the run does not say.
    """

    name: str
    recorded: float
    reached: float
    kernel: str
    measured_with: str = ""


def raise_ceilings(run: Run, events: pl.DataFrame, ceilings: Mapping[str, float]) -> tuple[dict[str, float], tuple[Raised, ...]]:
    """The ceilings of a run, those raised that its kernels beat, and which these are.

    Args:
        events: of some windows, as `window_events` has them.
        ceilings: as recorded, `usable`.
    """
    kernels = run.manifest.environment.get("ceiling_kernels") or {}
    found: dict[str, Raised] = {}
    for name, kernel, rate in _rates(events, ceilings):
        most = found[name].reached if name in found else _ANOTHER * ceilings[name]
        if rate > most:
            found[name] = Raised(name, ceilings[name], rate, kernel, kernels.get(name, ""))
    return {**ceilings, **{name: each.reached for name, each in found.items()}}, tuple(found.values())


def priced(row: Mapping[str, Any], ceilings: Mapping[str, float]) -> Price:
    """The price of a kernel by CALL_KEYS and its class."""
    texts = (row["input_dims"], row["input_types"], row["input_strides"], row["concrete_inputs"])
    return price(call_of(row["op"], row["name"], row["class"], texts) if row["op"] else None, ceilings)


def _rates(events: pl.DataFrame, ceilings: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """(ceiling, kernel, 10^12 operations a second) of the calls that a ceiling holds back, by shape."""
    kernels = events.filter(pl.col("call_id").is_not_null() & (pl.col("cat") == schema.KERNEL))
    # All kernels of a call count, whichever of them multiplies.
    whole = kernels.with_columns(pl.col("dur_ns").sum().over(_CALL).alias("call_ns"))
    shapes = whole.group_by("class", *CALL_KEYS, maintain_order=True).agg(pl.col("call_ns").median())
    found = []
    for row in shapes.filter(pl.col("call_ns") >= _LEAST_NS).iter_rows(named=True):
        each = priced(row, ceilings)
        if each.bound == FLOP:
            found.append((each.ceiling, row["name"], each.flops / row["call_ns"] / 1e3))
    return found
