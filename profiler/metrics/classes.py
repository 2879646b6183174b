"""The one table that says which class a kernel or operator belongs to.

Rows are tried from top to bottom against the name; the first that is found decides, so that every kernel has exactly one class;
`other` is what no row claims. A kernel that Inductor fused stays `fused pointwise` or `fused reduction` even where it also
quantizes: without that it would still run. Only a fused kernel that does nothing but quantize is called so.
"""

from __future__ import annotations

import re

from profiler.tables import schema

ATTENTION, CONVOLUTION, NORM = "attention", "convolution", "norm"
FUSED_POINTWISE, FUSED_REDUCTION = "fused pointwise", "fused reduction"
POINTWISE, REDUCTION = "pointwise", "reduction"
QUANTIZE, COPY, MEMSET, COMMUNICATION, OTHER = "quantize/dequantize", "copy", "memset", "communication", "other"
COMPILED_REGION = "compiled region"
GEMM = "GEMM"
SPARSE = " 2:4"
"""What ends the class of a product with a 2:4 sparse weight: of each four neighbours two are stored and multiplied."""

_Rows = list[tuple[str, re.Pattern[str]]]


def _table(*rows: tuple[str, str]) -> _Rows:
    return [(label, re.compile(pattern)) for label, pattern in rows]


# GPU kernels.
_KERNELS = _table(
    (COMMUNICATION, r"(?i)nccl|rccl|nvshmem|cross_device_reduce|(one|two)_shot_all"),
    (COMMUNICATION, r"(?i)(all_?reduce|all_?gather|reduce_?scatter)_kernel"),
    # Flash, memory-efficient, cuDNN, Triton's flex attention, SageAttention.
    (ATTENTION, r"(?i)flash|fmha|mha_fwd|sdpa|AttentionKernel|flex_(attention|decoding)|_attn_|attn_fwd|sageattn"),
    # Templates that Inductor fills in, and matmuls written by hand in Triton.
    (CONVOLUTION, r"^triton_.*convolution\w*_template|^triton_tem_fused_convolution"),
    (GEMM, r"^triton_(tem|mm|bmm)|^_?(scaled_)?matmul_kernel|linear_kernel|^triton_.*_template"),
    # Ours; a kernel that Inductor fused lists the operator that it feeds, and is none itself.
    (GEMM, r"^(descriptor|warpgroup|pointer)_kernel|^(?!triton_(poi|red|per|split|mix)_).*int_scaled_matmul"),
    (QUANTIZE, r"^scale_kernel"),
    (FUSED_REDUCTION, r"^triton_(red|per|split|mix)_"),
    (FUSED_POINTWISE, r"^triton_"),
    # cuDNN's change of memory layout around a convolution moves data and computes nothing.
    (COPY, r"nchwToNhwc|nhwcToNchw|tensorTransform|cudnn.*[tT]ranspose"),
    (CONVOLUTION, r"(?i)conv(?!ert)|fprop|dgrad|wgrad|implicit_gemm|winograd|fft2d|gcgemm|im2col|vol2col"),
    (CONVOLUTION, r"scudnn|cask_cudnn|cudnn_infer"),
    (NORM, r"(?i)(layer|group|batch|instance|rms)_?norm|bn_(fw|bw)"),
    (NORM, r"RowwiseMoments|ComputeFusedParams|GammaBeta|ComputeInternalGradients"),
    (QUANTIZE, r"(?i)float8_copy|quantize|qparams|round_kernel|to_float8|cvt_fp8|int8_quant"),
    (GEMM, r"(?i)(?<!fb)gemm|gemv|nvjet|splitK|_mm_kernel|cublasLt|magma|dot_kernel"),
    (GEMM, r"epilogue::impl|cutlass.*(device_kernel|Kernel2?<)"),
    (MEMSET, r"FillFunctor|Memset|fill_kernel"),
    (COPY, r"direct_copy|copy_kernel|CatArray|copy_device_to_device|Memcpy|transpose_kernel|_copy_async|copyKernel"),
    (REDUCTION, r"(?i)reduce_kernel|softmax|cub::.*(Reduce|Scan)|cumsum|cumprod|argmax|norm_kernel|cunn_"),
    (POINTWISE, r"(?i)elementwise|pointwise|index_kernel|multi_tensor_apply|fused_dropout|where_kernel|clamp_scalar"),
)

# The dtype of a GEMM's inputs. cuBLAS writes nvjet's as one letter: q, r fp8; t bf16; h fp16; s fp32 on tensor cores, so tf32.
_GEMM_DTYPES = _table(
    ("weight-only", r"small_m_linear"),
    ("fp8", r"e4m3|e5m2|_f8f8|fp8|nvjet_(sm\d+_)?[qr]"),
    ("fp4", r"e2m1|nvfp4|mxfp4|nvjet_(sm\d+_)?o"),
    ("int4", r"tinygemm|int4|_s4_|_u4_"),
    ("int8", r"gemm_[su]8|gemm_i8|i8_?i8|IgemmTraits|igemm|int8|\bimma|_imma_|int_mm|int_scaled|scaled_matmul_kernel_with_block"),
    ("int8", r"^(descriptor|warpgroup|pointer)_kernel"),
    ("bf16", r"bf16|bfloat16|nvjet_(sm\d+_)?t"),
    ("fp16", r"f16f16|fp16|gemm_f16|f16_s\d+gemm|(?<![a-z])h\d*gemm|half|nvjet_(sm\d+_)?h"),
    ("tf32", r"tf32|tfloat32|s1688gemm|nvjet_(sm\d+_)?s"),
    ("fp64", r"dgemm|d884gemm|\bdouble\b"),
    ("fp32", r"sgemm|\bfloat\b|f32f32|gemm_f32"),
)

# A 2:4 product: cuSPARSELt's name, CUTLASS's main loop, torchao's operator and ours.
_SPARSE = re.compile(r"sparse_gemm|WarpSpecializedSparse|GMMA6SPARSE|linear_sparse_cutlass|::sparse_matmul|_cslt_sparse_mm")

# What a fused kernel's name lists when it computes a scale or rounds to a narrow type, ...
_QUANTIZING = re.compile(
    r"(amax|amin|maximum|minimum|abs).*clamp|clamp.*(maximum|minimum)|_scaled_mm.*clamp|qparams|quantize|round"
)
# ... and when it does other work than that (`stack`, `unbind`: rotary embeddings; `split_unsqueeze`: adaLN gates).
_WORKING = re.compile(
    r"norm|gelu|silu|sigmoid|tanh|softmax|attention|dropout|cos_|sin_|mean|var_|pow|rsqrt|embedding|cumsum"
    r"|stack|unbind|split_unsqueeze"
)

# Host operators, for runs without a GPU.
_CPU_OPS = _table(
    (COMMUNICATION, r"(?i)^(_?c10d|nccl|gloo|mpi)|record_param_comms|all_?reduce|all_?gather|reduce_scatter"),
    (ATTENTION, r"scaled_dot_product|flash_attention|_efficient_attention|^aten::_native_multi_head"),
    (GEMM, r"linear_sparse_cutlass"),
    (QUANTIZE, r"(?i)quantize|qparams|^aten::round|^torchao::(?!.*mm)"),
    (GEMM, r"(^|::|_)(addmm|addbmm|baddbmm|addmv|mm|bmm|mv|matmul|linear|dot|int_mm|scaled_mm)_?$"),
    (GEMM, r"_int_mm|_scaled_mm|^(?!.*cpp_fused).*int_scaled|mkl_?linear|mkldnn.*linear|linear_pointwise|gemm|packed_linear"),
    (CONVOLUTION, r"conv\d?d?|convolution"),
    (NORM, r"(layer|group|batch|rms|instance)_norm"),
    # Inductor's C++ kernels, where its kernel profile is on; else their time is the compiled region's own.
    (FUSED_REDUCTION, r"cpp_fused.*(sum|mean|amax|amin|softmax|norm|var)"),
    (FUSED_POINTWISE, r"cpp_fused"),
    (COMPILED_REGION, r"^Torch-Compiled Region|CompiledFxGraph|^CompiledFunction|^AOTDispatcher"),
    (MEMSET, r"^aten::(zero_|fill_|zeros|ones|full|new_zeros|new_ones|new_full)"),
    (COPY, r"^aten::(copy_|_to_copy|to|clone|contiguous|cat|stack|repeat|index_select|embedding|gather|flip|roll)$"),
    (COPY, r"^aten::(constant_)?pad"),
    (REDUCTION, r"^aten::_?(sum|mean|a?max|a?min|(safe_|log_)?softmax|norm|var|std|any|all|argmax|cumsum)\b"),
    (REDUCTION, r"^aten::(linalg_vector_norm|is_nonzero|isfinite)"),
    (POINTWISE, r"^aten::(add|sub|rsub|mul|div|neg|abs|reciprocal|pow|r?sqrt|exp|log|erf|sin|cos|tanh|floor|ceil|remainder)_?$"),
    (POINTWISE, r"^aten::(sigmoid|silu|gelu|relu|leaky_relu|hardtanh|mish|softplus|clamp\w*|where|maximum|minimum|lerp)_?$"),
    (POINTWISE, r"^aten::(eq|ne|lt|le|gt|ge|logical_\w+|bitwise_\w+|addcmul|addcdiv|masked_fill|arange|isneginf|isposinf)_?$"),
    (POINTWISE, r"^aten::(normal|randn|rand|uniform)_?$"),
)

_CPU_DTYPES = {
    "c10::BFloat16": "bf16",
    "c10::Half": "fp16",
    "c10::Float8_e4m3fn": "fp8",
    "c10::Float8_e5m2": "fp8",
    "signed char": "int8",
    "unsigned char": "int8",
    "float": "fp32",
    "double": "fp64",
}


def classify_gpu(name: str, cat: str = schema.KERNEL) -> str:
    """The class of one GPU event by its name and category (`kernel`, `gpu_memcpy`, `gpu_memset`)."""
    if cat == schema.MEMCPY:
        return COPY
    if cat == schema.MEMSET:
        return MEMSET
    label = _first(_KERNELS, name)
    if label == GEMM:
        return _gemm(_first(_GEMM_DTYPES, name, ""), name)
    if label in (FUSED_POINTWISE, FUSED_REDUCTION) and _only_quantizes(name):
        return QUANTIZE
    return label


def classify_cpu(name: str, input_types: str | None = None) -> str:
    """The class of one host operator by its name; a GEMM's dtype comes from its recorded input types (JSON text)."""
    label = _first(_CPU_OPS, name)
    return _gemm(_cpu_dtype(input_types or ""), name) if label == GEMM else label


def _gemm(dtype: str, name: str) -> str:
    return (f"{GEMM} {dtype}" if dtype else GEMM) + (SPARSE if _SPARSE.search(name) else "")


def _only_quantizes(name: str) -> bool:
    return bool(_QUANTIZING.search(name)) and not _WORKING.search(name)


def _cpu_dtype(input_types: str) -> str:
    found = re.findall(r'"([^"]*)"', input_types)
    return next((_CPU_DTYPES[each] for each in found if each in _CPU_DTYPES), "")


def _first(rows: _Rows, name: str, otherwise: str = OTHER) -> str:
    return next((label for label, pattern in rows if pattern.search(name)), otherwise)
