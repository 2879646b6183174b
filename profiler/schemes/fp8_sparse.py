"""fp8-sparse: fp8dqrow with 2:4 sparse weights, multiplied by torchao's CUTLASS kernel for Hopper."""

from typing import Any

from profiler.schemes.base import SCHEMES, Scheme


def _config(set_inductor_config: bool) -> Any:
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow
    from torchao.quantization.quantize_.workflows.float8.float8_packing_format import Float8PackingFormat

    return Float8DynamicActivationFloat8WeightConfig(
        granularity=PerRow(),
        packing_format=Float8PackingFormat.SPARSE_2D_DATA_2D_METADATA,
        set_inductor_config=set_inductor_config,
    )


def _convert(linear: Any, set_inductor_config: bool) -> None:
    import torch
    from torchao.quantization import quantize_

    from profiler.kernels.two_of_four import keep_two_of_four

    # torchao packs and does not prune: of a dense weight it would keep two of each four that nobody chose.
    linear.weight = torch.nn.Parameter(keep_two_of_four(linear.weight.detach()), requires_grad=False)
    quantize_(linear, _config(set_inductor_config))


def _missing() -> str | None:
    import torch
    import torchao

    del torchao  # importing it loads its kernels
    name = "torchao::rowwise_scaled_linear_sparse_cutlass_f8f8"
    if torch.cuda.get_device_capability()[0] != 9:
        return "its kernel runs on Hopper alone (compute capability 9.x)"
    if torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA"):
        return None
    return "torchao's CUTLASS kernels (_C_cutlass_90a) were not built for this torch and CUDA"


SCHEMES.add(
    "fp8-sparse",
    Scheme(
        name="fp8-sparse",
        summary="float8 weights and activations, one scale a row, weights 2:4 sparse by magnitude (Hopper)",
        config=_config,
        convert=_convert,
        missing=_missing,
        weight_only="fp8wo",
        min_rows=17,
        # What the kernel's places of non-zeros are padded to.
        multiple_of=128,
        min_capability=(9, 0),
        needs_cuda=True,
    ),
)
