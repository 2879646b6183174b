"""The linear of a packed weight: dequantized in one pass and multiplied in bf16, or for very few rows in one kernel."""

from __future__ import annotations

import torch

from profiler.kernels import packed_format
from profiler.kernels.packed_format import FORMATS, PackedFormat
from profiler.kernels.small_m_linear import MAX_ROWS

try:
    import triton

    from profiler.kernels.packed_triton import dequantize_packed_kernel, packed_small_m_linear_kernel
except ImportError:  # a CPU build of torch: the plain torch of `packed_format` serves
    triton = None

_BLOCK, _ROWS, _WARPS = 128, 4, 4
_SMALL_BLOCK, _SMALL_WARPS = 64, 4
# Of 2^(127 - bias) this much goes to the activations, so that neither they nor the sums leave the range of float32.
_BEFORE = 2.0**60


def _constants(form: PackedFormat) -> dict[str, int | bool]:
    # bfloat16 has 7 bits of mantissa: a code's lowest bit lies as far above as its own are fewer.
    return {
        "group_words": form.group // 8,
        "whole": form.whole,
        "extra": form.extra,
        "position": 0 if form.whole else 7 - form.mantissa_bits,
    }


def _small_block_n(form: PackedFormat) -> int:
    # With more rows activations are converted less often; but words of the second plane and scales then lie in other threads.
    return 8 if form.extra or form.group else 16


def _factor(form: PackedFormat) -> float:
    return 1.0 if form.whole else 2.0 ** (127 - form.bias)


def _dequantize(words: torch.Tensor, scale: torch.Tensor, form: str, dtype: torch.dtype) -> torch.Tensor:
    found = FORMATS[form]
    n_size, k_size = words.shape[0], found.columns(words.shape[1])
    out = torch.empty(n_size, k_size, dtype=dtype, device=words.device)
    grid = (triton.cdiv(k_size // 8, _BLOCK), triton.cdiv(n_size, _ROWS))
    torch.library.wrap_triton(dequantize_packed_kernel)[grid](
        words,
        scale,
        out,
        n_size,
        k_size,
        words.shape[1],
        factor=_factor(found),
        **_constants(found),
        block=_BLOCK,
        rows=_ROWS,
        num_warps=_WARPS,
    )
    return out


def _small_m_linear(
    x: torch.Tensor, words: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, form: str
) -> torch.Tensor:
    found = FORMATS[form]
    n_size = words.shape[0]
    out = torch.empty(x.shape[0], n_size, dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(n_size, _small_block_n(found)), x.shape[0])
    before = 1.0 if found.whole else _BEFORE
    torch.library.wrap_triton(packed_small_m_linear_kernel)[grid](
        x.contiguous(),
        words,
        scale,
        out if bias is None else bias,
        out,
        n_size,
        found.columns(words.shape[1]) // 8,
        words.shape[1],
        before=before,
        after=_factor(found) / before,
        has_bias=bias is not None,
        **_constants(found),
        block_n=_small_block_n(found),
        block=_SMALL_BLOCK,
        num_warps=_SMALL_WARPS,
    )
    return out


if triton is not None:
    _dequantize_op = torch.library.triton_op(
        "diffuscope::dequantize_packed",
        _dequantize,
        mutates_args=(),
        schema="(Tensor words, Tensor scale, str form, ScalarType dtype) -> Tensor",
    )
    _small_m_op = torch.library.triton_op(
        "diffuscope::packed_small_m_linear",
        _small_m_linear,
        mutates_args=(),
        schema="(Tensor x, Tensor words, Tensor scale, Tensor? bias, str form) -> Tensor",
    )


def dequantize(words: torch.Tensor, scale: torch.Tensor, form: str, dtype: torch.dtype) -> torch.Tensor:
    """The weight (N, K) in `dtype`; arguments as `packed_format.dequantize`'s, the format by its name."""
    if words.is_cuda and triton is not None:
        return _dequantize_op(words, scale, form, dtype)
    return packed_format.dequantize(words, scale, FORMATS[form], dtype)


def packed_linear(
    x: torch.Tensor, words: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None, form: str
) -> torch.Tensor:
    """`x @ weight.T + bias` in the dtype of `x` (..., K)."""
    rows = x.numel() // x.shape[-1]
    if words.is_cuda and triton is not None and rows <= MAX_ROWS and x.dtype == torch.bfloat16:
        out = _small_m_op(x.reshape(rows, x.shape[-1]), words, scale, bias, form)
        return out.reshape(*x.shape[:-1], out.shape[-1])
    return torch.nn.functional.linear(x, dequantize(words, scale, form, x.dtype), bias)
