"""A quantized run whose largest weights stayed in the dtype that they came in."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

import polars as pl

from profiler.core import scheme_bytes
from profiler.core.finding import Finding, Place
from profiler.core.units import format_size
from profiler.metrics.memory.labels import QUANTIZED, WEIGHTS
from profiler.rules.base import RULES, Rule
from profiler.rules.context import CALL, Context
from profiler.rules.memory_facts import CALL_EVENTS, LEAST, WEIGHTS_LIST, at_peak, ids, size_of
from profiler.rundir import layout

# Two-dimensional weights of modules with these names are tables, and no scheme of ours quantizes them.
_TABLES = ("shared", "embed_tokens", "token_embedding", "position_embedding", "relative_attention_bias", "wte", "wpe")
_LEFT = "left in "
_OPTIONS = {"text_encoder": "--quantize-text-encoder", "vae": "--quantize-vae"}
_DTYPES = {"bfloat16", "float16", "float32"}


def check(context: Context) -> Iterable[Finding]:
    """Linears left at the peak, a finding for each component of which they are a share worth it."""
    found = at_peak(context.run, context.rank)
    weights = found.live.filter(pl.col("category") == WEIGHTS)
    scheme = _scheme(context)
    if scheme is None or QUANTIZED not in weights["role"]:
        return
    linears = _with_shapes(weights.filter(pl.col("role").str.starts_with(_LEFT)), context)
    for name in linears["component"].unique(maintain_order=True):
        left = linears.filter(pl.col("component") == name)
        saving = sum(_saved(row, scheme) for row in left.iter_rows(named=True))
        if saving >= LEAST * found.peak.requested_bytes:
            yield _finding(context, name, left, saving, scheme)


def _finding(context: Context, name: str, left: pl.DataFrame, saving: int, scheme: str) -> Finding:
    dtype = left["role"][0].removeprefix(_LEFT)
    biggest = left.sort("size_bytes", "module", descending=[True, False]).head(3)
    return Finding(
        rule=RULE.name,
        title=f"{left.height} Linear{'s' if left.height > 1 else ''} of {name} stayed in {dtype}: {format_size(size_of(left))}",
        window=CALL,
        memory=True,
        where=tuple(Place(module=module) for module in biggest["module"]),
        count=left.height,
        held=ids(left),
        # The change moves the peak by what the weights shrink: they live through the whole call.
        saving_low_bytes=round(0.95 * saving),
        saving_high_bytes=saving,
        evidence=tuple(_evidence(context, name, left, saving, scheme)),
        change=_change(context, name),
        doc="docs/memory.md",
    )


def _evidence(context: Context, name: str, left: pl.DataFrame, saving: int, scheme: str) -> Iterable[str]:
    yield f"by arithmetic {scheme} stores them in {format_size(size_of(left) - saving)}"
    reasons = Counter(
        str(each.get("reason") or "no reason given")
        for each in context.manifest.applied.get("linears") or []
        if each.get("scheme") == "left" and str(each.get("module", "")).partition(".")[0] == name
    )
    yield from (f"{count} left: {why}" for why, count in reasons.most_common(3))


def _change(context: Context, name: str) -> str:
    part = "text_encoder" if name.startswith("text_encoder") else name
    option = _OPTIONS.get(part)
    if option and not context.spec.get(option[2:].replace("-", "_")):
        return f"{option}, then hold the output against this one (diffuscope compare gives the SQNR)"
    return "give them a weight-only scheme in the layer policy (profiler/schemes/policy.py)"


def _scheme(context: Context) -> str | None:
    """The scheme asked for, where its arithmetic is known."""
    asked = context.spec.get("scheme")
    return asked if isinstance(asked, str) and scheme_bytes.known(asked) and asked not in scheme_bytes.DENSE else None


def _with_shapes(left: pl.DataFrame, context: Context) -> pl.DataFrame:
    """The Linears among some weights: two-dimensional, and no table."""
    rows = json.loads(context.run.artifact(layout.WEIGHTS, context.rank).read_text(encoding="utf-8"))
    shapes = [(f"{each['component']}.{each['name']}", each["shape"]) for each in rows if _is_linear(each)]
    frame = pl.DataFrame(shapes, schema={"name": pl.String, "shape": pl.List(pl.Int64)}, orient="row")
    return left.join(frame.unique("name", maintain_order=True), on="name", how="inner", maintain_order="left")


def _is_linear(row: dict[str, Any]) -> bool:
    parts, shape = str(row["name"]).split("."), row.get("shape")
    module = parts[-2] if len(parts) > 1 else ""
    return parts[-1] == "weight" and isinstance(shape, list) and len(shape) == 2 and module not in _TABLES


def _saved(row: dict[str, Any], scheme: str) -> int:
    """What quantizing one weight saves; what is stored as more than one storage is counted as it lies."""
    outs, ins = row["shape"]
    dtype = row["dtype"] if row["dtype"] in _DTYPES else "bfloat16"
    small = scheme_bytes.weight_bytes(scheme, outs, ins, dtype)
    return max(0, int(row["size_bytes"]) - small.total) if small else 0


RULE = RULES.add(
    "memory-left",
    Rule(
        name="memory-left",
        summary="large weights of a quantized run stayed unquantized",
        check=check,
        needs=(CALL_EVENTS, WEIGHTS_LIST),
        priority=30,
    ),
)
