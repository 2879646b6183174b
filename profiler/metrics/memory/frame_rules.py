"""What a stack frame says about an allocation, by its file and function."""

from __future__ import annotations

import re
from typing import NamedTuple

from profiler.metrics.memory import labels

# What goes on around an allocation. Of several in one stack the first of this order decides.
TUNING, COMPILING, CONVERTING, ONLOADING, LOADING = "tuning", "compiling", "converting", "onloading", "loading"
AROUND = (TUNING, COMPILING, CONVERTING, ONLOADING, LOADING)

# Frames of one component: part of the file's path, component. A text encoder's number depends on the pipeline.
TEXT_ENCODERS = ("clip", "t5")
_COMPONENTS = (
    ("diffusers/models/transformers/", "transformer"),
    ("diffusers/models/unets/unet_2d_condition", "unet"),
    ("diffusers/models/autoencoders/", "vae"),
    ("transformers/models/clip/", "clip"),
    ("transformers/models/t5/", "t5"),
    ("transformers/models/umt5/", "t5"),
    ("transformers/models/", "text_encoder"),
    ("diffusers/schedulers/", labels.SCHEDULER),
    ("diffusers/image_processor.py", labels.PIPELINE),
    ("diffusers/video_processor.py", labels.PIPELINE),
    ("diffusers/pipelines/", labels.PIPELINE),
)
# End of the file's path, functions (empty: any), what goes on. An offload's hook is also on the stack of a component's forward,
# whose activations are none of the hook's: only the functions that bring weights count.
_AROUND = (
    ("torch/_dynamo/convert_frame.py", (), COMPILING),
    ("torch/_inductor/constant_folding.py", (), COMPILING),
    ("torch/_inductor/runtime/benchmarking.py", (), TUNING),
    ("torch/_inductor/runtime/coordinate_descent_tuner.py", (), TUNING),
    ("torch/_inductor/runtime/triton_heuristics.py", ("bench", "benchmark_all_configs", "autotune_to_one_config"), TUNING),
    ("torch/_inductor/select_algorithm.py", (), TUNING),
    ("torch/_inductor/autotune_process.py", (), TUNING),
    ("triton/testing.py", (), TUNING),
    ("triton/runtime/autotuner.py", ("_bench", "do_bench"), TUNING),
    ("accelerate/hooks.py", ("pre_forward", "init_hook"), ONLOADING),
    ("accelerate/utils/modeling.py", ("set_module_tensor_to_device",), ONLOADING),
    ("diffusers/hooks/group_offloading.py", ("onload_", "_onload_from_memory", "_onload_from_disk"), ONLOADING),
    ("torchao/quantization/quant_api.py", ("quantize_", "_replace_with_custom_fn_if_matches_filter"), CONVERTING),
    ("profiler/recording/prepare.py", ("quantize_pipeline",), CONVERTING),
    ("profiler/recording/prepare.py", (), LOADING),
    ("diffusers/pipelines/pipeline_utils.py", ("from_pretrained", "to"), LOADING),
    ("diffusers/models/modeling_utils.py", ("from_pretrained",), LOADING),
    ("transformers/modeling_utils.py", ("from_pretrained",), LOADING),
)

# One call of such a function is one operator: what it frees before it returns was that operator's workspace.
_OPERATORS = (
    ("torch/nn/modules/conv.py", "_conv_forward", labels.CONVOLUTION),
    ("torch/nn/modules/linear.py", "forward", labels.GEMM),
    ("diffusers/models/attention_dispatch.py", "_native_attention", labels.ATTENTION),
    ("transformers/integrations/sdpa_attention.py", "sdpa_attention_forward", labels.ATTENTION),
    ("torch/nn/functional.py", "scaled_dot_product_attention", labels.ATTENTION),
    ("torch/nn/functional.py", "multi_head_attention_forward", labels.ATTENTION),
)
_GENERATED = re.compile(r"(^|[/\\])torchinductor(_[^/\\]*)?[/\\]|[/\\]c[a-z2-7]{51}\.py$")
_QUANTIZER = re.compile(r"(^|/)(torchao|profiler/schemes|profiler/kernels)/")
# Frames that allocate for somebody else: not the place that a person would look at.
_LIBRARY = re.compile(
    r"(^|/)(torch|torchao|triton|accelerate|contextlib|functools|threading|runpy)[/.]|^<|(^|/)profiler/recording/"
)


class FrameFacts(NamedTuple):
    """What one frame says; empty where it says nothing.

    Args:
        component: component of its file.
        around: what goes on, one of the words above.
        operator: workspace role, where the frame is one operator's.
        quantizing: a role of what quantized layers hold while they run.
        module: an nn.Module's call.
        library: the frame allocates for somebody else.
        generated: code that Inductor wrote.
    """

    component: str
    around: str
    operator: str
    quantizing: str
    module: bool
    library: bool
    generated: bool


def frame_facts(file: str, name: str) -> FrameFacts:
    """What a frame of function `name` in `file` says."""
    path = file.replace("\\", "/")
    generated = bool(_GENERATED.search(path))
    return FrameFacts(
        component=next((component for part, component in _COMPONENTS if part in path), ""),
        around=_around(path, name),
        operator=next((role for end, function, role in _OPERATORS if path.endswith(end) and name == function), ""),
        quantizing=_quantizing(path, name),
        module=path.endswith("torch/nn/modules/module.py") and name == "_call_impl",
        library=generated or bool(_LIBRARY.search(path)),
        generated=generated,
    )


def _around(path: str, name: str) -> str:
    for end, functions, word in _AROUND:
        if path.endswith(end) and (not functions or name in functions):
            return word
    return ""


def _quantizing(path: str, name: str) -> str:
    if not _QUANTIZER.search(path):
        return ""
    if "dequantize" in name:
        return labels.DEQUANTIZED
    return labels.QUANTIZED_ACTIVATION if "quantize" in name or "qparams" in name or "choose_scale" in name else ""
