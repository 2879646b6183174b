"""A table too long for memory, as a row of Parquet files."""

from __future__ import annotations

from pathlib import Path

import polars as pl

# Rows a Parquet file: small enough to hold in memory beside a batch, large enough to scan fast.
PART_ROWS = 1 << 17


class Parts:
    """One table's growing row of Parquet files, `<name>-<number>.parquet`."""

    def __init__(self, folder: Path, name: str) -> None:
        self.rows = 0
        self._folder = folder
        self._name = name
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self._files = 0

    def add(self, rows: pl.DataFrame) -> None:
        """Append rows; a file is written once enough wait."""
        self._waiting.append(rows)
        self._waiting_rows += rows.height
        self.rows += rows.height
        if self._waiting_rows >= PART_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting_rows:
            path = self._folder / f"{self._name}-{self._files:05d}.parquet"
            pl.concat(self._waiting).write_parquet(path, compression="zstd", compression_level=1)
            self._files += 1
        self._waiting, self._waiting_rows = [], 0
