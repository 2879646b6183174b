"""Small number formats against plain Python: every value, every rounding, every byte."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.kernels.packed_format import FORMATS, PackedFormat, dequantize, pack, unpack, values
from profiler.kernels.packed_weight import quantize

FLOATS = [each for each in FORMATS.values() if not each.whole]
FORMS = pytest.mark.parametrize("form", FORMATS.values(), ids=lambda each: each.name)
FLOAT_FORMS = pytest.mark.parametrize("form", FLOATS, ids=lambda each: each.name)


def value(code: int, form: PackedFormat) -> Fraction:
    """What a code means, by the definition of the formats."""
    if form.whole:
        return Fraction(code - 8)
    sign = -1 if code >> (form.bits - 1) else 1
    exponent = code >> form.mantissa_bits & ((1 << form.exponent_bits) - 1)
    fraction = Fraction(code & ((1 << form.mantissa_bits) - 1), 1 << form.mantissa_bits)
    bias = 2 ** (form.exponent_bits - 1) - 1
    if exponent == 0:
        return sign * fraction * Fraction(2) ** (1 - bias)
    return sign * (1 + fraction) * Fraction(2) ** (exponent - bias)


def nearest(number: Fraction, form: PackedFormat) -> Fraction:
    """The nearest value, of two the one with an even code; what is too large becomes the largest."""
    codes = sorted(range(1 << (form.bits - 1)), key=lambda code: (abs(value(code, form) - abs(number)), code % 2))
    return value(codes[0], form) * (-1 if number < 0 else 1)


def some_codes(form: PackedFormat, rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 1 << form.bits, (rows, columns), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@FORMS
def test_every_code_has_its_value(form: PackedFormat):
    codes = range(1 << form.bits)
    assert values(torch.tensor(codes, dtype=torch.int32), form).tolist() == [float(value(code, form)) for code in codes]


@pytest.mark.parametrize(
    ("name", "largest", "smallest"), [("fp6_e3m2", 28, 1 / 16), ("fp5_e2m2", 7, 1 / 4), ("fp4_e2m1", 6, 1 / 2)]
)
def test_the_ends_of_the_ranges(name: str, largest: float, smallest: float):
    form = FORMATS[name]
    found = values(torch.arange(1 << (form.bits - 1), dtype=torch.int32), form)
    assert (float(found.max()), float(found[found > 0].min())) == (largest, smallest)


@FLOAT_FORMS
def test_rounding_is_to_the_nearest_and_ties_to_even(form: PackedFormat):
    units = [value(code, form) for code in range(1 << (form.bits - 1))]
    # All values, all ties, what is close to a tie on both sides, half of the smallest, and what is too large.
    near = [(one + other) / 2 + shift for one, other in pairwise(units) for shift in (0, Fraction(1, 512), -Fraction(1, 512))]
    numbers = [each for each in (*units, *near) for each in (each, -each)]
    # Its largest number fixes a row's scale: with the format's own largest in it the scale is 1.
    numbers += [units[-1]] * (-len(numbers) % 32)
    weight = torch.tensor([[float(each) for each in numbers]])
    packed, scale = quantize(weight, form)
    assert scale.tolist() == [[1.0]]
    assert values(unpack(packed, form), form).tolist() == [[float(nearest(each, form)) for each in numbers]]


@FLOAT_FORMS
def test_what_a_rounded_scale_makes_too_large_saturates(form: PackedFormat):
    # The scale of such a row is rounded down to bfloat16: its largest weight then lies beyond the largest number.
    weight = torch.full((1, 32), 1.0).to(torch.bfloat16)
    weight[0, 0] = float(max(value(code, form) for code in range(1 << form.bits)))
    for number in (1.0, 1.0078125, 1.015625, 1.0234375):
        row = weight * number
        packed, scale = quantize(row, form)
        expected = nearest(Fraction(float(row[0, 0])) / Fraction(float(scale)), form)
        assert float(values(unpack(packed, form), form)[0, 0]) == float(expected)


def test_a_row_of_zeros_stays_one():
    for form in FORMATS.values():
        packed, scale = quantize(torch.zeros(2, 64, dtype=torch.bfloat16), form)
        assert torch.equal(dequantize(packed, scale, form, torch.bfloat16), torch.zeros(2, 64, dtype=torch.bfloat16))


@FORMS
def test_so_many_words(form: PackedFormat):
    packed = pack(some_codes(form, 3, 96), form)
    assert (packed.dtype, packed.shape) == (torch.int32, (3, 96 * form.bits // 32))
    assert form.columns(packed.shape[1]) == 96


@FORMS
def test_one_code_sets_its_own_bits(form: PackedFormat):
    """Where the layout puts element `k`: the planes, words and halves of the docstring, bit by bit."""
    for k in range(64):
        codes = torch.zeros(1, 64, dtype=torch.uint8)
        codes[0, k] = (1 << form.bits) - 1
        expected = [0] * (64 * form.bits // 32)
        for bits, begin in ((4, 0), (form.extra, 8)):
            if bits:
                word, place = divmod(k, 32 // bits)
                expected[begin + word] |= ((1 << bits) - 1) << (16 * (place % 2) + bits * (place // 2))
        assert [each % 2**32 for each in pack(codes, form)[0].tolist()] == expected


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 5), words=st.integers(1, 6), form=st.sampled_from(sorted(FORMATS)), seed=st.integers(0, 999))
def test_unpacking_gives_the_codes_back(rows: int, words: int, form: str, seed: int):
    codes = some_codes(FORMATS[form], rows, 32 * words, seed)
    assert torch.equal(unpack(pack(codes, FORMATS[form]), FORMATS[form]), codes.to(torch.int32))


@FORMS
def test_a_weight_is_its_value_times_its_scale_rounded_once(form: PackedFormat):
    codes = some_codes(form, 4, 64)
    scale = torch.rand(4, 64 // form.group if form.group else 1, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    found = dequantize(pack(codes, form), scale, form, torch.bfloat16)
    for n in range(4):
        for k in range(64):
            exact = float(value(int(codes[n, k]), form) * Fraction(float(scale[n, k // form.group if form.group else 0])))
            assert found[n, k] == torch.tensor(exact, dtype=torch.float64).to(torch.bfloat16)


@FLOAT_FORMS
def test_torchaos_arithmetic_gives_the_same_weights(form: PackedFormat):
    from torchao.quantization import quant_primitives as torchao

    weight = torch.randn(48, 128, generator=torch.Generator().manual_seed(2)).to(torch.bfloat16)
    bits = form.exponent_bits, form.mantissa_bits
    scale = torchao._choose_qparams_affine_floatx(weight, *bits)
    codes = torchao._quantize_affine_floatx(weight, scale, *bits)
    expected = torchao._dequantize_affine_floatx(codes, scale, *bits, torch.bfloat16)
    assert torch.equal(dequantize(*quantize(weight, form), form, torch.bfloat16), expected)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("fp6_e3m2", 25, 27), ("fp5_e2m2", 24, 26.5), ("fp4_e2m1", 17.5, 20), ("int4", 19, 22)]
)
def test_signal_to_noise_of_normal_weights(name: str, low: float, high: float):
    weight = torch.randn(64, 512, generator=torch.Generator().manual_seed(3)).to(torch.bfloat16)
    noise = weight.float() - dequantize(*quantize(weight, FORMATS[name]), FORMATS[name], torch.float32)
    assert low < float(20 * torch.log10(weight.float().norm() / noise.norm())) < high
