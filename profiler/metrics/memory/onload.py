"""Weights under an offload: hooks bring copies whose addresses nobody knows beforehand, but whose sizes are those of weights."""

from __future__ import annotations

import polars as pl

from profiler.metrics.memory.frame_rules import ONLOADING
from profiler.metrics.memory.labels import PIPELINE, SCHEDULER


def find_onloaded(rows: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """One row an allocation that is a copy of a weight: id, onload_component, onload_role, onload_dtype.

    Component: by the recorded module, else by the stack, else by the one component that has weights of the sizes that one
    hook brought together; null where several could be meant.

    Args:
        rows: id, start_index, size_bytes, module, component, around (of the stacks).
        weights: `weights.storages`.
    """
    marked = rows.sort("start_index").with_columns((pl.col("around") == ONLOADING).fill_null(False).alias("by_hook"))
    bursts = marked.with_columns(pl.col("by_hook").rle_id().alias("burst")).filter("by_hook")
    sized = bursts.join(weights.select("size_bytes").unique(), on="size_bytes", how="semi")
    named = sized.join(_burst_components(sized, weights), on="burst", how="left", maintain_order="left")
    inner = pl.when(~pl.col("component").is_in(["", PIPELINE, SCHEDULER])).then("component")
    module = pl.when(pl.col("module") != "").then(pl.col("module").str.extract(r"^([^.]*)"))
    owned = named.with_columns(pl.coalesce(module, inner, "burst_component").alias("onload_component"))
    return owned.join(
        _kinds(weights), left_on=["onload_component", "size_bytes"], right_on=["component", "size_bytes"], how="left"
    ).select("id", "onload_component", "onload_role", "onload_dtype")


def _burst_components(sized: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """For each burst the component that has every size in it; null where several do, or none."""
    owners = weights.select("size_bytes", "component").unique()
    pairs = sized.select("burst", "size_bytes").unique().join(owners, on="size_bytes")
    wanted = sized.group_by("burst").agg(pl.col("size_bytes").n_unique().alias("sizes"))
    covered = pairs.group_by("burst", "component").agg(pl.len().alias("covered")).join(wanted, on="burst")
    whole = covered.filter(pl.col("covered") == pl.col("sizes")).group_by("burst").agg(pl.col("component"))
    only = pl.when(pl.col("component").list.len() == 1).then(pl.col("component").list.first())
    return whole.select("burst", only.alias("burst_component"))


def _kinds(weights: pl.DataFrame) -> pl.DataFrame:
    """Role and dtype of a component's weights of one size, null where they differ."""
    alike = {name: pl.when(pl.col(name).n_unique() == 1).then(pl.col(name).first()) for name in ("role", "dtype")}
    return weights.group_by("component", "size_bytes").agg(one.alias(f"onload_{name}") for name, one in alike.items())
