"""What packed weights save: the memory that unpacking them in every call pays for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_GIB = 2.0**30
_DENSE = 2
# Parts of `applied.weight_bytes` that stand in for a quantized weight: "transformer/scale/bfloat16".
_PARTS = ("quantized data", "scale", "zero point", "sparsity metadata")


@dataclass(frozen=True)
class Packed:
    """GiB of all quantized Linears' weights: as stored, in bf16, and with a byte each."""

    stored: float
    dense: float
    bytewise: float


def packed_weights(applied: Mapping[str, Any]) -> Packed | None:
    """By the manifest's `applied`; None where it does not hold what is stored, or nothing is smaller than bf16."""
    linears = [each for each in applied.get("linears") or [] if each.get("scheme") not in (None, "left")]
    components = {str(each["module"]).partition(".")[0] for each in linears}
    stored = sum(size for name, size in (applied.get("weight_bytes") or {}).items() if _belongs(name, components))
    weights = sum(each["in_features"] * each["out_features"] for each in linears)
    return Packed(stored / _GIB, _DENSE * weights / _GIB, weights / _GIB) if 0 < stored < _DENSE * weights else None


def _belongs(name: str, components: set[str]) -> bool:
    component, _, rest = name.partition("/")
    return component in components and rest.partition("/")[0] in _PARTS
