"""Triton kernels over packed weights: to bf16 in one pass, and a linear for very few rows that never makes the bf16 copy.

A weight-only linear of many rows is a bf16 GEMM after one pass that reads the packed bytes and writes two bytes a weight. That
pass would be bound by arithmetic if each weight were shifted, masked and converted on its own. Here a code's bits are moved to
where bfloat16 has its sign, exponent and mantissa, two codes at a time: a bfloat16 number that is too small by a power of two,
subnormals included, which a multiplication puts right. With loading and storing that is 11 instructions a weight on Hopper.
"""

# ruff: noqa: ANN001, ANN201, ANN202 - Triton reads a kernel's parameters itself
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def _pair(word, low, p: tl.constexpr, whole: tl.constexpr, extra: tl.constexpr, position: tl.constexpr):  # type: ignore[no-untyped-def]
    """Elements 2p and 2p + 1 of eight, float32: whole numbers as they are, others times 2^(bias - 127).

    Args:
        word, low: uint32; half-bytes, and the second plane shifted so that its bits of these eight come first.
        position: of a code's lowest bit in bfloat16.
    """
    if whole:
        # 128 + code, since a bfloat16 of 128 and more counts in ones.
        bits = ((word >> (4 * p)) & 0x000F000F) | 0x43004300
    else:
        bits = (word << (12 - 4 * p)) & 0x80008000
        if position + extra >= 4 * p:
            bits |= (word << (position + extra - 4 * p)) & (0x00070007 << (position + extra))
        else:
            bits |= (word >> (4 * p - position - extra)) & (0x00070007 << (position + extra))
        if extra > 0:
            if position >= extra * p:
                bits |= (low << (position - extra * p)) & (((1 << extra) - 1) * 0x00010001 << position)
            else:
                bits |= (low >> (extra * p - position)) & (((1 << extra) - 1) * 0x00010001 << position)
    even = (bits << 16).to(tl.float32, bitcast=True)
    odd = (bits & 0xFFFF0000).to(tl.float32, bitcast=True)
    if whole:
        even -= 136.0
        odd -= 136.0
    return even, odd


@triton.jit  # type: ignore[untyped-decorator]
def _load_words(words, k_words, j, mask, extra: tl.constexpr):  # type: ignore[no-untyped-def]
    """Half-bytes of the eights `j` of rows that begin at `words`, and their bits of the second plane, first ones first."""
    word = tl.load(words + j, mask=mask, other=0).to(tl.uint32, bitcast=True)
    low = word
    if extra > 0:
        low = tl.load(words + k_words + j * extra // 4, mask=mask, other=0).to(tl.uint32, bitcast=True)
        low = low >> (j * extra % 4 * 4).to(tl.uint32)
    return word, low


@triton.jit  # type: ignore[untyped-decorator]
def _load_low(plane, inside, start, k_words, extra: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Bits of the second plane of `block` eights, first ones first: each word is read once, by who needs its parts."""
    at = start * extra // 4 + tl.arange(0, block * extra // 4)
    mask = inside[:, None] & (at < k_words * extra // 4)[None, :]
    low = tl.load(plane + at[None, :], mask=mask, other=0).to(tl.uint32, bitcast=True)
    if extra == 2:
        parts = tl.interleave(low, low >> 8)
    else:
        parts = tl.interleave(tl.interleave(low, low >> 8), tl.interleave(low >> 4, low >> 12))
    return parts


@triton.jit  # type: ignore[untyped-decorator]
def dequantize_packed_kernel(  # type: ignore[no-untyped-def]
    words,
    scale,
    out,
    n_size,
    k_size,
    row_words,
    factor: tl.constexpr,
    group_words: tl.constexpr,
    whole: tl.constexpr,
    extra: tl.constexpr,
    position: tl.constexpr,
    block: tl.constexpr,
    rows: tl.constexpr,
):
    """Fill `out` (N, K), a program `rows` rows of `block` words; `group_words` is 0 where a row has one scale."""
    k_words = k_size // 8
    j = tl.program_id(0) * block + tl.arange(0, block)
    k = tl.program_id(0) * block * 8 + tl.arange(0, block * 8)
    for step in tl.static_range(rows):
        row = tl.program_id(1) * rows + step
        word, low = _load_words(words + row * row_words, k_words, j, (j < k_words) & (row < n_size), extra)
        if group_words > 0:
            at = row * (k_words // group_words) + j // group_words
            scales = tl.load(scale + at, mask=(j < k_words) & (row < n_size), other=0.0).to(tl.float32)
        else:
            scales = tl.load(scale + row, mask=row < n_size, other=0.0).to(tl.float32)
        even0, odd0 = _pair(word, low, 0, whole, extra, position)
        even1, odd1 = _pair(word, low, 1, whole, extra, position)
        even2, odd2 = _pair(word, low, 2, whole, extra, position)
        even3, odd3 = _pair(word, low, 3, whole, extra, position)
        # `factor` first: with it a scale may leave the range of float32.
        even = tl.interleave(
            tl.interleave(even0 * factor * scales, even2 * factor * scales),
            tl.interleave(even1 * factor * scales, even3 * factor * scales),
        )
        odd = tl.interleave(
            tl.interleave(odd0 * factor * scales, odd2 * factor * scales),
            tl.interleave(odd1 * factor * scales, odd3 * factor * scales),
        )
        result = tl.interleave(even, odd).to(out.dtype.element_ty)
        tl.store(out + row * k_size + k, result, mask=(k < k_size) & (row < n_size))


@triton.jit  # type: ignore[untyped-decorator]
def packed_small_m_linear_kernel(  # type: ignore[no-untyped-def]
    x,
    words,
    scale,
    bias,
    out,
    n_size,
    k_words,
    row_words,
    before: tl.constexpr,
    after: tl.constexpr,
    group_words: tl.constexpr,
    has_bias: tl.constexpr,
    whole: tl.constexpr,
    extra: tl.constexpr,
    position: tl.constexpr,
    block_n: tl.constexpr,
    block: tl.constexpr,
):
    """One row of `out` (M, N), `block_n` columns a program.

    Args:
        x: activations (M, K) in bfloat16.
        before, after: what activations and sums are multiplied by; together 2^(127 - bias).
    """
    row = tl.program_id(1)
    pairs = x.to(tl.pointer_type(tl.int32), bitcast=True)
    n = tl.program_id(0) * block_n + tl.arange(0, block_n)
    total = tl.zeros((block_n, block), dtype=tl.float32)
    for start in range(0, k_words, block):
        j = start + tl.arange(0, block)
        inside = j < k_words
        mask = (n < n_size)[:, None] & inside[None, :]
        rows = words + (n * row_words)[:, None]
        word = tl.load(rows + j[None, :], mask=mask, other=0).to(tl.uint32, bitcast=True)
        low = word
        if extra > 0:
            low = _load_low(rows + k_words, n < n_size, start, k_words, extra, block)
        part = tl.zeros((block_n, block), dtype=tl.float32)
        for p in tl.static_range(4):
            pair = tl.load(pairs + (row * k_words + j) * 4 + p, mask=inside, other=0).to(tl.uint32, bitcast=True)
            even, odd = _pair(word, low, p, whole, extra, position)
            part += even * ((pair << 16).to(tl.float32, bitcast=True) * before)[None, :]
            part += odd * ((pair & 0xFFFF0000).to(tl.float32, bitcast=True) * before)[None, :]
        if group_words > 0:
            tl.static_assert(group_words == 4)
            group = start // 4 + tl.arange(0, block // 4)
            at = n[:, None] * (k_words // 4) + group[None, :]
            inner = (n < n_size)[:, None] & (group < k_words // 4)[None, :]
            twice = tl.load(scale + at, mask=inner, other=0.0).to(tl.float32)
            twice = tl.interleave(twice, twice)
            part *= tl.interleave(twice, twice)
        total += part
    result = tl.sum(total, axis=1) * after
    if group_words == 0:
        result *= tl.load(scale + n, mask=n < n_size, other=0.0).to(tl.float32)
    if has_bias:
        result += tl.load(bias + n, mask=n < n_size, other=0.0).to(tl.float32)
    tl.store(out + row * n_size + n, result.to(out.dtype.element_ty), mask=n < n_size)
