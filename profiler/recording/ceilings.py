"""What this device can do at most, measured: matmul rate by dtype and copy bandwidth. A floor needs a ceiling."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from profiler.recording.ceiling_kernel import Fastest, fastest_entry, product_of
from profiler.recording.device import find_hardware
from profiler.rundir.manifest import Manifest

INT8 = "int8_tops"
_SIZE = 8192
_COPY_BYTES = 1 << 30
_REPEATS = 10


@dataclass(frozen=True)
class Ceilings:
    """What was measured.

    Attributes:
        rates: `bf16_tflops`, `fp16_tflops`, `fp32_tflops`, `fp8_tflops`, `int8_tops` (10^12 operations a second), `copy_gbs`
            (10^9 bytes read and written a second). What the device cannot do, or has no memory left for, is absent.
        kernels: which kernel reached a rate, at which M x K x N, where there is more than one to choose from.
        notes: which kernel could not be asked, and why.
    """

    rates: dict[str, float] = field(default_factory=dict)
    kernels: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def offer(self, name: str, kernel: str, rate: float) -> None:
        """A rate that a kernel reached: it counts where none is higher."""
        if rate > self.rates.get(name, 0.0):
            self.rates[name] = rate
            self.kernels[name] = kernel

    def note(self, manifest: Manifest) -> None:
        """Write them down in a run's environment."""
        manifest.environment["ceilings"] = self.rates
        manifest.environment |= {"ceiling_kernels": self.kernels} if self.kernels else {}
        manifest.environment |= {"ceiling_notes": self.notes} if self.notes else {}


def measure_ceilings(device: str, *, tuned: bool = True) -> Ceilings:
    """Rates of one large product or copy, the median of ten on random data; none on a CPU.

    Products are square, of 8192. Where a table of tuned kernels holds here, int8 has a second one: the fastest of the table, at
    its own shape. cuBLASLt's int8 kernels are older than a Hopper GPU, and no limit of it.

    Args:
        tuned: whether to measure that one.
    """
    found = Ceilings()
    if device != "cuda":
        return found
    for name, make in _PRODUCTS.items():
        try:
            found.rates[name] = 2 * _SIZE**3 / _median_seconds(make()) / 1e12
        except (RuntimeError, ValueError, TypeError, AttributeError):
            continue
    if INT8 in found.rates:
        found.kernels[INT8] = f"aten::_int_mm at {_SIZE}x{_SIZE}x{_SIZE}"
    if tuned:
        _measure_tuned(found)
    try:
        found.rates["copy_gbs"] = 2 * _COPY_BYTES / _median_seconds(_copy()) / 1e9
    except RuntimeError:  # out of memory is one
        return found
    return found


def _measure_tuned(found: Ceilings) -> None:
    """The rate of the fastest kernel of the tables; where it cannot be measured, a note says why."""
    fastest: Fastest | None = None
    try:
        fastest = fastest_entry(find_hardware("cuda"))
        seconds = _median_seconds(product_of(fastest))
    except Exception as error:  # noqa: BLE001 - whatever a table or a kernel raises, the recording goes on
        what = f"{fastest.kernel} at {fastest.shape}" if fastest else "no tuned kernel"
        why = (str(error).splitlines() or [type(error).__name__])[0][:300]
        found.notes.append(f"{INT8}: {what} was not measured: {why}")
    else:
        found.offer(INT8, f"{fastest.kernel} at {fastest.shape}", fastest.shape.ops / seconds / 1e12)


def _median_seconds(run: Callable[[], Any]) -> float:
    """The host stays ahead of the device: what lies between two events is then the product alone, and no launch."""
    import torch

    for _ in range(3):
        run()
    pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(_REPEATS)]
    for start, end in pairs:
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return float(statistics.median(start.elapsed_time(end) for start, end in pairs)) / 1e3


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
    INT8: _int8,
}
