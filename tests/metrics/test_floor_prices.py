"""The price of one call, by hand: 100 TFLOP/s in bf16 is 1e5 FLOP a ns, 1000 GB/s is 1000 bytes a ns."""

from __future__ import annotations

import json

import pytest

from profiler.metrics.floor_bytes import moved
from profiler.metrics.floor_calls import call_of
from profiler.metrics.floor_prices import price, price_copy, usable
from profiler.metrics.floor_products import product

_RATES = {"bf16_tflops": 100.0, "fp32_tflops": 10.0, "fp8_tflops": 200.0, "int8_tops": 400.0, "copy_gbs": 1000.0}
# Padding, stride and dilation that keep an image's size under a 3x3 weight.
_SAME = ["", "", "[1, 1]", "[1, 1]", "[1, 1]"]
_BF16, _FP8, _INT8, _FP32 = "c10::BFloat16", "c10::Float8_e4m3fn", "signed char", "float"


def _call(op, dims, types, label="GEMM bf16", strides=None, values=(), kernel="k"):
    texts = (json.dumps(dims), json.dumps(types), json.dumps(strides) if strides else None, json.dumps(list(values)))
    return call_of(op, kernel, label, texts)


@pytest.mark.parametrize(
    ("op", "dims", "types", "flops", "size"),
    [
        ("aten::mm", [[64, 32], [32, 16]], [_BF16] * 2, 2 * 64 * 32 * 16, 2 * (64 * 32 + 32 * 16 + 64 * 16)),
        ("aten::addmm", [[16], [64, 32], [32, 16], [], []], [_BF16] * 3 + ["Scalar"] * 2, 65536, 2 * (16 + 2048 + 512 + 1024)),
        ("aten::bmm", [[3, 64, 32], [3, 32, 16]], [_BF16] * 2, 3 * 65536, 3 * 2 * (2048 + 512 + 1024)),
        ("aten::baddbmm", [[3, 64, 16], [3, 64, 32], [3, 32, 16]], [_BF16] * 3, 3 * 65536, 3 * 2 * (1024 + 2048 + 512)),
        # The output is passed: int32 from int8, and counted once.
        ("aten::_int_mm", [[64, 32], [32, 16], [64, 16]], [_INT8, _INT8, "int"], 65536, 2048 + 512 + 4096),
        ("aten::_int_mm", [[64, 32], [32, 16]], [_INT8, _INT8], 65536, 2048 + 512 + 4096),
        ("aten::_scaled_mm", [[64, 32], [32, 16], [64, 1]], [_FP8, _FP8, _FP32], 65536, 2048 + 512 + 256 + 2048),
        (
            "diffuscope::int_scaled_matmul",
            [[64, 32], [32, 16], [64], [16], [16], []],
            [_INT8, _INT8, _FP32, _FP32, _BF16, ""],
            65536,
            2048 + 512 + 256 + 64 + 32 + 2048,
        ),
        # One row of 3072 against 18432 rows of a weight in fp8, with scales and a bias.
        (
            "_small_m_linear_kernel_0",
            [[1, 3072], [18432, 3072], [18432, 1], [18432], [1, 18432], []],
            [_BF16, _FP8, _FP32, _BF16, _BF16, "Scalar"],
            2 * 18432 * 3072,
            2 * 3072 + 18432 * 3072 + (4 + 2 + 2) * 18432,
        ),
    ],
)
def test_a_matrix_product_has_two_flops_a_multiplication_and_moves_each_matrix_once(op, dims, types, flops, size):
    work = product(_call(op, dims, types))
    assert (work.flops, work.size_bytes, work.dtype) == (flops, size, types[1] if "add" in op else types[0])


@pytest.mark.parametrize(
    ("op", "shapes", "values", "flops"),
    [
        ("aten::_cudnn_attention_forward", [1, 24, 4608, 128], [""] * 10 + ["False"], 4 * 24 * 4608**2 * 128),
        ("aten::_cudnn_attention_forward", [1, 24, 4608, 128], [""] * 10 + ["True"], 2 * 24 * 4608**2 * 128),
        ("aten::_flash_attention_forward", [2, 256, 8, 64], [""] * 8 + ["False"], 4 * 2 * 8 * 256**2 * 64),
        ("aten::_flash_attention_forward", [2, 256, 8, 64], [""] * 8 + ["True"], 2 * 2 * 8 * 256**2 * 64),
        ("aten::_efficient_attention_forward", [1, 16384, 1, 512], [""] * 9 + ["0"], 4 * 16384**2 * 512),
        ("aten::_efficient_attention_forward", [1, 16384, 1, 512], [""] * 9 + ["1"], 2 * 16384**2 * 512),
    ],
)
def test_attention_is_two_products_of_the_sequences_and_half_when_causal(op, shapes, values, flops):
    work = product(_call(op, [shapes] * 3, [_BF16] * 3, "attention", values=values))
    elements = shapes[0] * shapes[1] * shapes[2] * shapes[3]
    assert (work.flops, work.size_bytes) == (flops, 4 * 2 * elements)


def test_keys_of_another_length_than_queries():
    work = product(
        _call("aten::_cudnn_attention_forward", [[1, 2, 10, 8], [1, 2, 30, 8], [1, 2, 30, 4]], [_BF16] * 3, "attention")
    )
    assert work.flops == 2 * 2 * 10 * 30 * (8 + 4)


@pytest.mark.parametrize(
    ("op", "dims", "values", "flops"),
    [
        # 3x3 with a border of 1 keeps 8x8; stride 2 halves it; a group's weight holds its own channels only.
        (
            "aten::cudnn_convolution",
            [[1, 16, 8, 8], [32, 16, 3, 3]],
            _SAME,
            2 * 32 * 64 * 16 * 9,
        ),
        (
            "aten::cudnn_convolution",
            [[1, 16, 8, 8], [32, 16, 3, 3]],
            ["", "", "[1, 1]", "[2, 2]", "[1]"],
            2 * 32 * 16 * 16 * 9,
        ),
        ("aten::cudnn_convolution", [[1, 16, 8, 8], [32, 4, 3, 3]], ["", "", "[1]", "[1]", "[1]", "4"], 2 * 32 * 64 * 4 * 9),
        (
            "aten::cudnn_convolution",
            [[1, 4, 5, 8, 8], [6, 4, 3, 3, 3]],
            ["", "", "[0, 1, 1]", "[1, 1, 1]", "[1, 1, 1]"],
            2 * 6 * (3 * 8 * 8) * 4 * 27,
        ),
        (
            "aten::convolution",
            [[1, 16, 8, 8], [32, 16, 3, 3], []],
            ["", "", "", "[1, 1]", "[1, 1]", "[1, 1]", "False"],
            2 * 32 * 64 * 16 * 9,
        ),
    ],
)
def test_a_convolution_multiplies_its_weight_for_every_output(op, dims, values, flops):
    types = [_BF16, _BF16, ""][: len(dims)]
    assert product(_call(op, dims, types, "convolution", values=values)).flops == flops


@pytest.mark.parametrize(
    "call",
    [
        _call("aten::mm", [[64, 32], [16, 32]], [_BF16] * 2),
        _call("aten::mm", [[64, 32]], [_BF16]),
        _call("aten::cudnn_convolution", [[1, 16, 8, 8], [32, 16, 3, 3]], [_BF16] * 2),
        _call("aten::cudnn_convolution", [[1, 4, 2, 2], [4, 4, 5, 5]], [_BF16] * 2, values=_SAME),
        _call("aten::convolution", [[1, 4, 8, 8], [4, 4, 3, 3]], [_BF16] * 2, values=["", "", "", "1", "1", "1", "True"]),
        _call("aten::_flash_attention_forward", [[256, 8, 64]] * 3, [_BF16] * 3),
        _call("aten::_flash_attention_forward", [[1, 256, 8, 64]] * 2 + [[256]], [_BF16] * 3),
    ],
)
def test_what_the_shapes_do_not_tell_has_no_work(call):
    assert product(call) is None
    assert price(call, _RATES).why == "no shapes"


@pytest.mark.parametrize(
    ("op", "label", "dims", "types", "size"),
    [
        ("aten::mul", "pointwise", [[4, 8], [4, 8]], [_BF16, _BF16], 3 * 32 * 2),
        ("aten::mul", "pointwise", [[4, 8], [8]], [_BF16, _FP32], 64 + 32 + 128),  # promoted to fp32
        ("aten::mul", "pointwise", [[4, 8], []], [_BF16, "double"], 64 + 8 + 64),  # a number widens nothing
        ("aten::add", "pointwise", [[4, 1], [1, 8], []], [_BF16, _BF16, "Scalar"], 8 + 16 + 64),
        ("aten::add_", "pointwise", [[4, 8], [4, 8], []], [_BF16, _FP32, "Scalar"], 64 + 128 + 64),
        ("aten::eq", "pointwise", [[4, 8], []], ["int", "Scalar"], 128 + 32),
        ("aten::abs", "pointwise", [[4, 8], [0]], ["long int", "long int"], 256 + 256),
        ("aten::copy_", "copy", [[4, 8], [4, 8], []], [_BF16, _FP32, "Scalar"], 64 + 128),
        ("aten::fill_", "memset", [[4, 8], []], [_FP32, "Scalar"], 128),
        ("aten::native_layer_norm", "norm", [[4, 8], [], [8], [8]], [_BF16, "ScalarList", _BF16, _BF16], 64 + 16 + 16 + 64),
        ("aten::mean", "reduction", [[4, 8], [], []], [_FP32, "ScalarList", "Scalar"], 128),
        ("aten::_softmax", "reduction", [[4, 8], [], []], [_FP32, "Scalar", "Scalar"], 256),
        ("aten::gather", "other", [[49408, 768], [], [77, 768]], [_BF16, "Scalar", "long int"], None),
        ("aten::index", "pointwise", [[49408, 768]], [_BF16], None),
        ("aten::arange", "pointwise", [[], [], [0]], ["Scalar", "Scalar", _FP32], None),
        ("aten::upsample_nearest2d", "other", [[1, 4, 8, 8]], [_BF16], None),
        ("Torch-Compiled Region: 0/0", "fused pointwise", [[4, 8]], [_BF16], None),
    ],
)
def test_bytes_of_an_eager_operator(op, label, dims, types, size):
    call = _call(op, dims, types, label)
    assert (call and moved(call)) == size


def test_a_repeated_dimension_is_read_once():
    assert moved(_call("aten::neg", [[4, 8]], [_FP32], "pointwise", strides=[[0, 1]])) == 8 * 4 + 32 * 4


@pytest.mark.parametrize(
    ("kernel", "size"),
    [
        ("CatArrayBatchedCopy_vectorized<OpaqueType<2u>, unsigned int, 2>", 2 * 2 * (8 + 24)),
        ("elementwise_kernel<direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda(float)#1}>", 2 * 4 * (8 + 24)),
        ("some_kernel", None),
    ],
)
def test_cat_reads_and_writes_everything_in_the_element_size_of_its_kernel(kernel, size):
    assert moved(_call("aten::cat", [[[2, 4], [6, 4]], []], ["TensorList", "Scalar"], "copy", kernel=kernel)) == size


def test_a_fused_kernel_moves_each_argument_once_and_of_a_slice_no_more_than_it_iterates():
    types = [_BF16, _FP8, _FP32, "Scalar", "Scalar"]
    dims = [[1, 24, 4608, 128], [512, 3072], [512, 1], [], []]
    values = ["", "", "", "512", "3072"]
    call = _call("triton_red_fused_permute_split_8", dims, types, "fused reduction", values=values)
    assert moved(call) == 512 * 3072 * (2 + 1) + 512 * 4
    whole = _call("triton_poi_fused_add", [[4, 8], [4, 8]], [_BF16, _BF16], "fused pointwise")
    assert moved(whole) == 2 * 64


def test_the_longer_of_flops_and_bytes_is_the_floor():
    large = price(_call("aten::mm", [[1000, 1000], [1000, 1000]], [_BF16] * 2), _RATES)
    assert (large.ideal_ns, large.bound, large.flops) == (2e9 / 1e5, "FLOP", 2e9)
    one_row = price(_call("aten::mm", [[1, 1000], [1000, 1000]], [_BF16] * 2), _RATES)
    assert (one_row.ideal_ns, one_row.bound) == (2 * (1000 + 1_000_000 + 1000) / 1000, "bytes")
    assert price(_call("aten::mm", [[1000, 1000], [1000, 1000]], [_FP8] * 2, "GEMM fp8"), _RATES).ideal_ns == 2e9 / 2e5
    assert price(_call("aten::_int_mm", [[1000, 1000], [1000, 1000]], [_INT8] * 2, "GEMM int8"), _RATES).ideal_ns == 6000.0


def test_a_rate_that_nobody_measured_is_no_price():
    shapes = [[64, 32], [32, 16]]
    assert price(_call("aten::mm", shapes, ["c10::Half"] * 2, "GEMM fp16"), _RATES).why == "no ceiling"
    assert price(_call("aten::mm", shapes, [_FP32] * 2, "GEMM tf32"), _RATES).why == "no ceiling"
    assert price(_call("aten::mm", shapes, [_FP32] * 2, "GEMM fp32"), _RATES).why == ""
    assert price(None, _RATES).why == "no shapes"


def test_a_conversion_of_layout_for_a_convolution_is_no_work_of_its_own():
    values = _SAME
    call = _call("aten::cudnn_convolution", [[1, 16, 8, 8], [32, 16, 3, 3]], [_BF16] * 2, "copy", values=values)
    found = price(call, _RATES)
    assert (found.ideal_ns, found.helper, found.flops) == (0.0, True, 0.0)


def test_copies_are_priced_by_their_bytes_on_this_device():
    assert price_copy("Memcpy DtoD (Device -> Device)", 4000, _RATES).ideal_ns == 8.0
    assert price_copy("Memcpy HtoD (Pageable -> Device)", 4000, _RATES).ideal_ns == 4.0
    assert price_copy("Memset (Device)", 4000, _RATES).ideal_ns == 4.0
    assert price_copy("Memset (Device)", None, _RATES).why == "no shapes"


def test_only_rates_above_zero_and_only_with_a_bandwidth():
    sparse = {"bf16_2:4_tflops": 200.0, "fp8_2:4_tflops": 400.0, "int8_2:4_tops": 800.0}
    assert usable(_RATES) == {**_RATES, **sparse}
    assert usable({"copy_gbs": 1000, "bf16_tflops": 0, "fp8_tflops": "fast", "int8_tops": None}) == {"copy_gbs": 1000.0}
    assert usable({"bf16_tflops": 100.0}) == {}


@pytest.mark.parametrize(
    "texts",
    [
        (None, None, None, None),
        ("[[2, 3]", '["float"]', None, None),
        ("[[2, 3]]", '["float", "float"]', None, None),
        ("[[2, 3]]", '["some new dtype"]', None, None),
        ("[[2, -3]]", '["float"]', None, None),
        ("[[2, null]]", '["float"]', None, None),
        ("{}", "3", None, None),
    ],
)
def test_what_cannot_be_read_is_no_call(texts):
    assert call_of("aten::mm", "k", "GEMM", texts) is None


def _sparse_int8(label):
    dims, types = [[1000, 1024], [1000, 640], [1000], []], [_INT8, _INT8, _FP32, "Scalar"]
    return _call("diffuscope::sparse_matmul", dims, types, label)


def test_a_sparse_product_counts_its_zeros_and_may_be_twice_as_fast():
    assert product(_sparse_int8("GEMM int8 2:4")).flops == 2 * 1000 * 1024 * 1000
    assert product(_sparse_int8("GEMM int8 2:4")).size_bytes == 1000 * 1024 + 1000 * 640 + 4 * 1000 + 2 * 1000 * 1000
    found = price(_sparse_int8("GEMM int8 2:4"), usable({**_RATES, "copy_gbs": 1e6}))
    assert (found.ideal_ns, found.ceiling, found.bound) == (2.048e9 / 8e5, "int8_2:4_tops", "FLOP")
    assert price(_sparse_int8("GEMM int8"), usable({**_RATES, "copy_gbs": 1e6})).ideal_ns == 2.048e9 / 4e5


def test_torchaos_sparse_product_takes_its_weight_in_two_parts():
    dims = [[64, 128], [64], [256, 64], [256, 16], [256], [256], []]
    types = [_FP8, _FP32, _FP8, "unsigned char", _FP32, _BF16, "Scalar"]
    found = product(_call("torchao::rowwise_scaled_linear_sparse_cutlass_f8f8", dims, types, "GEMM fp8 2:4"))
    given = 64 * 128 + 4 * 64 + 256 * 64 + 256 * 16 + 4 * 256 + 2 * 256
    assert (found.flops, found.dtype, found.size_bytes) == (2 * 64 * 128 * 256, _FP8, given + 2 * 64 * 256)
    short = _call("torchao::rowwise_scaled_linear_sparse_cutlass_f8f8", dims[:2], types[:2], "GEMM fp8 2:4")
    assert product(short) is None


def test_unpacking_reads_what_is_packed_and_writes_the_weight():
    call = _call(
        "dequantize_packed_kernel_1", [[64, 12], [64, 1], [64, 64], []], ["int", _BF16, _BF16, "Scalar"], "quantize/dequantize"
    )
    assert moved(call) == 4 * 64 * 12 + 2 * 64 + 2 * 64 * 64
    assert price(call, _RATES).bound == "bytes"


def test_packed_words_hold_several_weights():
    dims, types = [[1, 64], [32, 12], [32, 1], [32], [1, 32]], [_BF16, "int", _BF16, _BF16, _BF16]
    assert product(_call("packed_small_m_linear_kernel_0", dims, types, "GEMM weight-only")).flops == 2 * 64 * 32
    tiles = _call(
        "aten::_weight_int4pack_mm", [[1, 1024], [384, 8, 32, 4], [], [8, 3072, 2]], [_BF16, "int", "Scalar", _BF16], "GEMM int4"
    )
    assert product(tiles).flops == 2 * 1024 * 3072
