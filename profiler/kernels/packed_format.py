"""Number formats of fewer than eight bits, and how their codes lie in memory: what each value is, packed and unpacked.

A row of a weight (N, K) takes K x bits / 32 words: first a plane of half-bytes, the top four bits of each code, then a plane of
what is left (two bits of fp6, one of fp5). A word's low half holds the elements with even numbers, its high half the odd ones,
each from the lowest bits up: one shift and one mask then bring out a pair of neighbours, each in a half of its own, where a
pair of bfloat16 numbers would have them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

WORD, PLANE = 32, 4
"""Bits of a word, and of a code in the plane that every format has."""

TOGETHER = 32
"""Inputs of a row that are packed together at most: a word of single bits. K must be a multiple of it."""


@dataclass(frozen=True)
class PackedFormat:
    """A sign, exponent and mantissa as IEEE has them but without infinities and NaNs; or a whole number from -8 to 7.

    Attributes:
        bits: of a code.
        exponent_bits, mantissa_bits: both 0 for whole numbers, whose code is the number plus 8.
        group: inputs of a row that share a scale; 0 for the whole row.
    """

    name: str
    bits: int
    exponent_bits: int = 0
    mantissa_bits: int = 0
    group: int = 0

    @property
    def whole(self) -> bool:
        """Whether it holds whole numbers."""
        return self.exponent_bits == 0

    @property
    def extra(self) -> int:
        """Bits of the second plane; 0 where there is none."""
        return self.bits - PLANE

    @property
    def bias(self) -> int:
        """Of the exponent."""
        return 0 if self.whole else (1 << (self.exponent_bits - 1)) - 1

    def columns(self, words: int) -> int:
        """K of a weight whose rows have so many words."""
        return words * WORD // self.bits


FORMATS = {
    each.name: each
    for each in (
        PackedFormat("fp6_e3m2", 6, 3, 2),
        PackedFormat("fp5_e2m2", 5, 2, 2),
        PackedFormat("fp4_e2m1", 4, 2, 1),
        PackedFormat("int4", 4, group=32),
    )
}


def pack(codes: torch.Tensor, form: PackedFormat) -> torch.Tensor:
    """Codes (N, K), uint8, as words (N, K x bits / 32), int32; K is a multiple of `TOGETHER`."""
    planes = [_pack_plane(codes >> form.extra, PLANE)]
    if form.extra:
        planes.append(_pack_plane(codes & ((1 << form.extra) - 1), form.extra))
    return torch.cat(planes, 1)


def unpack(words: torch.Tensor, form: PackedFormat) -> torch.Tensor:
    """The codes that `pack` was given, int32."""
    split = form.columns(words.shape[1]) * PLANE // WORD
    codes = _unpack_plane(words[:, :split], PLANE)
    if form.extra:
        codes = (codes << form.extra) | _unpack_plane(words[:, split:], form.extra)
    return codes


def _shifts(bits: int, device: torch.device) -> torch.Tensor:
    """Where the elements of a word begin."""
    each = torch.arange(WORD // bits, dtype=torch.int32, device=device)
    return each % 2 * (WORD // 2) + each // 2 * bits


def _pack_plane(codes: torch.Tensor, bits: int) -> torch.Tensor:
    parts = codes.reshape(codes.shape[0], -1, WORD // bits).to(torch.int32)
    # No two parts share a bit: their sum is their union, in two's complement too.
    return (parts << _shifts(bits, codes.device)).sum(2, dtype=torch.int32)


def _unpack_plane(words: torch.Tensor, bits: int) -> torch.Tensor:
    # The shift fills up with copies of the sign, which the mask takes away.
    codes = (words.unsqueeze(-1) >> _shifts(bits, words.device)) & ((1 << bits) - 1)
    return codes.reshape(words.shape[0], -1)


def values(codes: torch.Tensor, form: PackedFormat) -> torch.Tensor:
    """The numbers that codes (int32) stand for, float32, exact. No step makes a subnormal: a CPU may flush those to 0."""
    if form.whole:
        return codes.to(torch.float32) - 8
    magnitude = codes & ((1 << (form.bits - 1)) - 1)
    exponent, fraction = magnitude >> form.mantissa_bits, magnitude & ((1 << form.mantissa_bits) - 1)
    # In units of the smallest number above 0.
    normal = (fraction + (1 << form.mantissa_bits)) << (exponent - 1).clamp(min=0)
    units = torch.where(exponent > 0, normal, fraction)
    signed = torch.where(codes >> (form.bits - 1) > 0, -units, units)
    return signed.to(torch.float32) * 2.0 ** (1 - form.bias - form.mantissa_bits)


def dequantize(words: torch.Tensor, scale: torch.Tensor, form: PackedFormat, dtype: torch.dtype) -> torch.Tensor:
    """The weight (N, K): each value times its scale, in float32, rounded once to `dtype`.

    Args:
        scale: (N, 1), or (N, K / group) where groups share one.
    """
    numbers = values(unpack(words, form), form)
    grouped = numbers.reshape(*scale.shape, -1) * scale.to(torch.float32).unsqueeze(-1)
    return grouped.reshape(numbers.shape).to(dtype)
