"""What each allocation is for: exactly one category, with component, role, dtype and module.

What is known best decides: the address of a weight, then the pool, then what was going on around the allocation, then who made
it by the recorded module, then by its stack.
"""

from __future__ import annotations

import polars as pl

from profiler.metrics.memory import frame_rules, labels
from profiler.metrics.memory.intervals import BEFORE_RECORDING

# Sizes of the workspaces that cuBLAS takes at its first product and keeps: cuBLASLt, cuBLAS before Hopper, cuBLAS since.
_CUBLAS_BYTES = (1 << 20, (4096 * 2 + 16 * 8) << 10, 32 << 20)

_WEIGHT = pl.col("weight_component").is_not_null()
_OUTSIDE = pl.col("owner").is_in([labels.SCHEDULER, labels.PIPELINE])


def classify(facts: pl.DataFrame) -> pl.DataFrame:
    """`facts` with category, component, role, dtype, module and name.

    Args:
        facts: one row an allocation, with the columns that `attribution.gather` makes.
    """
    named = pl.when(pl.col("module") != "").then(pl.col("module").str.extract(r"^([^.]*)"))
    # The pipeline's own work has no module, and on a CPU no stack that would say so.
    alone = (pl.col("stack") == -1) & (pl.col("around") == "")
    piped = pl.when(alone & pl.col("beside_modules")).then(pl.lit(labels.PIPELINE))
    owner = pl.coalesce(named, pl.when(pl.col("component") != "").then("component"), piped, pl.lit(""))
    ready = facts.with_columns(owner.alias("owner"), _is_cublas().alias("cublas"))
    categorised = ready.with_columns(_category().alias("category"))
    component = pl.coalesce(
        pl.when(pl.col("category") == labels.WEIGHTS).then("weight_component"),
        pl.when(pl.col("cublas") & (pl.col("category") == labels.WORKSPACE)).then(pl.lit(labels.SHARED)),
        pl.when(pl.col("owner") != "").then("owner"),
        pl.lit(labels.UNATTRIBUTED),
    )
    return categorised.with_columns(component.alias("component"), _role().alias("role")).with_columns(
        pl.col("weight_dtype").fill_null("").alias("dtype"),
        pl.coalesce("weight_module", pl.when(~pl.col("onloaded") & (pl.col("module") != "")).then("module"), "component").alias(
            "module"
        ),
        pl.col("weight_name").fill_null("").alias("name"),
    )


def _is_cublas() -> pl.Expr:
    """A workspace that cuBLAS keeps: said by the recorder, or taken by a product, of such a size, and never given back."""
    product = (pl.col("operator") == labels.GEMM) | (pl.col("region") != "")
    kept = pl.col("end_index").is_null() & pl.col("size_bytes").is_in(_CUBLAS_BYTES)
    # A result may have that size too, and live on. The workspace comes with the first product.
    first = pl.col("id") == pl.col("id").filter(product & kept).min().over("device", "size_bytes")
    return ~_WEIGHT & (pl.col("said_cublas") | (product & kept & first)).fill_null(False)


def _category() -> pl.Expr:
    around = pl.col("around")
    return (
        pl.when(_WEIGHT & ~pl.col("onloaded"))
        .then(pl.lit(labels.WEIGHTS))
        .when("pooled")
        .then(pl.lit(labels.GRAPH_POOL))
        .when("cublas")
        .then(pl.lit(labels.WORKSPACE))
        .when(around.is_in([frame_rules.TUNING, frame_rules.COMPILING]))
        .then(pl.lit(labels.COMPILE))
        .when(pl.col("onloaded") | around.is_in([frame_rules.LOADING, frame_rules.CONVERTING]))
        .then(pl.lit(labels.WEIGHTS))
        .when("in_operator")
        .then(pl.lit(labels.WORKSPACE))
        .when(_OUTSIDE)
        .then(pl.lit(labels.INPUTS_OUTPUTS))
        .when((pl.col("owner") != "") | pl.col("in_module"))
        .then(pl.lit(labels.ACTIVATIONS))
        .when(pl.col("start_index") == BEFORE_RECORDING)
        .then(pl.lit(labels.BEFORE))
        .otherwise(pl.lit(labels.UNKNOWN))
    )


def _role() -> pl.Expr:
    category = pl.col("category")
    tuned = pl.when(pl.col("around") == frame_rules.TUNING).then(pl.lit(labels.AUTOTUNE)).otherwise(pl.lit(labels.COMPILATION))
    passing = pl.when("outlives").then(pl.lit(labels.WEIGHT)).otherwise(pl.lit(labels.CONVERSION))
    working = pl.when("cublas").then(pl.lit(labels.GEMM)).otherwise("operator")
    quantizing = pl.when(pl.col("quantizing") != "").then("quantizing").otherwise(pl.lit(labels.ACTIVATION))
    return (
        pl.when(category == labels.WEIGHTS)
        .then(pl.coalesce("weight_role", passing))
        .when(category == labels.WORKSPACE)
        .then(working)
        .when(category == labels.COMPILE)
        .then(tuned)
        .when(category.is_in([labels.ACTIVATIONS, labels.GRAPH_POOL]))
        .then(quantizing)
        .otherwise(category)
    )
