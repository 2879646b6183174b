"""Everything that is known of each allocation, gathered from its stack, the weights, the pools and the manifest."""

from __future__ import annotations

from typing import Any

import polars as pl

from profiler.metrics.memory.frame_rules import COMPILING, CONVERTING, LOADING
from profiler.metrics.memory.labels import QUANTIZED
from profiler.metrics.memory.lookup import at_index
from profiler.metrics.memory.onload import find_onloaded
from profiler.metrics.memory.source import COMPILING_REGION, Recording
from profiler.metrics.memory.stacks import stack_facts
from profiler.metrics.memory.windows import CALL_WINDOW
from profiler.rundir import layout
from profiler.rundir.manifest import Manifest

_WEIGHT = {"component": "weight_component", "role": "weight_role", "dtype": "weight_dtype", "module": "weight_module"}


def gather(rows: pl.DataFrame, recording: Recording, weights: pl.DataFrame, manifest: Manifest) -> pl.DataFrame:
    """`rows` (of `intervals.live_intervals`, with start_us and end_us) with every fact that `classify.classify` asks for."""
    facts = stack_facts(recording.stacks, weights["component"].unique().to_list() or _components(manifest))
    found = rows.join(facts, on="stack", how="left", maintain_order="left").with_columns(
        pl.col("component", "around", "operator", "quantizing", "place").fill_null(""), pl.col("in_module").fill_null(False)
    )
    compiling = pl.when(pl.col("region") == COMPILING_REGION).then(pl.lit(COMPILING)).otherwise("around")
    found = _with_weights(found.with_columns(compiling.alias("around")), weights)
    found = _with_onloaded(found, weights)
    found = _with_pools(found, recording.segments)
    found = _with_operators(found, recording.events)
    found = _with_cublas(found, manifest)
    return found.with_columns(_outlives(manifest).alias("outlives"), _beside_modules(found))


def _beside_modules(rows: pl.DataFrame) -> pl.Expr:
    """Whether an allocation was made inside the call, and no module was running, where modules are recorded."""
    recorded = bool((rows["module"] != "").any())
    inside = pl.col("window").str.contains(CALL_WINDOW) & (pl.col("module") == "")
    return (inside & recorded).alias("beside_modules")


def _components(manifest: Manifest) -> list[str]:
    totals = manifest.applied.get("weight_bytes") or {}
    return sorted({name.partition("/")[0] for name in totals})


def _with_weights(rows: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """What lives on where a weight lies at the end is that weight."""
    index = pl.col("device").str.extract(r":(\d+)$").cast(pl.Int32, strict=False).fill_null(-1)
    placed = weights.with_columns(index.alias("device")).rename(_WEIGHT | {"name": "weight_name", "size_bytes": "weight_bytes"})
    joined = rows.join(placed, on=["device", "address"], how="left", maintain_order="left")
    real = pl.col("end_index").is_null() & (pl.col("weight_bytes") <= pl.col("size_bytes"))
    names = [*_WEIGHT.values(), "weight_name"]
    matched = joined.with_columns(pl.when(real).then(name).alias(name) for name in names).drop("weight_bytes")
    return _with_quantized(matched, weights)


def _with_quantized(rows: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """Where one component alone is quantized, what quantizing holds while it works is that component's."""
    quantized = weights.filter(pl.col("role") == QUANTIZED)["component"].unique().to_list()
    if len(quantized) != 1:
        return rows
    own = (pl.col("around") == CONVERTING) & (pl.col("component") == "")
    return rows.with_columns(pl.when(own).then(pl.lit(quantized[0])).otherwise("component").alias("component"))


def _with_onloaded(rows: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    copies = find_onloaded(rows.filter(pl.col("weight_component").is_null()), weights)
    joined = rows.join(copies.with_columns(pl.lit(True).alias("onloaded")), on="id", how="left", maintain_order="left")
    names = ("component", "role", "dtype", "module", "name")
    merged = [pl.coalesce(f"weight_{name}", f"onload_{name}").alias(f"weight_{name}") for name in names]
    dropped = [f"onload_{name}" for name in names]
    return joined.with_columns(*merged, pl.col("onloaded").fill_null(False)).drop(dropped)


def _with_pools(rows: pl.DataFrame, segments: pl.DataFrame) -> pl.DataFrame:
    """Whether an allocation lies in a private pool: as its event says, or by the segments that are left at the end."""
    end = pl.col("address") + pl.col("total_bytes").cast(pl.UInt64)
    pools = segments.filter("pooled").sort("address")
    if pools.is_empty():
        return rows
    ranges = pools.select("device", pl.col("address").alias("pool"), end.alias("pool_end"))
    ordered = rows.sort("address")
    joined = ordered.join_asof(ranges, left_on="address", right_on="pool", by="device", check_sortedness=False)
    inside = (pl.col("address") < pl.col("pool_end")).fill_null(False)
    return joined.with_columns((inside | pl.col("pooled")).alias("pooled")).drop("pool", "pool_end").sort("id")


def _with_operators(rows: pl.DataFrame, events: pl.DataFrame) -> pl.DataFrame:
    """Whether an operator gave an allocation back before it returned: in the same call, or, where calls are not recorded, with
    nothing else happening between, and on the same stack."""
    runs = events.select(pl.struct("device", "stack").rle_id().alias("run"), "call", pl.col("operator").alias("by"))
    freed = rows.with_columns(pl.coalesce("freed_index", "end_index").alias("freed_index"))
    ends = at_index(runs.drop("by"), freed["freed_index"]).rename({"run": "run_freed", "call": "call_freed"})
    both = freed.hstack(at_index(runs, rows["start_index"])).hstack(ends)
    operator = pl.when(pl.col("by") != "").then("by").otherwise("operator")
    same_call = (pl.col("call") == pl.col("call_freed")).fill_null(False)
    same_stack = (pl.col("stack") != -1) & (pl.col("run") == pl.col("run_freed")) & (pl.col("operator") != "")
    within = (same_call | same_stack).fill_null(False)
    return both.with_columns(within.alias("in_operator"), operator.alias("operator")).drop(
        "run", "run_freed", "call", "call_freed", "by"
    )


def _with_cublas(rows: pl.DataFrame, manifest: Manifest) -> pl.DataFrame:
    """The workspaces that the recorder found at the end of the memory phase, by address and size."""
    phase = manifest.phase(layout.MEMORY_PHASE)
    listed = (phase.detail.get("cublas_workspaces") if phase else None) or []
    known = [(each["address"], each["requested_bytes"]) for each in listed if _is_workspace(each)]
    frame = pl.DataFrame(known, schema={"address": pl.UInt64, "size_bytes": pl.Int64}, orient="row")
    said = frame.unique().with_columns(pl.lit(True).alias("said_cublas"))
    joined = rows.join(said, on=["address", "size_bytes"], how="left", maintain_order="left")
    return joined.with_columns((pl.col("said_cublas").fill_null(False) & pl.col("end_index").is_null()).alias("said_cublas"))


def _is_workspace(each: Any) -> bool:
    return isinstance(each, dict) and all(
        isinstance(each.get(key), int) and 0 <= each[key] < 1 << 63 for key in ("address", "requested_bytes")
    )


def _outlives(manifest: Manifest) -> pl.Expr:
    """Whether something that loading made outlives its loading: a weight, perhaps one that quantizing replaces later."""
    happened = ((LOADING, manifest.phase(layout.LOAD)), (CONVERTING, manifest.phase(layout.QUANTIZE)))
    ends = {word: phase.end_ns for word, phase in happened if phase and phase.end_ns is not None}
    by_phase = [pl.when(pl.col("around") == word).then(pl.col("end_us") * 1000 > end) for word, end in ends.items()]
    return pl.col("end_index").is_null() | pl.coalesce(*by_phase, pl.lit(False)).fill_null(False)
