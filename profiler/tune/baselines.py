"""What a tuned kernel is held against: torchao's own product, cuBLASLt's, and bf16 and fp8 of the same shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from profiler.kernels.candidate import Shape
from profiler.tune.check import integers
from profiler.tune.timing import Timer

_REPEATS = 15
# What int8dq runs where no kernel was tuned.
UNTUNED = "int_mm x scale"


def measure_baselines(shape: Shape, device: str, timer: Timer, seed: int) -> dict[str, float]:
    """Median microseconds by name; what the device cannot do is absent.

    `int_mm x scale` is what untuned int8dq runs in eager mode, quantizing left out as everywhere here; `int_mm` its product
    alone; `bf16` and `fp8 row-wise` are cuBLASLt's.
    """
    import torch

    generator = torch.Generator(device).manual_seed(seed)
    operands = integers(shape, device, generator)
    row, col, bias = (torch.rand(size, device=device, generator=generator) for size in (shape.m, shape.n, shape.n))
    found = {}
    for name, make in _BASELINES.items():
        try:
            found[name] = timer.median_us(make(*operands, row[:, None], col, bias.to(torch.bfloat16)), _REPEATS)
        except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError):
            continue
    return found


def _scaled_int_mm(a: Any, b: Any, row: Any, col: Any, bias: Any) -> Callable[[], Any]:
    import torch

    def run() -> Any:
        # As torchao's Int8Tensor does it, rounding included.
        return ((torch._int_mm(a, b) * row).to(torch.bfloat16) * col).add_(bias).to(torch.bfloat16)

    return run


def _int_mm(a: Any, b: Any, _row: Any, _col: Any, _bias: Any) -> Callable[[], Any]:
    import torch

    return lambda: torch._int_mm(a, b)


def _bf16(a: Any, b: Any, _row: Any, _col: Any, bias: Any) -> Callable[[], Any]:
    import torch

    x, weight = a.to(torch.bfloat16), b.t().to(torch.bfloat16)
    return lambda: torch.nn.functional.linear(x, weight, bias)


def _fp8(a: Any, b: Any, row: Any, col: Any, bias: Any) -> Callable[[], Any]:
    import torch

    if not a.is_cuda:
        raise NotImplementedError("fp8 products are a GPU's")
    x, weight = a.to(torch.float8_e4m3fn), b.t().to(torch.float8_e4m3fn).t()
    scales = {"scale_a": row.contiguous(), "scale_b": col[None, :].contiguous()}
    return lambda: torch._scaled_mm(x, weight, **scales, bias=bias, out_dtype=torch.bfloat16, use_fast_accum=True)


_BASELINES: dict[str, Callable[..., Callable[[], Any]]] = {
    UNTUNED: _scaled_int_mm,
    "int_mm": _int_mm,
    "bf16": _bf16,
    "fp8 row-wise": _fp8,
}
