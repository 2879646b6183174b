"""fp8-sparse: fp8dqrow with 2:4 sparse weights, multiplied by torchao's CUTLASS kernel for Hopper."""

from typing import Any

from profiler.core.scheme_bytes import PRUNED
from profiler.schemes.base import SCHEMES, Scheme


def _convert(linear: Any, _set_inductor_config: bool) -> None:
    import torch

    from profiler.kernels.sparse_fp8_weight import SparseFloat8Tensor

    linear.weight = torch.nn.Parameter(SparseFloat8Tensor.from_dense(linear.weight.detach()), requires_grad=False)


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
        convert=_convert,
        missing=_missing,
        weight_only="fp8wo",
        min_rows=17,
        # What the kernel's places of non-zeros are padded to.
        multiple_of=128,
        min_capability=(9, 0),
        needs_cuda=True,
        note=PRUNED,
    ),
)
