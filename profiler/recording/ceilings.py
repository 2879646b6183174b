"""What this device can do at most, measured: matmul rate by dtype and copy bandwidth. A floor needs a ceiling."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

_SIZE = 8192
_COPY_BYTES = 1 << 30
_REPEATS = 10


def measure_ceilings(device: str) -> dict[str, float]:
    """Rates of one large product or copy, the median of ten on random data; empty on a CPU.

    Keys: `bf16_tflops`, `fp16_tflops`, `fp32_tflops`, `fp8_tflops`, `int8_tops` (square products of 8192), `copy_gbs`
    (10^9 bytes read and written a second). What the device cannot do, or has no memory left for, is absent.
    """
    if device != "cuda":
        return {}
    found: dict[str, float] = {}
    for name, make in _PRODUCTS.items():
        try:
            found[name] = 2 * _SIZE**3 / _median_seconds(make()) / 1e12
        except (RuntimeError, ValueError, TypeError, AttributeError):
            continue
    try:
        found["copy_gbs"] = 2 * _COPY_BYTES / _median_seconds(_copy()) / 1e9
    except RuntimeError:  # out of memory is one
        return found
    return found


def _median_seconds(run: Callable[[], Any]) -> float:
    import torch

    for _ in range(3):
        run()
    times = []
    for _ in range(_REPEATS):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return float(statistics.median(times))


def _floating(dtype: str) -> Callable[[], Any]:
    import torch

    a, b = (torch.randn(_SIZE, _SIZE, device="cuda").to(getattr(torch, dtype)) for _ in range(2))
    return lambda: a @ b


def _fp8() -> Callable[[], Any]:
    import torch

    a, b = (torch.randn(_SIZE, _SIZE, device="cuda").to(torch.float8_e4m3fn) for _ in range(2))
    one = torch.ones((), device="cuda")
    return lambda: torch._scaled_mm(a, b.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True)


def _int8() -> Callable[[], Any]:
    import torch

    a, b = (torch.randint(-128, 127, (_SIZE, _SIZE), device="cuda", dtype=torch.int8) for _ in range(2))
    return lambda: torch._int_mm(a, b.t())


def _copy() -> Callable[[], Any]:
    import torch

    source = torch.empty(_COPY_BYTES, device="cuda", dtype=torch.uint8)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


_PRODUCTS: dict[str, Callable[[], Callable[[], Any]]] = {
    "bf16_tflops": lambda: _floating("bfloat16"),
    "fp16_tflops": lambda: _floating("float16"),
    "fp32_tflops": lambda: _floating("float32"),
    "fp8_tflops": _fp8,
    "int8_tops": _int8,
}
