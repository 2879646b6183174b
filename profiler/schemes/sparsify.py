"""sparsify: int8dq with 2:4 sparse weights, multiplied by cuSPARSELt.

torchao's own `sparsify_` with an int8 config runs, and is plain dense int8: its sparse layout is gone since 0.17.
"""

from typing import Any

from profiler.core.scheme_bytes import PRUNED
from profiler.schemes.base import SCHEMES, Scheme


def _convert(linear: Any, _set_inductor_config: bool) -> None:
    import torch

    from profiler.kernels.sparse_weight import SparseInt8Tensor

    linear.weight = torch.nn.Parameter(SparseInt8Tensor.from_dense(linear.weight.detach()), requires_grad=False)


def _missing() -> str | None:
    from profiler.kernels.sparse_matmul import available

    return None if available() else "this torch was built without cuSPARSELt"


SCHEMES.add(
    "sparsify",
    Scheme(
        name="sparsify",
        summary="int8 weights and activations, weights 2:4 sparse by magnitude",
        convert=_convert,
        missing=_missing,
        weight_only="int8wo",
        min_rows=17,
        # cuSPARSELt takes 8-bit matrices in blocks of 32.
        multiple_of=32,
        min_capability=(8, 0),
        needs_cuda=True,
        note=PRUNED,
    ),
)
