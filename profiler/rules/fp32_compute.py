"""GEMMs in fp32 inside a model of 16-bit weights."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

import polars as pl

from profiler.core.finding import Finding, Place, Saving
from profiler.rules.base import COMPILE_LOG, GPU_TRACE, RULES, Rule
from profiler.rules.context import Context
from profiler.rules.kernels_of import kernel_finding, milliseconds

_LEAST = 0.002
_SHOWN = 3
# A generated kernel that casts one tensor, and what its provenance says of where.
_CAST = r"^triton_poi_fused__to_copy(_\d+)?$"
_PLACE = re.compile(r"(?P<file>.+):(?P<line>\d+) (?P<function>.+)")
_WIDE = ("GEMM fp32", "GEMM tf32")


def check(context: Context) -> Iterable[Finding]:
    """GEMMs whose inputs are fp32 or tf32, per window, where they are more than a trace's noise."""
    if not _of_16_bits(context):
        return
    for window in context.windows():
        rows = context.select(window, lambda row: row.kind == "busy" and row.label in _WIDE)
        if rows and 1e6 * milliseconds(rows) >= _LEAST * context.duration_ns(window):
            found = kernel_finding(
                RULE.name,
                window,
                rows,
                f"GEMMs in fp32 inside a 16-bit model: {milliseconds(rows):.2f} ms a {window}",
                # The same product in bf16 on tensor cores: a tenth of the time, or less where it is small.
                Saving(share_low=0.6, share_high=0.95),
                "find the upcast (.float(), a float32 mask or embedding) and keep the dtype, or run it once outside the loop",
            )
            yield replace(found, where=_casts(context))


def _casts(context: Context) -> tuple[Place, ...]:
    """Where compiled code casts a tensor in a kernel of its own: what it is cast for, a GEMM, could not take the cast in."""
    if not context.has(COMPILE_LOG):
        return ()
    kernels = context.run.compile_log(context.rank).frame("provenance")
    listed = kernels.filter(pl.col("kernel").str.contains(_CAST))["places"].explode().drop_nulls().unique(maintain_order=True)
    matches = (_PLACE.fullmatch(each) for each in listed)
    return tuple(Place(each["file"], int(each["line"]), None, each["function"]) for each in matches if each)[:_SHOWN]


def _of_16_bits(context: Context) -> bool:
    """By the manifest; of a trace recorded elsewhere, whether narrower GEMMs take more time than those in fp32."""
    dtype = context.manifest.applied.get("base_dtype")
    if dtype:
        return dtype in ("bfloat16", "float16")
    gemms = [row for window in context.windows() for row in context.rows(window) if row.label.startswith("GEMM ")]
    wide = [row for row in gemms if row.label in (*_WIDE, "GEMM fp64")]
    return 2 * milliseconds(wide) < milliseconds(gemms)


RULE = RULES.add(
    "fp32-compute",
    Rule(name="fp32-compute", summary="fp32 GEMMs in a 16-bit model", check=check, needs=(GPU_TRACE,), priority=25),
)
