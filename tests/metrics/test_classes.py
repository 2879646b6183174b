"""Which class each kernel belongs to, by real names."""

from __future__ import annotations

import gzip
import json

import pytest

from profiler.metrics.classes import classify_cpu, classify_gpu

_GPU = {
    "nvjet_sm90_tst_192x192_64x4_2x1_v_bz_coopB_bias_TNN": "GEMM bf16",
    "nvjet_hsh_128x128_64x6_2x1_v_bz_TNT": "GEMM fp16",
    "nvjet_sm90_qqtst_128x128_128x6_1x2_h_bz_ovscale_bias_TNT": "GEMM fp8",
    "sm90_xmma_gemm_f32f32_tf32f32_f32_tn_n_tilesize64x128x32_warpgroupsize1x1x1_execute": "GEMM tf32",
    "sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_execute": "GEMM bf16",
    "void cutlass::Kernel2<cutlass_80_tensorop_i16832gemm_s8_128x64_128x3_tn_align16>(x::Params)": "GEMM int8",
    "void cutlass::Kernel2<cutlass_80_wmma_tensorop_i161616gemm_s8_forwardCompat_128x128_32x2_nn_align4>(x)": "GEMM int8",
    "void cutlass::Kernel<cutlass_80_tensorop_s1688gemm_64x64_16x6_nt_align4>(x)": "GEMM tf32",
    "void cutlass::Kernel2<cutlass_80_tensorop_bf16_s16816gemm_relu_bf16_128x256_32x3_tn_align8>(x)": "GEMM bf16",
    "ampere_fp16_s16816gemm_fp16_128x128_ldg8_f2f_stages_32x5_tn": "GEMM fp16",
    "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_tn": "GEMM bf16",
    "ampere_sgemm_128x128_tn": "GEMM fp32",
    "volta_sgemm_32x32_sliced1x4_tn": "GEMM fp32",
    "volta_h884gemm_64x32_ldg8_nn": "GEMM fp16",
    "void gemv2T_kernel_val<int, int, float, float, float, float, 128, 16, 2, 2, false>(x)": "GEMM fp32",
    "void cublasLt::splitKreduce_kernel<32, 16, int, float, __nv_bfloat16, float, __nv_bfloat16, false>(x)": "GEMM bf16",
    "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int>, cutlass::float_e4m3_t> >(x)": "GEMM fp8",
    "sm90_xmma_sparse_gemm_i8bf16_i8i32_f32_tn_n_tilesize128x192x128_bias_bf16_kernel_5x_cusparselt": "GEMM int8 2:4",
    "sm90_xmma_sparse_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64_cusparselt": "GEMM bf16 2:4",
    "_ZN7cutlass13device_kernelIN7torchao34enable_3x_kernelINS3_40MainloopSm90TmaGmmaWarpSpecializedSparseILi4E"
    "NS_12float_e4m3_tENS_10bfloat16_tENS6_6half_tE": "GEMM fp8 2:4",
    "triton_poi_fused__to_copy_add_cat_clamp_div_gelu_maximum_minimum_mul_sparse_matmul_view_9": "fused pointwise",
    "dequantize_packed_kernel": "quantize/dequantize",
    "triton_tem_fused_addmm_0": "GEMM",
    "scaled_matmul_kernel_with_block_pointers": "GEMM int8",
    "_small_m_linear_kernel": "GEMM weight-only",
    "descriptor_kernel": "GEMM int8",
    "warpgroup_kernel": "GEMM int8",
    "pointer_kernel": "GEMM int8",
    "scale_kernel": "quantize/dequantize",
    "triton_red_fused__to_copy_amax_amin_clamp_int_scaled_matmul_maximum_minimum_mul_view_3": "quantize/dequantize",
    "triton_red_fused__to_copy_amax_clamp_gelu_int_scaled_matmul_mul_view_4": "fused reduction",
    "tinygemm_m16n8k16_chunk_kernel": "GEMM int4",
    "cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128x128_4x1x1_cga1x1x1_kernel0_0": "attention",
    "void pytorch_flash::flash_fwd_kernel<pytorch_flash::Flash_fwd_kernel_traits<128, 128, 64, 4>>(x)": "attention",
    "fmha_cutlassF_bf16_aligned_32x128_gmem_sm80(PyTorchMemEffAttention::AttentionKernel<x>::Params)": "attention",
    "triton_tem_fused_flex_attention_1": "attention",
    "sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64_cudnn": "convolution",
    "void cutlass__5x_cudnn::Kernel<cutlass_tensorop_bf16_s16816fprop_optimized_bf16_64x128_32x6_nhwc_align8>(x)": "convolution",
    "ampere_gcgemm_64x64_nt": "convolution",
    "cudnn_ampere_scudnn_128x64_relu_xregs_large_nn_v1": "convolution",
    "void cudnn::engines_precompiled::nchwToNhwcKernel<__nv_bfloat16>(x)": "copy",
    "void at::native::(anonymous namespace)::RowwiseMomentsCUDAKernel<c10::BFloat16>(long)": "norm",
    "void at::native::elementwise_kernel<128, 4, gpu_kernel_impl_nocast<GroupNormKernelImplInternal<x> > >(x)": "norm",
    "void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float, false>(int)": "norm",
    "triton_poi_fused_silu_0": "fused pointwise",
    "triton_red_fused_add_mul_native_layer_norm_split_unsqueeze_view_13": "fused reduction",
    "triton_per_fused__fused_rms_norm_view_3": "fused reduction",
    "triton_red_fused__scaled_mm__to_copy_abs_amax_clamp_div_gelu_t_unsqueeze_view_12": "fused reduction",
    "triton_red_fused__scaled_mm__to_copy_abs_amax_clamp_div_permute_split_with_sizes_t_unsqueeze_view_10": "quantize/dequantize",
    "triton_poi_fused__to_copy_add_clamp_div_expand_maximum_minimum_mul_neg_view_zeros_like_5": "quantize/dequantize",
    "void at::native::vectorized_elementwise_kernel<4, float8_copy_kernel_cuda(x)::{lambda(float)#1}>(x)": "quantize/dequantize",
    "void at::native::vectorized_elementwise_kernel<8, at::native::bfloat16_copy_kernel_cuda(x)::{lambda(float)#1}>(x)": "copy",
    "void at::native::(anonymous namespace)::CatArrayBatchedCopy_vectorized<at::native::OpaqueType<2u>, 3>(x)": "copy",
    "void at::native::vectorized_elementwise_kernel<4, at::native::FillFunctor<float>, std::array<char*, 1ul> >(x)": "memset",
    "void at::native::vectorized_elementwise_kernel<8, CUDAFunctor_add<c10::BFloat16>, std::array<char*, 3ul> >(x)": "pointwise",
    "void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float, at::native::MeanOps<float, float>, 4> >(x)": "reduction",
    "ncclKernel_AllReduce_RING_LL_Sum_float(ncclWorkElem)": "communication",
    "ncclDevKernel_SendRecv(ncclDevKernelArgsStorage<4096ul>)": "communication",
    "void fbgemm_gpu::permute_2D_lengths_kernel<int>(int)": "other",
    "my_own_kernel": "other",
}


@pytest.mark.parametrize(("name", "expected"), _GPU.items(), ids=[name[:40] for name in _GPU])
def test_gpu_kernels(name, expected):
    assert classify_gpu(name) == expected


def test_copies_and_memsets_go_by_their_category():
    assert classify_gpu("Memcpy DtoD (Device -> Device)", "gpu_memcpy") == "copy"
    assert classify_gpu("Memset (Device)", "gpu_memset") == "memset"


@pytest.mark.parametrize(
    ("name", "types", "expected"),
    [
        ("aten::addmm", '["float", "float", "float", "Scalar"]', "GEMM fp32"),
        ("aten::mm", '["c10::BFloat16", "c10::BFloat16"]', "GEMM bf16"),
        ("aten::_int_mm", '["signed char", "signed char"]', "GEMM int8"),
        ("diffuscope::sparse_matmul", '["signed char", "signed char", "float"]', "GEMM int8 2:4"),
        ("diffuscope::int_scaled_matmul", '["signed char", "signed char", "float"]', "GEMM int8"),
        ("graph_0_cpp_fused__to_copy_amax_clamp_int_scaled_matmul_2", None, "fused reduction"),
        ("aten::linear", None, "GEMM"),
        ("mkldnn::_linear_pointwise", '["", "c10::BFloat16"]', "GEMM bf16"),
        ("aten::_scaled_dot_product_flash_attention_for_cpu", None, "attention"),
        ("aten::mkldnn_convolution", None, "convolution"),
        ("aten::native_layer_norm", None, "norm"),
        ("aten::native_group_norm", None, "norm"),
        ("graph_0_cpp_fused_add_mul_3", None, "fused pointwise"),
        ("Torch-Compiled Region: 6/1", None, "compiled region"),
        ("aten::copy_", None, "copy"),
        ("aten::mul", None, "pointwise"),
        ("aten::_softmax", None, "reduction"),
        ("aten::fill_", None, "memset"),
        ("aten::view", None, "other"),
    ],
)
def test_host_operators(name, types, expected):
    assert classify_cpu(name, types) == expected


def test_on_the_real_flux_traces_little_is_left_as_other(shared):
    for path in sorted((shared / "h100").glob("*.trace.json.gz")):
        events = [e for e in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"] if e.get("cat") == "kernel"]
        other = sum(e["dur"] for e in events if classify_gpu(e["name"]) in ("other", "GEMM"))
        assert other < 0.005 * sum(e["dur"] for e in events), path.name
