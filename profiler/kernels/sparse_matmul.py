"""`diffuscope::sparse_matmul`: int8 rows times a 2:4 sparse int8 weight, scaled by its rows, in bf16; through cuSPARSELt on CUDA.

cuSPARSELt wants whole blocks of rows; the op pads them, so that a caller need not know.
"""

from __future__ import annotations

import torch

from profiler.kernels import sparse_plans
from profiler.kernels.sparse_plans import SEARCHED
from profiler.kernels.two_of_four import pack, unpack

# cuSPARSELt wants the rows of an 8-bit activation in such blocks.
_ROW_BLOCK = 16


def available() -> bool:
    """Whether this torch was built with cuSPARSELt, and the library can be loaded."""
    return bool(torch.backends.cusparselt.is_available())


def compress(weight: torch.Tensor) -> torch.Tensor:
    """A pruned int8 weight (N, K) as the op takes it: half of the elements, then where they stood; N rows of bytes.

    On CUDA cuSPARSELt lays it out, and may pad it; on a CPU it is `two_of_four.pack`.
    """
    if not weight.is_cuda:
        return pack(weight)
    packed: torch.Tensor = torch._cslt_compress(weight.contiguous())
    return packed.reshape(weight.shape[0], -1)


def _matmul(rows: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor, algorithm: int) -> torch.Tensor:
    if not rows.is_cuda:
        dense = unpack(packed).to(torch.int32)
        return ((rows.to(torch.int32) @ dense.t()).to(torch.float32) * scale).to(torch.bfloat16)
    count = rows.shape[0]
    padded = torch.nn.functional.pad(rows, (0, 0, 0, -count % _ROW_BLOCK)) if count % _ROW_BLOCK else rows.contiguous()
    out = sparse_plans.matmul(padded, packed, scale, algorithm)
    return out[:count] if count % _ROW_BLOCK else out


def _fake(rows: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor, algorithm: int) -> torch.Tensor:
    return rows.new_empty(rows.shape[0], packed.shape[0], dtype=torch.bfloat16)


_LIBRARY = torch.library.Library("diffuscope", "FRAGMENT")
_LIBRARY.define(
    "sparse_matmul(Tensor rows, Tensor packed, Tensor scale, int algorithm) -> Tensor", tags=(torch.Tag.pt2_compliant_tag,)
)
_LIBRARY.impl("sparse_matmul", _matmul, "CompositeExplicitAutograd")
torch.library.register_fake("diffuscope::sparse_matmul", _fake, lib=_LIBRARY)


def sparse_matmul(rows: torch.Tensor, packed: torch.Tensor, scale: torch.Tensor, algorithm: int = SEARCHED) -> torch.Tensor:
    """`(rows @ weight.T) * scale` in bf16, summed in int32.

    Args:
        rows: (M, K) int8.
        packed: the weight (N, K) as `compress` gave it.
        scale: N float32 values, one an output.
        algorithm: cuSPARSELt's id of an algorithm; 0 is its default, SEARCHED the fastest. A CPU has one way.
    """
    out: torch.Tensor = torch.ops.diffuscope.sparse_matmul(rows, packed, scale, algorithm)
    return out
