"""A product in fp32 in the middle of a bf16 block: a stray `.float()`."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def mixed(block: Any, hidden: Any) -> Any:
    weight = block.attn.to_q.weight.float()
    return hidden + 1e-6 * (hidden.float() @ weight.t()).to(hidden.dtype)  # planted


def mixed_bf16(block: Any, hidden: Any) -> Any:
    return hidden + 1e-6 * (hidden @ block.attn.to_q.weight.t())


register(
    Fault(
        name="upcast-gemm",
        summary="a GEMM upcast to fp32 in every block",
        plant=partial(in_blocks, act=mixed),
        file=here(),
        expects=("fp32-compute",),
        fix="leave the product in bf16",
        clean=partial(in_blocks, act=mixed_bf16),
        spec={"compile": "regional"},
        needs_cuda=True,
    ),
)
