"""What compiling would leave of an eager run's elementwise kernels: the bytes that fused ones still move.

Between two products (GEMM, attention, convolution) Inductor fuses all pointwise operators, norms and copies. What stays is bound
by memory: it reads what products, or fused kernels between other products, wrote, and writes what these will read. A trace does
not name its tensors, so a tensor is followed by its size: an operator reads the tensor of that size that fits best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from profiler.metrics.classes import ATTENTION, MEMSET
from profiler.metrics.floor_bytes import element_bytes, moved
from profiler.metrics.floor_calls import SIZES, Call, Tensor, call_of
from profiler.metrics.floor_prices import multiplies

Size = tuple[int, int]
"""Elements, and bytes of one."""

# Tensors of one size that may be the one that is read.
_LOOKED_AT = 24
# Smaller tensors stay in caches: what they cost is the launch.
_SMALL_BYTES = 1 << 16


@dataclass(frozen=True)
class Fusion:
    """What is left of a step's elementwise kernels.

    Args:
        chains: bytes and kernels of each stretch between two products.
        kept_us: kernels that compiling leaves as they are: memsets, and those without a known operator.
        eager_us: all elementwise kernels as they ran.
    """

    chains: list[tuple[int, int]]
    kept_us: float
    eager_us: float

    @property
    def kernels(self) -> int:
        """Fused kernels of a step: as many as there are sizes of results, between each two products."""
        return sum(count for _, count in self.chains)

    def us(self, copy_gbs: float, launch_us: float) -> float:
        """Time of what is left: bytes at the copy bandwidth, a kernel at least `launch_us`."""
        return self.kept_us + sum(max(size / copy_gbs / 1e3, count * launch_us) for size, count in self.chains)


def fusion(events: pl.DataFrame) -> Fusion:
    """The fusion of the events of one window, in their order, as `floor_events.window_events` gives them."""
    flow, kept, eager, last = _Flow(), 0, 0, None
    for row in events.iter_rows(named=True):
        product = multiplies(row["class"])
        if not product:
            eager += row["own_ns"]
        # Several kernels of one call are one product.
        if product and last is not None and row["call_id"] == last:
            continue
        last = row["call_id"] if product else None
        texts = (row["input_dims"], row["input_types"], row["input_strides"], row["concrete_inputs"])
        call = None if row["op"] is None or row["class"] == MEMSET else call_of(row["op"], row["name"], row["class"], texts)
        if product:
            flow.product(*_product_sizes(call))
        elif call is None:
            kept += row["own_ns"]
        else:
            flow.elementwise(call.op, *_elementwise_sizes(call))
    return Fusion(flow.chains(), kept / 1e3, eager / 1e3)


def _product_sizes(call: Call | None) -> tuple[list[Size], list[Size]]:
    """What a product reads that is no weight, and its result."""
    matrices = [each for each in (call.arguments if call else ()) if each and len(each.shape) > 1]
    if not matrices or call is None:
        return [], []
    if call.label == ATTENTION:
        return [_size(each) for each in matrices[:3]], [_size(matrices[0])]
    if len(matrices) < 2 or len(matrices[0].shape) > 3:  # a convolution: what it writes is not told by its arguments
        return [_size(matrices[0])], []
    first, second = matrices[:2]
    batched = len(first.shape) == 3
    result = math.prod(first.shape[:-1]) * second.shape[-1]
    return [_size(each) for each in (matrices[:2] if batched else matrices[:1])], [(result, SIZES[first.dtype])]


def _elementwise_sizes(call: Call) -> tuple[list[Size], list[Size]]:
    if call.op == "aten::cat":
        item = element_bytes(call.kernel)
        sizes = [(math.prod(shape), item) for shape in (call.lists or {}).get(0, ()) if item]
        return sizes, [(sum(count for count, _ in sizes), item)] if sizes else []
    if call.op == "aten::copy_" and call.tensors:
        target, *sources = call.tensors
        return [_size(each) for each in sources], [_size(target)]
    given = [_size(each) for each in call.tensors]
    rest = (moved(call) or 0) - sum(count * item for count, item in given)
    if rest <= 0:
        return given, []
    rank = max(len(each.shape) for each in call.tensors)
    padded = [(1,) * (rank - len(each.shape)) + each.shape for each in call.tensors]
    elements = math.prod(max(sizes) for sizes in zip(*padded, strict=True)) or 1
    return given, [(elements, max(1, rest // elements))]


def _size(tensor: Tensor) -> Size:
    return tensor.distinct, SIZES[tensor.dtype]


@dataclass(eq=False)
class _Tensor:
    size: Size
    chain: int
    by_product: bool
    op: str = ""
    used: bool = False
    for_product: bool = False
    written: bool = False
    readers: set[int] = field(default_factory=set)

    @property
    def size_bytes(self) -> int:
        return self.size[0] * self.size[1]


class _Flow:
    """Tensors as they come and go; a chain is what lies between two products."""

    def __init__(self) -> None:
        self._known: dict[Size, list[_Tensor]] = {}
        self._chain, self._open = 0, False
        self._bytes: dict[int, int] = {}
        self._kernels: dict[int, set[int]] = {}

    def chains(self) -> list[tuple[int, int]]:
        """Bytes and kernels of each chain."""
        return [(self._bytes.get(each, 0), len(results)) for each, results in self._kernels.items()]

    def product(self, inputs: Iterable[Size], outputs: Iterable[Size]) -> None:
        taken: list[_Tensor] = []
        for size in inputs:
            found = self._best(size, taken, lambda at, each: (_product_rank(each), at))
            if found is not None:
                found.used = found.for_product = True
                self._write(found)
                taken.append(found)
        self._chain, self._open = self._chain + self._open, False
        for size in outputs:
            self._add(_Tensor(size, self._chain, by_product=True))

    def elementwise(self, op: str, inputs: Iterable[Size], outputs: Iterable[Size]) -> None:
        self._open = True
        taken: list[_Tensor] = []
        for size in inputs:
            if size[0] * size[1] >= _SMALL_BYTES:
                taken.append(self._read(op, size, taken))
        for size in outputs:
            small = size[0] * size[1] < _SMALL_BYTES
            self._kernels.setdefault(self._chain, set()).add(0 if small else size[0])
            if not small:
                self._add(_Tensor(size, self._chain, by_product=False, op=op))

    def _read(self, op: str, size: Size, taken: list[_Tensor]) -> _Tensor:
        several = bool(taken)
        found = self._best(size, taken, lambda at, each: self._rank(op, at, each, several))
        if found is None:  # an input of the whole model
            found = _Tensor(size, -1, by_product=True)
            self._add(found)
        if not self._own(found) and self._chain not in found.readers:
            found.readers.add(self._chain)
            self._count(self._chain, found.size_bytes)
            self._write(found)
        found.used = True
        return found

    def _best(self, size: Size, taken: list[_Tensor], rank: Any) -> _Tensor | None:
        newest = [each for each in reversed(self._known.get(size, [])[-_LOOKED_AT:]) if each not in taken]
        return min(enumerate(newest), key=lambda each: rank(*each))[1] if newest else None

    def _rank(self, op: str, at: int, each: _Tensor, several: bool) -> tuple[int, int]:
        """What was just made comes first, then what waits longest; a second operand is rather a tensor not read yet.

        The same operator twice in a row does to the next tensor what it did to the one before: both are normed.
        """
        own = self._own(each)
        if not each.used:
            return (0 if each.op != op else 2, at) if own else (1, -at)
        if own:
            return 4, at
        if self._chain in each.readers:
            return 5, at
        return (3 if several else 6), at

    def _own(self, each: _Tensor) -> bool:
        return each.chain == self._chain and not each.by_product

    def _write(self, each: _Tensor) -> None:
        """It leaves its chain: written, once."""
        if not each.by_product and not each.written:
            each.written = True
            self._count(each.chain, each.size_bytes)

    def _count(self, chain: int, size: int) -> None:
        self._bytes[chain] = self._bytes.get(chain, 0) + size

    def _add(self, each: _Tensor) -> None:
        self._known.setdefault(each.size, []).append(each)


def _product_rank(each: _Tensor) -> int:
    """Projections of one tensor follow each other: it was used, by a product; a product seldom reads another's result."""
    if not each.by_product and not each.used:
        return 0
    if not each.by_product and each.for_product:
        return 1
    return 2 if not each.used else 3
