"""What one Linear costs under a scheme: its product, and the bytes that quantizing and unpacking move around it.

Products come from what was measured on the GPU: the run's own bf16 products, its ceilings, the table of tuned int8 kernels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from profiler.core.product import Shape
from profiler.core.scheme_bytes import DENSE_TWIN, weight_bytes
from profiler.metrics.floor_prices import COPY_GBS
from profiler.rundir.tuned_table import Entry

BASE = "bf16_tflops"
FP8, INT8 = "fp8_tflops", "int8_tops"
# The ceiling that a product of quantized activations comes near; other schemes multiply in bf16.
PRODUCTS = {"fp8dq": FP8, "fp8dqrow": FP8, "int8dq": INT8}
PRODUCTS |= {sparse: PRODUCTS[dense] for sparse, dense in DENSE_TWIN.items()}
TUNED_SCHEME = "int8dq"
SPARSE_GAIN = {"sparsify": (1.0, (0.75, 1.3)), "fp8-sparse": (1.05, (0.95, 1.3))}
"""How fast a 2:4 product is, of the fp8 ceiling of a dense one, and the range of that. Single products on one H100, three shapes
of Flux (docs/sparse.md): cuSPARSELt's int8 0.80 to 1.28 of it without the scaling around it, torchao's CUTLASS fp8 1.00 to 1.14;
a data sheet says 2."""
SPARSE_INT8 = "sparsify"
# What the host needs for one cuSPARSELt product beyond a launch: an operator in Python with a kept plan (others of ours took 60
# to 160 us), or torch's own call, which plans each product anew (single compiled Linears on one H100, for which the GPU waited).
_KEPT_US, _UNKEPT_US = (60.0, 20.0, 160.0), (660.0, 400.0, 1000.0)
# Torch's own int8 product is an Ampere kernel. Its instructions reach so much of what Hopper's own do: where the run's int8
# ceiling is that of a tuned kernel. (Luo et al. 2024, "Benchmarking and Dissecting the Nvidia Hopper GPU Architecture".)
_AMPERE_SHARE = 0.62
_INT_MM = "aten::_int_mm"
# Bytes an element: torch's own int8 product writes int32 (and computes nothing meanwhile), and a kernel scales that to bf16.
_SUMS, _SCALING = 4, 6
# Bytes an element of a Linear's input. Dynamic: it is read once more, since its scale needs all of a row, and written in 8 bits.
# int4dq rounds and goes on in bf16.
_QUANTIZING, _ROUNDING = 3, 4
_ROUNDS = ("int4dq",)
# One scale for the whole input: found by two kernels before the one that quantizes; a row's is found in that one.
_PER_TENSOR = ("fp8dq",)
FEW_ROWS = 16
"""Up to so many rows a Linear is bound by reading its weight once."""
# Ranges, of what is predicted. The same kernel as in the run: its bias may be added by another.
_SAME = (0.97, 1.05)
# Another dtype's kernel comes as near to its ceiling as bf16's does: shapes that were tuned reached 0.78 to 1.1 of it.
_OTHER_DTYPE = (0.92, 1.15)
# Of a tuned time: operands may lie in L2, or not.
_TABLE = (0.95, 1.1)
# A shape that nobody tuned takes the kernel of one that is near.
_NEAR = (1.0, 1.4)
# A weight that is read once: between the copy bandwidth and what kernels of one row reach (1.6 TB/s on an H100).
_READ = (0.9, 1.7)
_UNTUNED = (0.95, 1.25)
# Kernels that unpack a weight do nothing else; those that quantize an input are fused with what makes it, which is then made
# twice, and each Linear writes its own copy.
_UNPACK = (0.95, 1.25)
_QUANTIZE = (0.7, 2.0)
# Eager, each operator of torchao's quantizing is a kernel, most of them in float32: 33 bytes an element instead of 3 (absolute
# values 4, the largest 2, cast 6, divide 8, clamp 8, cast 5), 19 to unpack (cast 5, multiply 8, cast 6). Packed weights have a
# kernel of ours.
EAGER_QUANTIZING, EAGER_UNPACKING = 11.0, 6.0
_EAGER_RANGE = (0.6, 1.5)
_PACKED = ("fp6_e3m2", "fp5_e2m2", "fp4_e2m1", "int4dq", "int4wo")

Key = tuple[int, int, int]
"""M, K, N."""


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What was measured on the GPU.

    Args:
        ceilings: TFLOPS or TOPS by name, and the copy bandwidth.
        ceiling_kernels: what reached a ceiling, where the run says so.
        tuned: int8 kernels that a record there would take.
        fused: whether quantizing is compiled.
        kept_plans: whether cuSPARSELt's plans are kept from call to call.
    """

    ceilings: Mapping[str, float]
    ceiling_kernels: Mapping[str, str] = field(default_factory=dict)
    tuned: Mapping[Shape, Entry] = field(default_factory=dict)
    fused: bool = True
    kept_plans: bool = True

    def copy_us(self, size: float) -> float:
        """Time to read or write so many bytes."""
        return size / self.ceilings[COPY_GBS] / 1e3

    @property
    def eight_bit(self) -> float:
        """The fastest 8-bit product: a GPU that has both multiplies int8 as fast as fp8, but not with each kernel."""
        return max(self.ceilings[name] for name in (FP8, INT8) if name in self.ceilings)

    @property
    def dense(self) -> float:
        """What 2:4 products are held against."""
        return self.ceilings.get(FP8) or self.ceilings[INT8]

    @property
    def int_mm(self) -> float:
        """The rate of torch's own int8 product."""
        kernel = self.ceiling_kernels.get(INT8)
        own = kernel is None or kernel.startswith(_INT_MM)
        return self.ceilings[INT8] * (1.0 if own else _AMPERE_SHARE)


@dataclass(frozen=True)
class Part:
    """Microseconds of a call, and the range that they may lie in."""

    us: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def __add__(self, other: Part) -> Part:
        return Part(self.us + other.us, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Part:
        """All three, times a factor."""
        return Part(self.us * factor, self.low * factor, self.high * factor)


def part(us: float, within: tuple[float, float]) -> Part:
    """A time with its range, given as factors."""
    return Part(us, us * within[0], us * within[1])


@dataclass(frozen=True)
class LinearPrice:
    """One call of a Linear.

    Args:
        product: on tensor cores; or the reading of a weight, where rows are few.
        moving: kernels around it that quantize, unpack and scale: bound by memory.
        on_cores: whether the product keeps the tensor cores busy.
        burst: its time was measured alone, not in a run, whose products share the GPU's power.
        kernels: how many of them `moving` is.
        host: what the host needs for it, where that is more than a launch.
    """

    product: Part
    moving: Part = Part()
    on_cores: bool = True
    burst: bool = False
    kernels: int = 0
    host: Part = Part()

    @property
    def us(self) -> float:
        """Both together."""
        return self.product.us + self.moving.us


def linear_price(key: Key, scheme: str, base_us: float, rates: Rates) -> LinearPrice:
    """A Linear (M, K, N) under a scheme with known bytes; `base_us` is its bf16 product.

    Args:
        scheme: as `run.json` names it for a Linear.
    """
    if scheme in PRODUCTS:
        return _eight_bit(key, scheme, base_us, rates)
    rows, inputs, outputs = key
    few = rows <= FEW_ROWS
    stored = _stored(scheme, key)
    rounds = scheme in _ROUNDS
    rounding = _quantizing(_ROUNDING * rows * inputs, rates) if rounds else Part()
    if few:
        read = ideal_us(key, stored, BASE, rates)
        return LinearPrice(part(_lag(key, base_us, rates) * read, _READ), rounding, on_cores=False, kernels=int(rounds))
    unpacking = _unpacking((stored + 2) * inputs * outputs, rates, own_kernel=scheme in _PACKED)
    return LinearPrice(part(base_us, _SAME), unpacking + rounding, kernels=1 + rounds)


def left_price(key: Key, base_us: float) -> LinearPrice:
    """A Linear that stays as it is."""
    return LinearPrice(part(base_us, _SAME), on_cores=key[0] > FEW_ROWS)


def _eight_bit(key: Key, scheme: str, base_us: float, rates: Rates) -> LinearPrice:
    rows, inputs, _ = key
    quantizing = _quantizing(_QUANTIZING * rows * inputs, rates)
    if scheme in DENSE_TWIN:
        gain, within = SPARSE_GAIN[scheme]
        product = _lag(key, base_us, rates) * ideal_us(key, _stored(scheme, key), "", rates, rates.dense * gain, 1)
        host = Part(*(_KEPT_US if rates.kept_plans else _UNKEPT_US)) if scheme == SPARSE_INT8 else Part()
        return LinearPrice(part(product, (gain / within[1], gain / within[0])), quantizing, kernels=1, host=host)
    if scheme == TUNED_SCHEME:
        return _int8(key, base_us, quantizing, rates)
    product = _lag(key, base_us, rates) * ideal_us(key, _stored(scheme, key), PRODUCTS[scheme], rates, None, 1)
    kernels = 1 + _PER_TENSOR.count(scheme)
    return LinearPrice(part(product, _OTHER_DTYPE), quantizing, kernels=kernels)


def _int8(key: Key, base_us: float, quantizing: Part, rates: Rates) -> LinearPrice:
    entry = rates.tuned.get(Shape(*key))
    if entry is not None:
        return LinearPrice(part(entry.us, _TABLE), quantizing, burst=True, kernels=1)
    lag = _lag(key, base_us, rates)
    if rates.tuned:  # a record takes the kernel of a shape that is near
        product = lag * ideal_us(key, 1.0, "", rates, rates.eight_bit, 1)
        return LinearPrice(part(product, _NEAR), quantizing, kernels=1)
    elements = key[0] * key[2]
    product = lag * ideal_us(key, 1.0, "", rates, rates.int_mm, 1) + rates.copy_us(_SUMS * elements)
    return LinearPrice(part(product, _UNTUNED), quantizing + _unpacking(_SCALING * elements, rates), kernels=2)


def _quantizing(size: float, rates: Rates) -> Part:
    us = rates.copy_us(size)
    return part(us, _QUANTIZE) if rates.fused else part(us * EAGER_QUANTIZING, _EAGER_RANGE)


def _unpacking(size: float, rates: Rates, *, own_kernel: bool = False) -> Part:
    us = rates.copy_us(size)
    return part(us, _UNPACK) if rates.fused or own_kernel else part(us * EAGER_UNPACKING, _EAGER_RANGE)


def _lag(key: Key, base_us: float, rates: Rates) -> float:
    """How far bf16's product of this shape is from its ceiling: another dtype's is taken to be as far."""
    return max(1.0, base_us / ideal_us(key, 2.0, BASE, rates))


def _stored(scheme: str, key: Key) -> float:
    """Bytes a weight."""
    size = weight_bytes(scheme, key[2], key[1])
    assert size is not None  # every scheme with a known noise has known bytes
    return size.total / (key[1] * key[2])


def ideal_us(key: Key, weight_item: float, ceiling: str, rates: Rates, rate: float | None = None, input_item: int = 2) -> float:
    """The least time of a product in us: its FLOPs at a ceiling (or a given rate), or its bytes at the copy bandwidth."""
    rows, inputs, outputs = key
    moved = rows * inputs * input_item + inputs * outputs * weight_item + 2 * rows * outputs
    flops_us = 2 * rows * inputs * outputs / (rates.ceilings[ceiling] if rate is None else rate) / 1e6
    return max(flops_us, rates.copy_us(moved))
