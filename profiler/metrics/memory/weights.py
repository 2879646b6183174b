"""The storages of the weights, as `weights.json` lists them: where they lie and what they are."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from profiler.core.errors import UnreadableInput
from profiler.metrics.memory.labels import QUANTIZED, WEIGHT
from profiler.rundir import layout
from profiler.tables.run import Run

_LISTED = {
    "component": pl.String,
    "name": pl.String,
    "role": pl.String,
    "dtype": pl.String,
    "device": pl.String,
    "address": pl.UInt64,
    "bytes": pl.Int64,
    "storage_bytes": pl.Int64,
}
STORAGES = {
    "address": pl.UInt64,
    "device": pl.String,
    "size_bytes": pl.Int64,
    "component": pl.String,
    "role": pl.String,
    "dtype": pl.String,
    "module": pl.String,
    "name": pl.String,
}
_SHORT = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def storages(run: Run, rank: int = 0) -> pl.DataFrame:
    """One row a storage: address, device, size_bytes, component, role, dtype, module, name (of its largest tensor).

    Where anything is quantized, a plain weight's role says in what it was left ("left in bf16"). Empty without `weights.json`.

    Raises:
        UnreadableInput: a `weights.json` that cannot be read as one.
    """
    path = run.artifact(layout.WEIGHTS, rank)
    if not path.exists():
        return pl.DataFrame(schema=STORAGES)
    return _by_storage(_listed(path))


def _listed(path: Path) -> pl.DataFrame:
    hint = "record the run again"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnreadableInput(f"cannot read {path}: {error}", hint) from None
    try:
        return pl.DataFrame([{name: row[name] for name in _LISTED} for row in rows], schema=_LISTED)
    except (TypeError, KeyError, OverflowError, pl.exceptions.PolarsError) as error:
        raise UnreadableInput(f"{path} is no list of weights: {error}", hint) from None


def _by_storage(listed: pl.DataFrame) -> pl.DataFrame:
    """Tensors that share a storage are one; a tensor without bytes has none."""
    real = listed.filter((pl.col("storage_bytes") > 0) & (pl.col("address") > 0))
    ordered = real.sort("bytes", descending=True, maintain_order=True)
    first = ordered.unique(["device", "address"], keep="first", maintain_order=True)
    quantized = (listed["role"] == QUANTIZED).any()
    short = pl.col("dtype").replace(_SHORT)
    left = pl.when((pl.col("role") == WEIGHT) & quantized).then(pl.lit("left in ") + short).otherwise("role")
    parent = pl.concat_str("component", pl.lit("."), pl.col("name").str.replace(r"\.?[^.]+$", "")).str.strip_chars_end(".")
    return first.select(
        "address",
        "device",
        pl.col("storage_bytes").alias("size_bytes"),
        "component",
        left.alias("role"),
        "dtype",
        parent.alias("module"),
        pl.concat_str("component", pl.lit("."), "name").alias("name"),
    )
