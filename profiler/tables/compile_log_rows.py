"""Rows of a compile log's tables while it is read, and the frames that they become."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from profiler.tables import compile_log_schema as schema

Row = dict[str, Any]
# Of the graphs of one compile, the one that cost most says how the cache did.
_WORST = ("bypass", "miss", "hit")
_INT64 = 1 << 63


@dataclass
class Rows:
    """Rows by table, and each compile's row by (generation, compile id)."""

    tables: dict[str, list[Row]] = field(default_factory=lambda: {name: [] for name in schema.TABLES})
    compiles: dict[tuple[int, str | None], Row] = field(default_factory=dict)
    kernels: dict[tuple[int, str | None, str], Row] = field(default_factory=dict)

    def add(self, table: str, **values: Any) -> None:
        """Add a row; columns that are not named are null."""
        self.tables[table].append(values)

    def compile(self, generation: int, compile_id: str | None, **first: Any) -> Row:
        """The row of a compile, made with `first` where it is new."""
        key = (generation, compile_id)
        if key not in self.compiles:
            fresh = {"fx_keys": [], "attempts": 1, "is_recompile": False, "has_graph": False, "skipped": False}
            self.compiles[key] = fresh | first | {"generation": generation, "compile_id": compile_id}
        return self.compiles[key]

    def frames(self) -> dict[str, pl.DataFrame]:
        """Every table, with all its columns."""
        self._name_the_nameless()
        self.tables["compiles"] = list(self.compiles.values())
        self.tables["provenance"] = list(self.kernels.values())
        return {name: _frame(name, rows) for name, rows in self.tables.items()}

    def _name_the_nameless(self) -> None:
        """A compile that ended before it began (recompile limit) has the function of its frame's other compiles."""
        known: dict[tuple[int, str], Row] = {}
        for (generation, compile_id), row in self.compiles.items():
            frame = (generation, (compile_id or "").rpartition("/")[0])
            if row.get("function"):
                known.setdefault(frame, row)
            elif frame in known:
                row.update({name: known[frame].get(name) for name in ("function", "file", "line")})


def worst(before: str | None, now: str) -> str:
    """The costlier of two states of a cache."""
    return min((each for each in (before, now) if each in _WORST), key=_WORST.index, default=now)


def _frame(name: str, rows: Sequence[Row]) -> pl.DataFrame:
    dtypes = schema.TABLES[name].dtypes
    columns = {column: [_bounded(row.get(column)) for row in rows] for column in dtypes}
    return pl.DataFrame(columns, schema=dtypes, strict=False)


def _bounded(value: Any) -> Any:
    """A hostile integer that no 64-bit column holds is no value."""
    return None if isinstance(value, int) and not -_INT64 <= value < _INT64 else value
