"""Where in the source one rank does what another does not."""

from __future__ import annotations

from collections import Counter

import polars as pl

from profiler.core.finding import Place
from profiler.metrics.ledger_segments import BUSY
from profiler.metrics.places import Caller, Calls
from profiler.rules.context import Context
from profiler.rules.host_sync import places
from profiler.tables import schema


def called_more(slow: Context, other: Context, window: str, label: str) -> tuple[Place, ...]:
    """The places that call the operators behind a label more often on one rank than on another, the greatest surplus first.

    Empty where no trace with stacks tells.
    """
    names = _operators(slow, window, label) - _operators(other, window, label)
    calls = Calls(frozenset(names), window)
    theirs = Counter({_key(each): each.count for each in other.callers(calls)})
    surplus = [(each.count - theirs[_key(each)], each) for each in slow.callers(calls)]
    more = sorted((each for each in surplus if each[0] > 0), key=lambda each: -each[0])
    return places([each for _, each in more])


def _key(each: Caller) -> tuple[str, Place, tuple[str, ...]]:
    return each.operator, each.place, each.modules


def _operators(context: Context, window: str, label: str) -> Counter[str]:
    """How often each operator does or launches work of a label, in all windows of the name."""
    of = context.ledger(window)
    ids = [row.id for row in context.rows(window) if (row.kind, row.label) == (BUSY, label)]
    began = of.segments.filter(pl.col("id").is_in(ids)).select(pl.col("host_ns").alias("ts_ns")).drop_nulls().unique()
    host = context.run.trace(context.rank).lazy("host").filter(pl.col("cat") == schema.CPU_OP)
    operators = host.select("name", "ts_ns").collect().sort("ts_ns", maintain_order=True)
    around = began.sort("ts_ns").join_asof(operators, on="ts_ns", strategy="backward").drop_nulls("name")
    return Counter(dict(around["name"].value_counts().iter_rows()))
