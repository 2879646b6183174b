"""The least time of one call at the rates that were measured on the run's own GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from profiler.metrics.classes import ATTENTION, CONVOLUTION, GEMM, SPARSE
from profiler.metrics.floor_bytes import moved
from profiler.metrics.floor_calls import Call
from profiler.metrics.floor_products import Work, product

FLOP, BYTES = "FLOP", "bytes"
NO_SHAPES, NO_CEILING = "no shapes", "no ceiling"
COPY_GBS = "copy_gbs"
TFLOPS = {
    "c10::BFloat16": "bf16_tflops",
    "c10::Half": "fp16_tflops",
    "float": "fp32_tflops",
    "c10::Float8_e4m3fn": "fp8_tflops",
    "c10::Float8_e5m2": "fp8_tflops",
    "signed char": "int8_tops",
}
"""The ceiling of each dtype, as Kineto writes it."""
SPARSE_TFLOPS = {name: name.replace("_", "_2:4_", 1) for kind, name in TFLOPS.items() if kind != "float"}
"""The ceiling of a 2:4 product, by the dense one: twice that. Nobody measures it; tensor cores skip half of the products, and no
kernel can come above it. FLOPs of such a product count the zeros too."""
_SKIPPED = 2.0
# fp32 factors rounded for the tensor cores: nobody measured a ceiling for that.
_TF32 = "tf32"


@dataclass(frozen=True)
class Price:
    """The floor of a call.

    Args:
        ideal_ns: the least time; None where it is not known.
        bound: FLOP or BYTES: which of the two takes that long; empty where it is not known.
        flops: of the call, 0 where it multiplies nothing.
        helper: this kernel does not do the call's own work (a conversion of layout for a convolution): it needs no time at all.
        why: why there is no price: NO_SHAPES or NO_CEILING; empty where there is one.
        ceiling: the name of the ceiling of its dtype; empty where it multiplies nothing, or there is none.
    """

    ideal_ns: float | None = None
    bound: str = ""
    flops: float = 0.0
    helper: bool = False
    why: str = ""
    ceiling: str = ""


def usable(ceilings: Mapping[str, Any]) -> dict[str, float]:
    """Those ceilings that are rates above 0, and those of 2:4 products by them; none of them without a measured bandwidth."""
    rates = {name: float(rate) for name, rate in ceilings.items() if isinstance(rate, int | float) and rate > 0}
    sparse = {SPARSE_TFLOPS[name]: _SKIPPED * rate for name, rate in rates.items() if name in SPARSE_TFLOPS}
    return {**rates, **sparse} if COPY_GBS in rates else {}


def price(call: Call | None, ceilings: Mapping[str, float]) -> Price:
    """The price of a kernel by the call that ran it."""
    if call is None:
        return Price(why=NO_SHAPES)
    work = product(call)
    if work is not None:
        return _multiplying(call, work, ceilings)
    size = moved(call)
    return Price(why=NO_SHAPES) if not size else Price(_bytes_ns(size, ceilings), BYTES)


def price_copy(name: str, size_bytes: int | None, ceilings: Mapping[str, float]) -> Price:
    """The price of a memcpy or memset: its bytes written, and also read where both ends are on the device.

    What crosses PCIe is priced by its end on the device: the bus was not measured.
    """
    if size_bytes is None:
        return Price(why=NO_SHAPES)
    sides = 2 if "DtoD" in name or "Device -> Device" in name else 1
    return Price(_bytes_ns(sides * size_bytes, ceilings), BYTES)


def _multiplying(call: Call, work: Work, ceilings: Mapping[str, float]) -> Price:
    if not multiplies(call.label):
        return Price(0.0, helper=True)
    name = ceiling_of(call.label, call.kernel, work.dtype)
    rate = ceilings.get(name)
    if rate is None:
        return Price(why=NO_CEILING)
    by_flops, by_bytes = work.flops / rate / 1e3, _bytes_ns(work.size_bytes, ceilings)
    return Price(max(by_flops, by_bytes), FLOP if by_flops >= by_bytes else BYTES, work.flops, ceiling=name)


def ceiling_of(label: str, kernel: str, dtype: str) -> str:
    """The name of the ceiling of a product in a dtype; empty where nobody measures one."""
    name = "" if _TF32 in label or _TF32 in kernel else TFLOPS.get(dtype, "")
    return SPARSE_TFLOPS.get(name, "") if label.endswith(SPARSE) else name


def multiplies(label: str) -> bool:
    """Whether a kernel class does matrix products, convolutions or attention."""
    return label in (ATTENTION, CONVOLUTION) or label.startswith(GEMM)


def _bytes_ns(size: float, ceilings: Mapping[str, float]) -> float:
    return size / ceilings[COPY_GBS]
