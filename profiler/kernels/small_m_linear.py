"""A weight-only linear for very few rows (adaLN modulations, time embeddings): one custom op, eager and compiled.

At M = 1 a linear is bound by reading its weight. The usual weight-only path first writes a bf16 copy of the weight and
then reads it back: five bytes a parameter moved instead of one. Left to Inductor as a multiply and a sum, the
activation function before it is fused into the reduction and computed again for every output row, which costs more than
the reading (0.7 TB/s on an H100; this kernel: 1.6). Here each quantized byte is read once and nothing else is done.
"""

from __future__ import annotations

import torch

try:
    import triton
    import triton.language as tl
except ImportError:  # a CPU build of torch: the reference below serves
    triton = None

# Most rows for which re-reading the weight from L2 for each row still beats a tensor-core GEMM.
MAX_ROWS = 8
_BLOCK_N, _BLOCK_K, _WARPS = 8, 512, 4

if triton is not None:

    @triton.jit  # type: ignore[untyped-decorator]
    def _small_m_linear_kernel(  # type: ignore[no-untyped-def]  # noqa: ANN202
        x,  # noqa: ANN001
        weight,  # noqa: ANN001
        scale,  # noqa: ANN001
        bias,  # noqa: ANN001
        out,  # noqa: ANN001
        n_size,  # noqa: ANN001
        k_size,  # noqa: ANN001
        scale_stride,  # noqa: ANN001
        has_bias: tl.constexpr,
        block_n: tl.constexpr,
        block_k: tl.constexpr,
    ):
        row = tl.program_id(1)
        n = tl.program_id(0) * block_n + tl.arange(0, block_n)
        k = tl.arange(0, block_k)
        total = tl.zeros((block_n, block_k), dtype=tl.float32)
        for start in range(0, k_size, block_k):
            inside = start + k < k_size
            w = tl.load(
                weight + n[:, None] * k_size + start + k[None, :], mask=(n < n_size)[:, None] & inside[None, :], other=0.0
            )
            xs = tl.load(x + row * k_size + start + k, mask=inside, other=0.0)
            total += w.to(tl.float32) * xs.to(tl.float32)[None, :]
        result = tl.sum(total, axis=1) * tl.load(scale + n * scale_stride, mask=n < n_size, other=0.0).to(tl.float32)
        if has_bias:
            result += tl.load(bias + n, mask=n < n_size, other=0.0).to(tl.float32)
        tl.store(out + row * n_size + n, result.to(out.dtype.element_ty), mask=n < n_size)


def reference(x: torch.Tensor, qdata: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The same in plain torch, summed in float32; the CPU's implementation."""
    out = (x.float() @ qdata.float().t()) * scale.float().flatten()
    return (out if bias is None else out + bias.float()).to(x.dtype)


def _small_m_linear(x: torch.Tensor, qdata: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """`x @ (qdata * scale).T + bias`, the weight read once a row.

    Args:
        x: activations (M, K), M at most `MAX_ROWS`, bf16 or fp16.
        qdata: quantized weight (N, K), int8 or float8_e4m3fn, contiguous.
        scale: float32, one an output row (N or N x 1) or one of all.
        bias: (N,) or None.

    Returns:
        (M, N) in the dtype of `x`; the sum runs in float32.
    """
    if not x.is_cuda:
        return reference(x, qdata, scale, bias)
    n_size, k_size = qdata.shape
    out = torch.empty(x.shape[0], n_size, dtype=x.dtype, device=x.device)
    grid = (triton.cdiv(n_size, _BLOCK_N), x.shape[0])
    torch.library.wrap_triton(_small_m_linear_kernel)[grid](
        x.contiguous(),
        qdata,
        scale,
        out if bias is None else bias,
        out,
        n_size,
        k_size,
        0 if scale.numel() == 1 else 1,
        has_bias=bias is not None,
        block_n=_BLOCK_N,
        block_k=_BLOCK_K,
        num_warps=_WARPS,
    )
    return out


_SCHEMA = "(Tensor x, Tensor qdata, Tensor scale, Tensor? bias) -> Tensor"
if triton is not None:
    # A Triton op is launched by Inductor's own wrapper; an opaque custom op went through Python at 60 to 160 us a call,
    # and a Flux step has 83 of them.
    small_m_linear = torch.library.triton_op("diffuscope::small_m_linear", _small_m_linear, mutates_args=(), schema=_SCHEMA)
else:
    small_m_linear = torch.library.custom_op("diffuscope::small_m_linear", reference, mutates_args=(), schema=_SCHEMA)

    @small_m_linear.register_fake  # type: ignore[untyped-decorator]
    def _(x: torch.Tensor, qdata: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return x.new_empty(x.shape[0], qdata.shape[0])


def supported(qdata: torch.Tensor) -> bool:
    """Whether the kernel can run on this weight: a CUDA device that converts its dtype."""
    if triton is None or not qdata.is_cuda or not qdata.is_contiguous():
        return False
    if qdata.dtype == torch.int8:
        return True
    return bool(qdata.dtype == torch.float8_e4m3fn and torch.cuda.get_device_capability(qdata.device) >= (8, 9))
