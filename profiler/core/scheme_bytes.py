"""What a weight costs by arithmetic: bits a weight, scales and zero points, by scheme and shape.

The record side may predict with it, the analysis side holds measured bytes against it.
"""

from __future__ import annotations

from dataclasses import dataclass

ITEM_BYTES = {"bfloat16": 2, "float16": 2, "float32": 4}
"""Bytes of one element of a torch dtype that a weight can be left in."""

DENSE = ("left", "bf16", "fp16")
"""What `run.json` calls a Linear that no scheme changed, and the schemes that change none."""

DENSE_TWIN = {"sparsify": "int8dq", "fp8-sparse": "fp8dqrow"}
"""Schemes with 2:4 sparse weights, and what each is without: the seed writes `sparsify` as int8dq with sparsity."""

PRUNED = (
    "2:4 by magnitude prunes half of every weight: random weights have no redundancy to prune, and real ones need training for it"
)
"""What to know of the quality of those schemes."""


@dataclass(frozen=True)
class WeightBytes:
    """Bytes of one weight: packed data (with the places of non-zeros, where sparse), scales, zero points."""

    data: int
    scales: int = 0
    zero_points: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.data + self.scales + self.zero_points


@dataclass(frozen=True)
class _Layout:
    """How a scheme stores a weight of `out x in`.

    Attributes:
        bits: of one element of the dense weight, places of non-zeros counted in.
        scale_bytes: of one scale; 0 where it has the dtype of the weight that it replaces.
        zero_bytes: of one zero point; 0 where none is stored.
        group: elements of a row that share a scale; 0 for the whole row.
        per_tensor: one scale for all rows.
        pad_out, pad_in: both sizes are padded to multiples of these.
    """

    bits: int
    scale_bytes: int = 4
    zero_bytes: int = 0
    group: int = 0
    per_tensor: bool = False
    pad_out: int = 1
    pad_in: int = 1


# As torchao 0.18 stores them. 2:4 sparse: half of the elements, and two bits that say where each of them stood.
_LAYOUTS = {
    "fp8wo": _Layout(8),
    "fp8dq": _Layout(8, per_tensor=True),
    "fp8dqrow": _Layout(8),
    # torchao keeps a zero point a row though it is always 0.
    "int8wo": _Layout(8, zero_bytes=1),
    "int8dq": _Layout(8, zero_bytes=1),
    # `tile_packed_to_4d`: scale and zero point stand side by side in bfloat16.
    "int4wo": _Layout(4, scale_bytes=2, zero_bytes=2, group=128, pad_out=8, pad_in=1024),
    # Ours: two in a byte, and no zero points, which are all 0. torchao has a byte for each weight and each zero point.
    "int4dq": _Layout(4, scale_bytes=0, group=32),
    "fp6_e3m2": _Layout(6, scale_bytes=0),
    "fp5_e2m2": _Layout(5, scale_bytes=0),
    "fp4_e2m1": _Layout(4, scale_bytes=0),
    "sparsify": _Layout(5),
    "fp8-sparse": _Layout(5),
}


def known(scheme: str) -> bool:
    """Whether there is arithmetic for a scheme."""
    return scheme in DENSE or scheme in _LAYOUTS


def weight_bytes(scheme: str, out_features: int, in_features: int, base_dtype: str = "bfloat16") -> WeightBytes | None:
    """Bytes of a Linear's weight under a scheme; None for a scheme or dtype that is not known here.

    Args:
        scheme: as `run.json` names it for each Linear; `left` is the weight in its base dtype.
        base_dtype: torch's name of what is not quantized.
    """
    item = ITEM_BYTES.get(base_dtype)
    if item is None or not known(scheme):
        return None
    if scheme in DENSE:
        return WeightBytes(out_features * in_features * item)
    return _quantized(_LAYOUTS[scheme], out_features, in_features, item)


def _quantized(layout: _Layout, out_features: int, in_features: int, item: int) -> WeightBytes:
    rows, columns = _padded(out_features, layout.pad_out), _padded(in_features, layout.pad_in)
    scales = 1 if layout.per_tensor else rows * (-(-columns // layout.group) if layout.group else 1)
    data = -(-rows * columns * layout.bits // 8)
    return WeightBytes(data, scales * (layout.scale_bytes or item), scales * layout.zero_bytes)


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple
