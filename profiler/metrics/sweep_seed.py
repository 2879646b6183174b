"""A sweep held against the seed's tables: its row, ours, the ratio, and why they differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl

from profiler.metrics.sweep_seed_causes import Cause, causes
from profiler.metrics.sweep_seed_facts import SETUPS, Setup
from profiler.metrics.sweep_seed_layers import same_layers
from profiler.metrics.sweep_seed_memory import loading_peak, seed_call_gib
from profiler.tables.sweep import CellRun, SweepTables

SEED_CSV = Path(__file__).parent / "data" / "seed.csv"
# The seed's words for a scheme, the exact one first: its H100 rows of CogVideoX say `fp8` for what is fp8dq by time and memory.
_ALIASES = {"bf16": ("bf16", "None"), "fp8dq": ("fp8dq", "fp8"), "fp6_e3m2": ("fp6_e3m2", "fp6")}
_SPARSE: dict[str, tuple[tuple[str, bool], ...]] = {"sparsify": (("int8dq", True), ("sparsify", False)), "fp8-sparse": ()}
_SHAPE = ("steps", "height", "width", "frames", "guidance")
QUANTITIES = ("model_memory_gib", "inference_memory_gib", "time_s")
ROWS = {
    "id": pl.Utf8,
    "seed_row": pl.Int64,
    "seed_gpu": pl.Utf8,
    "same_gpu": pl.Boolean,
    "same_layers": pl.Boolean,
    "extrapolated": pl.Boolean,
    "inference_peak_gib": pl.Float64,
    "seed_call_gib": pl.Float64,
    **{f"{who}{name}": pl.Float64 for name in QUANTITIES for who in ("", "seed_")},
    **{f"{name.rpartition('_')[0]}_ratio": pl.Float64 for name in QUANTITIES},
}
"""Columns of `SeedComparison.rows`; ratios are ours over the seed's. `seed_row` counts the seed's rows from 0. `same_layers`:
all that the seed quantized is quantized. `seed_call_gib` is given where the seed's inference memory is the peak of loading and
quantizing: what its call needs, by its bf16 row; to be held against `inference_peak_gib`.
"""


@dataclass(frozen=True)
class SeedComparison:
    """A sweep beside the seed.

    Attributes:
        rows: one row a cell that the seed has too, columns as `ROWS`.
        causes: by cell, why its figures differ; cells within the thresholds have none.
        unmatched: by cell, why the seed has no row for it.
        seed_rows: rows of the seed for the swept models, on any device.
    """

    rows: pl.DataFrame
    causes: dict[str, list[Cause]]
    unmatched: dict[str, str]
    seed_rows: int

    @property
    def measured(self) -> int:
        """How many rows of the seed these are a time of: several cells may be held against one, and some did not get that far."""
        return self.rows.filter(pl.col("time_s").is_not_null())["seed_row"].n_unique()


@cache
def seed_rows() -> tuple[dict[str, Any], ...]:
    """The seed's measurements as it printed them, plus `name`, what this project calls the model, and `number`."""
    frame = pl.read_csv(SEED_CSV, schema_overrides={"quantize_vae": pl.Boolean}, infer_schema_length=None)
    names = {setup.seed_name: name for name, setup in SETUPS.items()}
    rows = enumerate(frame.iter_rows(named=True))
    return tuple(row | {"name": names[row["model"]], "number": number} for number, row in rows)


def against_seed(tables: SweepTables, rows: Sequence[dict[str, Any]]) -> SeedComparison:
    """The cells that the seed has too, beside it."""
    found: list[dict[str, Any]] = []
    why: dict[str, list[Cause]] = {}
    unmatched: dict[str, str] = {}
    runs = {each.cell.id: each for each in tables.cells}
    # What a cell is explained with does the same work: in a folder of several sizes a smaller picture is no faster machine.
    done = [row for row in rows if row["status"] == "ok"]
    alike = [row for row in done if (setup := SETUPS.get(str(row["model"]))) and not _other_work(row, setup)]
    for row, each in zip(rows, tables.cells, strict=True):
        seed, reason = _match(row, each)
        if seed is None:
            unmatched[row["id"]] = reason
            continue
        beside = _beside(row, seed, each)
        found.append(beside)
        said = causes(row, seed, each, alike, seed_rows(), runs) if row["status"] == "ok" else []
        if said:
            why[row["id"]] = said
    models = {row["model"] for row in rows}
    frame = pl.DataFrame([{name: row[name] for name in ROWS} for row in found], schema=ROWS)
    return SeedComparison(frame, why, unmatched, sum(seed["name"] in models for seed in seed_rows()))


def _match(row: dict[str, Any], each: CellRun) -> tuple[dict[str, Any] | None, str]:
    """The seed's row of a cell, on the same kind of GPU where it has one."""
    setup = SETUPS.get(str(row["model"]))
    if setup is None:
        return None, f"the seed did not measure {row['model']}"
    if not row["scheme"] or row["compile"] is None:
        return None, "its run does not say which scheme it is, or whether it is compiled"
    ranks = each.run.manifest.world_size if each.run else 1
    other = f"the seed ran on one GPU, this on {ranks} ranks" if ranks > 1 else _other_work(row, setup)
    if other:
        return None, other
    scheme, plain = str(row["scheme"]), str(row["quantization"])
    names = _SPARSE.get(scheme, tuple((name, False) for name in _ALIASES.get(plain, (plain,))))
    for quantization, sparsify in names:
        hits = [each for each in seed_rows() if _same(each, row, quantization, sparsify)]
        if hits:
            return max(hits, key=lambda each: _same_gpu(row, each)), ""
    return None, _other_batch(row, names) or "the seed has no row of these options"


def _other_batch(row: dict[str, Any], names: Sequence[tuple[str, bool]]) -> str:
    """Rows that differ in their batch alone: model memory does not depend on it."""
    hits = [
        each
        for each in seed_rows()
        if any(_same(each, row | {"batch_size": each["batch_size"]}, *name) for name in names)
        if _same_gpu(row, each) and each["model_memory_gib"] is not None
    ]
    if not hits:
        return ""
    sizes = ", ".join(str(each) for each in sorted({each["batch_size"] for each in hits}))
    theirs = min(hits, key=lambda each: abs(each["batch_size"] - (row["batch_size"] or 0)))["model_memory_gib"]
    mine = row.get("model_memory_gib")
    here = f", here {mine:.3f}" if mine is not None else ""
    return f"the seed measured these options at batch {sizes} alone: model memory {theirs:.3f} GiB there{here}"


def _other_work(row: dict[str, Any], setup: Setup) -> str:
    for name in _SHAPE:
        theirs, mine = getattr(setup, name), row[name]
        if theirs is not None and mine is not None and mine != theirs:
            return f"{name} is {theirs:g} in the seed and {mine:g} here"
    return ""


def _same(seed: dict[str, Any], row: dict[str, Any], quantization: str, sparsify: bool) -> bool:
    same = all(seed[key] == bool(row[key]) for key in ("compile", "compile_vae", "fuse_qkv"))
    vae = bool(seed["quantize_vae"]) == bool(row["quantize_vae"])
    what = (seed["name"], seed["batch_size"], seed["quantization"], seed["sparsify"])
    return same and vae and what == (row["model"], row["batch_size"], quantization, sparsify)


def _same_gpu(row: dict[str, Any], seed: dict[str, Any]) -> bool:
    return bool(re.search(rf"\b{re.escape(seed['gpu'])}\b", row.get("gpu") or ""))


def _beside(row: dict[str, Any], seed: dict[str, Any], each: CellRun) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": row["id"],
        "seed_row": seed["number"],
        "seed_gpu": seed["gpu"],
        "same_gpu": _same_gpu(row, seed),
    }
    found |= {"extrapolated": row["extrapolated"], "same_layers": same_layers(row, each)}
    call = seed_call_gib(seed, seed_rows())
    loading = call is not None and loading_peak(seed, call)
    found |= {"inference_peak_gib": row.get("inference_peak_gib"), "seed_call_gib": call if loading else None}
    for name in QUANTITIES:
        mine, theirs = row.get(name), seed[name]
        found |= {name: mine, f"seed_{name}": theirs}
        found[f"{name.rpartition('_')[0]}_ratio"] = mine / theirs if mine is not None and theirs else None
    return found
