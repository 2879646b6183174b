"""Weights under an offload: hooks bring copies whose addresses nobody knows beforehand, but whose sizes are those of weights."""

from __future__ import annotations

import polars as pl

from profiler.metrics.memory.frame_rules import ONLOADING
from profiler.metrics.memory.labels import PIPELINE, SCHEDULER

_KIND = ("role", "dtype", "module", "name")


def find_onloaded(rows: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """One row an allocation that is a copy of a weight: id, and component, role, dtype, module, name after `onload_`.

    Component: by the recorded module, else by the stack, else by the one component that has weights of all sizes that one
    hook brought together; null where several could be meant. The rest is what all weights of that component and size have in
    common, or all of the recorded module where it has such; null where they differ.

    Args:
        rows: id, start_index, size_bytes, module, component, around (of the stacks).
        weights: `weights.storages`.
    """
    marked = rows.sort("start_index").with_columns((pl.col("around") == ONLOADING).fill_null(False).alias("by_hook"))
    bursts = marked.with_columns(pl.col("by_hook").rle_id().alias("burst")).filter("by_hook")
    sized = bursts.join(weights.select("size_bytes").unique(), on="size_bytes", how="semi")
    named = sized.join(_burst_components(sized, weights), on="burst", how="left", maintain_order="left")
    owned = named.with_columns(_component(weights).alias("onload_component"))
    return owned.select("id", "onload_component").join(_common(owned, weights), on="id", how="left", maintain_order="left")


def _burst_components(sized: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """For each burst the component that has every size in it; null where several do, or none."""
    owners = weights.select("size_bytes", "component").unique()
    pairs = sized.select("burst", "size_bytes").unique().join(owners, on="size_bytes")
    wanted = sized.group_by("burst").agg(pl.col("size_bytes").n_unique().alias("sizes"))
    covered = pairs.group_by("burst", "component").agg(pl.len().alias("covered")).join(wanted, on="burst")
    whole = covered.filter(pl.col("covered") == pl.col("sizes")).group_by("burst").agg(pl.col("component"))
    only = pl.when(pl.col("component").list.len() == 1).then(pl.col("component").list.first())
    return whole.select("burst", only.alias("burst_component"))


def _component(weights: pl.DataFrame) -> pl.Expr:
    """The first that has weights at all: of the recorded module, of the stack, of the burst."""
    having = weights["component"].unique().to_list()
    module, inner = pl.col("module").str.extract(r"^([^.]*)"), pl.col("component")
    outside = inner.is_in([PIPELINE, SCHEDULER])
    return pl.coalesce(
        pl.when(module.is_in(having)).then(module),
        pl.when(inner.is_in(having) & ~outside).then(inner),
        "burst_component",
    )


def _common(owned: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """What the weights that a copy may be of have in common. A prefetch runs inside one module and brings another's weights."""
    names = {each: f"onload_{each}" for each in _KIND}
    copies = owned.select("id", "size_bytes", component="onload_component", inside="module")
    pairs = copies.join(weights.select("component", "size_bytes", *_KIND).rename(names), on=["component", "size_bytes"])
    path = pl.col("onload_module") + "."
    within = path.str.starts_with(pl.col("inside") + ".") & (pl.col("inside") != "")
    preferred = pairs.with_columns(within.alias("within")).filter(pl.col("within") | ~pl.col("within").any().over("id"))
    alike = [pl.when(pl.col(each).n_unique() == 1).then(pl.col(each).first()).alias(each) for each in names.values()]
    within_module = pl.when(pl.col("within").any()).then(pl.col("inside").first())
    found = preferred.group_by("id").agg(*alike, within_module.alias("inside"))
    return found.with_columns(pl.coalesce("onload_module", "inside").alias("onload_module")).drop("inside")
