"""Rules about kernels: each on a trace where its cost is known, and on one that nearly is the fault."""

from __future__ import annotations

import pytest
from ledger_traces import kernel, launch, mark, op
from small_runs import BF16, H100, NVJET, busy, found, only

from profiler.metrics.classes import classify_gpu
from profiler.metrics.kernel_architecture import architecture
from profiler.rules.packed_weights import packed_weights

INT8 = "void cutlass::Kernel2<cutlass_80_tensorop_i16832gemm_s8_128x64_128x3_tn_align16>(cutlass_80::Params)"
FP32 = (
    "sm80_xmma_gemm_f32f32_f32f32_f32_tn_n_tilesize64x128x8_stage3_warpsize1x4x1_ffma_aligna4_alignc4_execute_kernel__5x_cublas"
)
MOMENTS = "void at::native::(anonymous namespace)::RowwiseMomentsCUDAKernel<c10::BFloat16>(long, float)"
TO_NHWC = "void cudnn::engines_precompiled::nchwToNhwcKernel<__nv_bfloat16, __nv_bfloat16, float, false, true>(...)"
QUANTIZE = "triton_poi_fused__to_copy_add_clamp_div_expand_maximum_minimum_mul_neg_view_zeros_like_5"
ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>(int)"


@pytest.mark.parametrize(
    ("name", "major"),
    [
        (INT8, 8),
        ("void cutlass::Kernel<cutlass_75_wmma_tensorop_bf16_s161616gemm_bf16_16x16_128x2_tn_align8>(P)", 7),
        ("void cutlass::Kernel2<cutlass_90_tensorop_s64x128x16gemm_bf16>(P)", 9),
        ("sm80_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_stage4_warpsize2x2x1_tensor16x8x16_kernel", 8),
        ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_warpgroupsize1x1x1_execute_segment_k_off", 9),
        ("nvjet_sm90_tst_128x256_64x4_2x1_v_bz_TNT", 9),
        ("nvjet_sm100_tst_128x256_64x4_2x1_v_bz_TNT", 10),
        ("cutlass3x_sm100_tensorop_s128x256x16gemm_bf16_bf16_f32_bf16_bf16_128x256x64_0_tnn_align8", 10),
        ("cutlass3x_sm90_tensorop_s64x128x16gemm_bf16_bf16_f32_bf16_bf16_128x128x64_2x1x1_0_tnn_align8", 9),
        ("nvjet_sm120_tst_64x8_64x16", 12),
        ("nvjet_tst_192x192_64x4_2x1_v_bz_coopA_TNN", None),
        ("ampere_bf16_s16816gemm_bf16_128x128_ldg8_f2f_stages_32x5_tn", 8),
        ("ampere_sgemm_128x64_tn", 8),
        ("turing_fp16_s1688gemm_fp16_128x128_ldg8_f2f_tn", 7),
        ("volta_fp16_s884gemm_fp16_64x128_ldg8_f2f_nn", 7),
        ("void cutlass::device_kernel<at::cuda::detail::enable_3x_kernel_for_sm90_or_later<cutlass::gemm::kernel::G>>(P)", 9),
        ("void cublasLt::splitKreduce_kernel<32, 16, int, __nv_bfloat16>(P)", None),
        ("void gemv2T_kernel_val<int, int, __nv_bfloat16, __nv_bfloat16, float, 128, 16, 4, 4, false>(P)", None),
        ("triton_tem_fused__scaled_mm_12", None),
        ("_small_m_linear_kernel", None),
        ("prism80_gemm", None),
        ("", None),
    ],
)
def test_the_architecture_that_a_name_tells(name, major):
    assert architecture(name) == major


def test_int8_gemms_of_ampere_on_hopper(run_with):
    run = run_with(busy([(INT8, 600), (NVJET, 399)]), environment=H100)
    each = only(run, "old-architecture-gemm")
    assert each.finding.title == "GEMM int8 runs on Ampere kernels on a Hopper GPU: 0.6 ms a step, 60% of it"
    assert (each.cost_ns, each.share, each.finding.count) == (600_000, 0.6, 1)
    assert (each.saving_low_ns, each.saving_high_ns) == (150_000, 300_000)
    assert (each.severity, each.rows) == ("high", [f"busy/GEMM int8/{INT8}"])
    assert "fp8dqrow" in each.finding.change


@pytest.mark.parametrize(
    ("kernels", "capability"),
    [
        ([(INT8, 600)], [8, 0]),
        ([(INT8, 600)], [8, 9]),
        ([(INT8, 600)], None),
        ([(NVJET, 600)], [9, 0]),
        ([("nvjet_sm100_tst_128x256_64x4_2x1_v_bz_TNT", 600)], [10, 0]),
        # No tensor cores: a newer kernel would be no faster; the rule about fp32 has it.
        ([(FP32, 600)], [9, 0]),
        # An old kernel that is no GEMM.
        ([("fmha_cutlassF_bf16_aligned_32x128_gmem_sm80", 600)], [9, 0]),
    ],
)
def test_no_old_gemm(run_with, kernels, capability):
    run = run_with(busy(kernels), environment={"gpu": {"name": "GPU", "capability": capability}}, applied=BF16)
    assert not found(run, "old-architecture-gemm")


def test_gemms_in_fp32_inside_a_16_bit_model(run_with):
    run = run_with(busy([(FP32, 30), (NVJET, 969)]), applied=BF16)
    each = only(run, "fp32-compute")
    assert (each.cost_ns, each.saving_low_ns, each.saving_high_ns) == (30_000, 18_000, 28_500)
    assert each.severity == "medium"


def test_of_a_foreign_trace_the_narrower_gemms_tell_what_it_is(run_with):
    assert only(run_with(busy([(FP32, 30), (NVJET, 969)]), name="a"), "fp32-compute").cost_ns == 30_000
    assert not found(run_with(busy([(FP32, 600), (NVJET, 399)]), name="b"), "fp32-compute")
    assert not found(run_with(busy([(FP32, 999)]), name="c"), "fp32-compute")


@pytest.mark.parametrize(
    ("kernels", "applied"),
    [
        ([(FP32, 30), (NVJET, 969)], {"base_dtype": "float32"}),
        ([(FP32, 1), (NVJET, 999)], BF16),
        ([(NVJET, 999)], BF16),
    ],
)
def test_no_fp32_compute(run_with, kernels, applied):
    assert not found(run_with(busy(kernels), applied=applied), "fp32-compute")


def _decode(kernels):
    """A step of 999 us and a decode of these kernels."""
    return [*busy([(NVJET, 999)]), *busy(kernels, "diffuscope/decode", at=1000, first=50)]


def test_moments_of_group_norm_in_the_decode(run_with):
    each = only(run_with(_decode([(MOMENTS, 50), (NVJET, 949)])), "slow-norm")
    assert (each.finding.window, each.cost_ns, each.finding.count, each.per_call_ns) == ("decode", 50_000, 1, 50_000)
    assert (each.saving_low_ns, each.saving_high_ns, each.severity) == (30_000, 47_500, "medium")


def test_few_moments_and_layer_norms_are_none(run_with):
    assert not found(run_with(_decode([(MOMENTS, 15), (NVJET, 984)]), name="a"), "slow-norm")
    layer = "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float, true>(int)"
    assert not found(run_with(_decode([(layer, 500), (NVJET, 499)]), name="b"), "slow-norm")


def test_layout_conversions(run_with):
    back = TO_NHWC.replace("nchwToNhwc", "nhwcToNchw")
    each = only(run_with(_decode([(TO_NHWC, 60), (back, 40), (NVJET, 899)])), "layout-conversion")
    assert (each.cost_ns, each.finding.count, each.finding.change) == (100_000, 2, "--channels-last")
    assert (each.saving_low_ns, each.saving_high_ns) == (60_000, 100_000)
    assert not found(run_with(_decode([(TO_NHWC, 8), (NVJET, 991)]), name="b"), "layout-conversion")


def test_kernels_that_only_quantize(run_with):
    each = only(run_with(busy([(QUANTIZE, 100), ("sm90_xmma_gemm_e4m3e4m3_x", 899)])), "quantize-overhead")
    assert (each.cost_ns, each.finding.count) == (100_000, 1)
    assert each.finding.evidence[0] == "the quantized GEMMs themselves take 0.9 ms a step"
    assert not found(run_with(busy([(QUANTIZE, 15), (NVJET, 984)]), name="b"), "quantize-overhead")
    # A fused kernel that also does the norm would run anyway.
    norm = "triton_red_fused__to_copy_amax_clamp_div_native_layer_norm_mul_3"
    assert not found(run_with(busy([(norm, 500), (NVJET, 499)]), name="c"), "quantize-overhead")


def test_in_an_eager_step_quantizing_is_more_than_the_kernels_that_say_so(run_with):
    fp8 = "sm90_xmma_gemm_e4m3e4m3_x"
    kernels = [("amax_reduce", 150, 10), ("float8_copy_kernel_cuda", 100, 20), (fp8, 500, 30), (ADD, 300, 40)]
    step, end = [mark("diffuscope/step/0", 0, 1061)], 1
    for number, (name, us, at) in enumerate(kernels, 1):
        step += [launch(at, at + 1, number), kernel(max(end, at + 1), max(end, at + 1) + us, number, name)]
        end = max(end, at + 1) + us
    # What follows the product is none of it.
    step += [op("torchao::choose_scale_float8", 9, 15), op("aten::_scaled_mm", 28, 35)]
    each = only(run_with(step), "quantize-overhead").finding
    assert each.title == "kernels that only quantize take 0.1 ms a step"
    assert each.evidence[0].startswith(
        "from choosing a scale to the product, quantizing takes 0.2 ms a step, most of it in other"
    )
    compiled = [*step, op("Torch-Compiled Region: 0/0", 0, 60)]
    assert (
        only(run_with(compiled, name="c"), "quantize-overhead").finding.evidence[0].startswith("the quantized GEMMs themselves")
    )


@pytest.mark.parametrize("kernel", ["dequantize_packed_kernel", "dequantize_tiles_kernel_0"])
def test_unpacking_weights_is_the_price_of_a_weight_only_scheme(run_with, kernel):
    each = only(run_with(busy([(kernel, 100), (NVJET, 899)])), "quantize-overhead")
    assert each.finding.title == "unpacking weights takes 0.1 ms a step"
    assert "a dynamic scheme" in each.finding.change
    assert (each.cost_ns, each.saving_low_ns, each.saving_high_ns) == (100_000, 80_000, 100_000)
    assert not found(run_with(busy([(kernel, 15), (NVJET, 984)]), name="b"), "quantize-overhead")


def test_rounding_activations_for_a_bf16_product(run_with):
    fused = "triton_red_fused__to_copy_add_amax_amin_clamp_div_gelu_maximum_minimum_mul_reciprocal_round_view_14"
    largest = "triton_red_fused_amax_amin_cat_gelu_permute_view_3"
    events = [("dequantize_packed_kernel", 100), (fused, 200), (largest, 100)]
    first, second = found(run_with(busy([*events, (NVJET, 599)])), "quantize-overhead")
    assert first.finding.title == "activations are rounded to 8 bits and multiplied in bf16: in kernels of 0.3 ms a step"
    assert (first.cost_ns, first.saving_low_ns, first.saving_high_ns) == (300_000, 90_000, 180_000)
    assert second.finding.title.startswith("unpacking weights")
    # A quantized product uses it; without unpacking, or without rounding, it is another scheme.
    used = run_with(busy([*events, ("sm90_xmma_gemm_e4m3e4m3_x", 599)]), name="b")
    assert [each.finding.title[:9] for each in found(used, "quantize-overhead")] == ["unpacking"]
    assert not found(run_with(busy([(fused, 200), (NVJET, 799)]), name="c"), "quantize-overhead")
    assert len(found(run_with(busy([events[0], events[2], (NVJET, 799)]), name="d"), "quantize-overhead")) == 1


def test_what_packed_weights_save():
    linear = {"module": "transformer.a", "in_features": 1 << 15, "out_features": 1 << 15, "scheme": "fp6_e3m2"}
    left = linear | {"module": "vae.b", "scheme": "left"}
    parts = {"transformer/quantized data/int32": 3 << 28, "transformer/scale/bfloat16": 1 << 16, "transformer/weight/bfloat16": 7}
    found = packed_weights({"linears": [linear, left], "weight_bytes": {**parts, "vae/weight/bfloat16": 1 << 31}})
    assert found is not None
    assert (round(found.stored, 4), found.dense, found.bytewise) == (0.7501, 2.0, 1.0)
    assert packed_weights({"linears": [left], "weight_bytes": parts}) is None
    assert packed_weights({"linears": [linear]}) is None


def test_a_product_of_few_rows_with_packed_weights_is_a_product():
    assert classify_gpu("packed_small_m_linear_kernel") == "GEMM weight-only"
    assert classify_gpu("void tinygemm_m16n8k16_chunk_kernel<ALayout_RM<None>>(int)") == "GEMM int4"


MATH = "aten::_scaled_dot_product_attention_math"
EFFICIENT = "aten::_scaled_dot_product_efficient_attention"


def _attention(operator, dims, kernel_name=FP32, inside=True):
    """A step of 1000 us whose second kernel, of 200 us, is launched inside an operator or right after it."""
    around = op(operator, 2, 4, **{"Input Dims": [dims, dims, dims]}) if dims else op(operator, 2, 4)
    at = 3 if inside else 5
    return [
        mark("diffuscope/step/0", 0, 1000),
        launch(0, 1, 1),
        kernel(1, 800, 1, NVJET),
        around,
        launch(at, at + 0.5, 2),
        kernel(800, 1000, 2, kernel_name),
    ]


@pytest.mark.parametrize(
    ("operator", "backend", "low", "high"), [(MATH, "math", 120, 190), (EFFICIENT, "memory-efficient", 100, 160)]
)
def test_attention_on_a_slow_backend(run_with, operator, backend, low, high):
    each = only(run_with(_attention(operator, [1, 64, 512, 64]), applied=BF16), "attention-backend")
    assert each.finding.title == f"attention runs on the {backend} backend: 0.2 ms a step"
    assert (each.cost_ns, each.finding.count) == (200_000, 1)
    assert (round(each.saving_low_ns), round(each.saving_high_ns)) == (low * 1000, high * 1000)
    # The fp32 GEMM is the math backend's own.
    assert each.also == ["fp32-compute"]
    assert not found(run_with(_attention(operator, [1, 64, 512, 64]), applied=BF16, name="b"), "fp32-compute")


@pytest.mark.parametrize(
    ("operator", "dims", "inside"),
    [
        # The VAE's single head of 512: no other backend takes it.
        (EFFICIENT, [1, 1, 16384, 512], True),
        ("aten::_scaled_dot_product_flash_attention", [1, 24, 4608, 128], True),
        ("aten::_scaled_dot_product_cudnn_attention", [1, 24, 4608, 128], True),
        (MATH, [1, 64, 512, 64], False),
    ],
)
def test_attention_that_is_as_it_should_be(run_with, operator, dims, inside):
    assert not found(run_with(_attention(operator, dims, inside=inside), applied=BF16), "attention-backend")


def _quantized(rows):
    dims = [[rows, 3072], [3072, 18432]]
    return [
        mark("diffuscope/step/0", 0, 1000),
        op("aten::_scaled_mm", 0, 2, **{"Input Dims": dims}),
        launch(0, 1, 1),
        kernel(1, 201, 1, "sm90_xmma_gemm_e4m3e4m3_small"),
        launch(2, 3, 2),
        kernel(201, 1000, 2, NVJET),
    ]


def test_quantized_gemms_of_few_rows(run_with):
    each = only(run_with(_quantized(1), name="a"), "tiny-quantized-gemm")
    assert (each.cost_ns, round(each.saving_low_ns), round(each.saving_high_ns)) == (200_000, 20_000, 160_000)
    assert only(run_with(_quantized(32), name="b"), "tiny-quantized-gemm").cost_ns == 200_000
    assert not found(run_with(_quantized(33), name="c"), "tiny-quantized-gemm")


def test_an_eager_step_could_be_fused(run_with):
    each = only(run_with(busy([(ADD, 200), (NVJET, 799)])), "unfused-eager")
    assert (each.cost_ns, each.saving_low_ns, each.saving_high_ns) == (200_000, 100_000, 160_000)
    assert each.severity == "high"


def test_a_compiled_step_is_fused_and_copies_over_the_bus_are_no_kernels(run_with):
    region = op("Torch-Compiled Region: 0/0", 0, 2)
    assert not found(run_with(busy([(ADD, 200), (NVJET, 799)], inside=[region]), name="a"), "unfused-eager")
    assert not found(run_with(busy([("Memcpy DtoD (Device -> Device)", 200), (NVJET, 799)]), name="b"), "unfused-eager")
    assert not found(run_with(busy([(ADD, 40), (NVJET, 959)]), name="c"), "unfused-eager")


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert('x')</script>",
        "k" * 100_000,
        "a\nb\tc\x1b[31m",
        "[bold]markup[/bold] %s {0} \\",
        "ядро ☃ \ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "",
    ],
)
def test_names_of_any_kind(run_with, name):
    from profiler.report.diagnose import diagnose, to_json
    from profiler.report.diagnose_text import render

    report = diagnose(run_with(busy([(name + "gemm_s8 sm80_", 500), (name, 499)]), environment=H100))
    assert {row.detail for row in report.rows if row.kind == "busy"} == {name + "gemm_s8 sm80_", name}
    text = render(report)
    assert max(len(line) for line in text.splitlines()) < 400
    assert all(character.isprintable() or character == "\n" for character in text)
    assert sum(row["total_us"] for row in to_json(report)["ledger"]) == pytest.approx(1000)
