"""Every table of a CUDA memory snapshot and every column in it, as readers get them."""

from __future__ import annotations

import polars as pl

from profiler.tables import parquet, snapshot_layout
from profiler.tables.schema import Column, Table
from profiler.tables.snapshot_layout import ACTIONS, KINDS, NO_STACK, SNAPSHOT_VERSION, STATES

__all__ = ["ACTIONS", "KINDS", "NO_STACK", "SNAPSHOT_VERSION", "STATES", "TABLES"]

_DTYPES: dict[parquet.Kind, type[pl.DataType]] = {
    parquet.INT16: pl.Int16,
    parquet.INT32: pl.Int32,
    parquet.INT64: pl.Int64,
    parquet.UINT32: pl.UInt32,
    parquet.UINT64: pl.UInt64,
    parquet.FLAG: pl.Boolean,
    parquet.TEXTS: pl.String,
}


def _table(name: str) -> Table:
    columns, doc = snapshot_layout.TABLES[name]
    # Every table ends with the rank, which `Table` adds itself.
    shown = [Column(each.name, _DTYPES[each.kind], each.source, each.doc) for each in columns[:-1]]
    return Table(name, doc, frozenset(), tuple(shown))


TABLES = {name: _table(name) for name in snapshot_layout.TABLES}
