"""What the seed quantized and a cell did not, in Linears and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from profiler.core.scheme_bytes import DENSE, weight_bytes
from profiler.core.units import GIB
from profiler.metrics.sweep_seed_facts import SETUPS
from profiler.rundir.manifest import Manifest
from profiler.tables.sweep import CellRun


def same_layers(row: dict[str, Any], each: CellRun) -> bool | None:
    """Whether everything that the seed quantized is quantized in the cell; None where the cell does not say."""
    if row["scheme"] in DENSE:
        return True
    if each.run is None or not each.run.manifest.applied.get("linears"):
        return None
    return not any(left_linears(each.run.manifest)) and not text_encoder_left(row, each.run.manifest)


def left_linears(manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Linears of the transformer that stay in the base dtype: the seed quantized every one."""
    for linear in manifest.applied.get("linears") or []:
        if linear.get("scheme") == "left" and (linear.get("module") or "").startswith("transformer."):
            yield linear


def left_gib(row: dict[str, Any], manifest: Manifest) -> float:
    """What these take more than they would quantized, by arithmetic."""
    dtype = manifest.applied.get("base_dtype") or "bfloat16"
    total = 0
    for linear in left_linears(manifest):
        rows, columns = linear.get("out_features"), linear.get("in_features")
        if isinstance(rows, int) and isinstance(columns, int) and 0 < rows * columns < 1 << 62:
            dense, packed = (weight_bytes(scheme, rows, columns, dtype) for scheme in ("left", str(row["scheme"])))
            total += dense.total - packed.total if dense and packed else 0
    return total / GIB


def text_encoder_left(row: dict[str, Any], manifest: Manifest) -> str:
    """The text encoder that the seed quantized and the cell did not; empty where there is none."""
    setup = SETUPS.get(str(row["model"]))
    if setup is None or not setup.text_encoder or manifest.spec.get("quantize_text_encoder"):
        return ""
    return setup.text_encoder


def component_gib(manifest: Manifest, component: str) -> float:
    """Bytes of a component as it is stored, in GiB; 0 where the run does not say."""
    sums = manifest.applied.get("weight_bytes") or {}
    return float(sum(size for name, size in sums.items() if name.partition("/")[0] == component)) / GIB
