"""The one table that says which class a kernel or operator belongs to.

Rows are tried from top to bottom against the name; the first that is found decides, so that every kernel has exactly one class. `other` is what no row
claims. A kernel that Inductor fused is `fused pointwise` or `fused reduction` even where it holds a norm or a dtype conversion: without
those it would still run. Only a fused kernel that does nothing but quantize is called so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from profiler.tables import schema

ATTENTION, CONVOLUTION, NORM = "attention", "convolution", "norm"
FUSED_POINTWISE, FUSED_REDUCTION = "fused pointwise", "fused reduction"
POINTWISE, REDUCTION = "pointwise", "reduction"
QUANTIZE, COPY, MEMSET, COMMUNICATION, OTHER = "quantize/dequantize", "copy", "memset", "communication", "other"
COMPILED_REGION = "compiled region (host)"


def gemm(dtype: str) -> str:
    """The class of matrix multiplications whose inputs have this dtype."""
    return f"GEMM {dtype}" if dtype else "GEMM"


_Row = tuple[str, str]


def _compiled(rows: Iterable[_Row]) -> list[tuple[str, re.Pattern[str]]]:
    return [(label, re.compile(pattern)) for label, pattern in rows]


# What a fused kernel's name lists when it computes a scale or rounds to a narrow type, ...
_QUANTIZING = re.compile(
    r"(amax|amin|maximum|minimum|abs).*clamp|clamp.*(maximum|minimum)|_scaled_mm.*clamp|_choose_qparams|_quantize_affine|round"
)
# ... and what it lists when it does other work than that (`stack`, `unbind`: rotary embeddings; `split_unsqueeze`: adaLN gates).
_WORKING = re.compile(
    r"norm|gelu|silu|sigmoid|tanh|softmax|attention|dropout|cos_|sin_|mean|var_|pow|rsqrt|embedding|cumsum|stack|unbind|split_unsqueeze"
)

# Matrix multiplication, by the dtype of its inputs. Looked at only where _KERNELS says GEMM.
_GEMM_DTYPES = _compiled(
    (
        ("fp8", r"e4m3|e5m2|float_e[45]m|_f8f8|fp8|nvjet_(sm\d+_)?[qr]"),
        ("fp4", r"e2m1|nvfp4|mxfp4|nvjet_(sm\d+_)?o"),
        ("int4", r"tinygemm|int4|_s4_|_u4_"),
        (
            "int8",
            r"gemm_s8|_i8i8|i8_i8|IgemmTraits|igemm|int8|gemm_u8|_imma_|\bimma|scaled_matmul_kernel_with_block|int_mm|int_scaled",
        ),
        ("bf16", r"bf16|bfloat16|nvjet_(sm\d+_)?t"),
        ("fp16", r"f16f16|_fp16|gemm_f16|f16_s\d+gemm|h\d*gemm|half|hgemm|nvjet_(sm\d+_)?h"),
        ("tf32", r"tf32|tfloat32|s1688gemm|nvjet_(sm\d+_)?s"),
        ("fp64", r"dgemm|\bdouble\b|d884gemm"),
        ("fp32", r"sgemm|\bfloat\b|f32f32|gemm_f32"),
    )
)

# GPU kernels.
_KERNELS = _compiled(
    (
        (
            COMMUNICATION,
            r"(?i)nccl|all_?reduce_kernel|all_?gather_kernel|reduce_?scatter_kernel|nvshmem|rccl|one_shot_all|two_shot_all|cross_device_reduce",
        ),
        # Attention: flash, memory-efficient, cuDNN, Triton's flex attention, SageAttention.
        (ATTENTION, r"(?i)flash|fmha|sdpa|AttentionKernel|flex_attention|flex_decoding|_attn_|attn_fwd|sageattn|mha_fwd"),
        # Triton templates that Inductor fills in for matmuls, and hand-written matmuls.
        ("GEMM", r"^triton_(tem|mm|bmm)|^_?(scaled_)?matmul_kernel|int_scaled_matmul|^triton_.*_template"),
        (CONVOLUTION, r"^triton_convolution"),
        (FUSED_REDUCTION, r"^triton_(red|per|split|mix)_"),
        (FUSED_POINTWISE, r"^triton_(poi|for|unk)_|^triton_"),
        # cuDNN's change of memory layout around a convolution moves data and computes nothing.
        (COPY, r"nchwToNhwc|nhwcToNchw|tensorTransform|cudnn.*[tT]ranspose"),
        (
            CONVOLUTION,
            r"(?i)conv(?!ert)|fprop|dgrad|wgrad|implicit_gemm|scudnn|cask_cudnn|winograd|fft2d|gcgemm|cudnn_infer|im2col|vol2col",
        ),
        (
            NORM,
            r"(?i)layer_?norm|group_?norm|batch_?norm|instance_?norm|rms_?norm|RowwiseMoments|ComputeFusedParams|GammaBeta|ComputeInternalGradients|bn_(fw|bw)",
        ),
        (QUANTIZE, r"(?i)float8_copy|quantize|qparams|round_kernel|to_float8|cvt_fp8|int8_quant"),
        (
            "GEMM",
            r"(?i)(?<!fb)gemm|gemv|nvjet|splitK|_mm_kernel|cublasLt|magma|epilogue::impl|cutlass.*(device_kernel|Kernel2?<)|dot_kernel|hgemm|tinygemm",
        ),
        (MEMSET, r"FillFunctor|Memset|fill_kernel"),
        (COPY, r"direct_copy|copy_kernel|CatArray|copy_device_to_device|Memcpy|transpose_kernel|_copy_async|copyKernel"),
        (REDUCTION, r"(?i)reduce_kernel|softmax|cub::.*(Reduce|Scan)|cumsum|cumprod|argmax|norm_kernel|cunn_"),
        (
            POINTWISE,
            r"(?i)elementwise|pointwise|index_kernel|multi_tensor_apply|fused_dropout|where_kernel|clamp_scalar|tensor_kernel_scan",
        ),
    )
)

# Host operators, for runs without a GPU.
_CPU_OPS = _compiled(
    (
        (COMMUNICATION, r"(?i)^(c10d|nccl|gloo|mpi)|record_param_comms|all_?reduce|all_?gather|reduce_scatter"),
        (ATTENTION, r"scaled_dot_product|flash_attention|_efficient_attention|^aten::_native_multi_head"),
        (QUANTIZE, r"(?i)quantize|qparams|^aten::round|^torchao::(?!.*mm)"),
        (
            "GEMM",
            r"(?i)(^|::|_)(add)?(mm|bmm|addmm|baddbmm|addmv|mv|matmul|linear|dot)(_|$)|_int_mm|_scaled_mm|int_scaled|mkldnn_linear|mkl_linear|gemm",
        ),
        (CONVOLUTION, r"conv\d?d?|convolution|slow_conv|thnn_conv|mkldnn_conv"),
        (NORM, r"layer_norm|group_norm|batch_norm|rms_norm|instance_norm"),
        # Inductor's C++ kernels, where its kernel profile is on; else their time is the compiled region's own.
        (FUSED_REDUCTION, r"cpp_fused.*(sum|mean|amax|amin|softmax|norm|var)"),
        (FUSED_POINTWISE, r"cpp_fused"),
        (
            COMPILED_REGION,
            r"^Torch-Compiled Region|^## Call CompiledFxGraph|^CompiledFunction|AOTDispatcher|^TorchDynamo|^Pregraph",
        ),
        (MEMSET, r"^aten::(zero_|fill_|zeros|ones|full|empty\w*|new_\w+)"),
        (
            COPY,
            r"^aten::(copy_|_to_copy|to|clone|contiguous|cat|stack|repeat|index_select|embedding|gather|pad|constant_pad_nd|flip|roll)$",
        ),
        (
            REDUCTION,
            r"^aten::_?(sum|mean|amax|amin|max|min|softmax|log_softmax|norm|var|std|any|all|argmax|cumsum|linalg_vector_norm|is_nonzero|isfinite)",
        ),
        (
            POINTWISE,
            r"^aten::(add|sub|mul|div|neg|pow|sqrt|rsqrt|exp|log|sin|cos|tanh|sigmoid|silu|gelu|relu|clamp|where|abs|reciprocal|rsub|maximum|minimum|"
            r"eq|ne|lt|le|gt|ge|logical_\w+|bitwise_\w+|erf|floor|ceil|addcmul|addcdiv|lerp|arange|masked_fill|leaky_relu|hardtanh|mish|softplus|remainder|normal|randn|rand)_?$",
        ),
    )
)

_CPU_DTYPES = {
    "c10::BFloat16": "bf16",
    "c10::Half": "fp16",
    "float": "fp32",
    "double": "fp64",
    "signed char": "int8",
    "unsigned char": "int8",
    "c10::Float8_e4m3fn": "fp8",
    "c10::Float8_e5m2": "fp8",
}


def classify_gpu(name: str, cat: str = schema.KERNEL) -> str:
    """The class of one GPU event by its name and category (`kernel`, `gpu_memcpy`, `gpu_memset`)."""
    if cat == schema.MEMCPY:
        return COPY
    if cat == schema.MEMSET:
        return MEMSET
    label = _first(_KERNELS, name)
    if label == "GEMM":
        return gemm(_first(_GEMM_DTYPES, name, ""))
    if label in (FUSED_POINTWISE, FUSED_REDUCTION) and _only_quantizes(name):
        return QUANTIZE
    return label


def classify_cpu(name: str, input_types: str | None = None) -> str:
    """The class of one host operator by its name; a GEMM's dtype comes from its recorded input types (JSON text)."""
    label = _first(_CPU_OPS, name)
    if label == "GEMM":
        return gemm(_cpu_dtype(input_types or ""))
    return label


def _only_quantizes(name: str) -> bool:
    return bool(_QUANTIZING.search(name)) and not _WORKING.search(name)


def _cpu_dtype(input_types: str) -> str:
    found = re.findall(r'"([^"]+)"', input_types)
    return next((_CPU_DTYPES[each] for each in found if each in _CPU_DTYPES), "")


def _first(rows: list[tuple[str, re.Pattern[str]]], name: str, otherwise: str = OTHER) -> str:
    return next((label for label, pattern in rows if pattern.search(name)), otherwise)
