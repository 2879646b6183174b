"""The tuned int8 kernel that can show what this GPU reaches: the fastest of the tables that hold here, at its own shape.

Only what `tune` has checked on this GPU with these versions is run in the recording process: a kernel that another compiler
made wrong could break it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from profiler.core.errors import Refused
from profiler.kernels.candidate import Shape
from profiler.kernels.tuned import find_entries
from profiler.recording.tuned import current_key, triton_version
from profiler.schemes.base import Hardware

# This space is cuBLASLt's own product, which is measured anyway.
_LIBRARY = "cublaslt"


@dataclass(frozen=True)
class Fastest:
    """A kernel, and the shape at which a table has it."""

    kernel: str
    shape: Shape


def fastest_entry(hardware: Hardware) -> Fastest:
    """The entry of the highest rate.

    Raises:
        Refused: there is no Triton, or no table holds for this GPU and these versions.
        UnreadableInput: a table cannot be read.
    """
    if not triton_version():
        raise Refused("there is no Triton")
    entries, _ = find_entries("auto", current_key(hardware))
    own = {shape: each for shape, each in entries.items() if each.kernel.partition(":")[0] != _LIBRARY}
    if not own:
        raise Refused("no table of tuned kernels holds for this GPU and these versions")
    shape = max(own, key=lambda each: each.ops / own[each].us)
    return Fastest(own[shape].kernel, shape)


def product_of(fastest: Fastest, device: str = "cuda") -> Callable[[], Any]:
    """A call of the kernel on random data of all of int8.

    Raises:
        ValueError: its result is wrong, bit for bit.
    """
    import torch

    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    m, k, n = fastest.shape
    a, weight = (torch.randint(-128, 128, (rows, k), device=device, dtype=torch.int8) for rows in (m, n))
    row, col = (torch.ones(size, device=device) for size in (m, n))
    # A kernel is compiled once with a bias and once without, and with is what runs.
    bias = torch.zeros(n, device=device, dtype=torch.bfloat16)

    def run() -> Any:
        return int_scaled_matmul(a, weight.t(), row, col, bias, fastest.kernel)

    if not torch.equal(run(), torch._int_mm(a, weight.t()).float().to(torch.bfloat16)):
        raise ValueError("its result is wrong")
    return run
