"""One Linear under one scheme on this device: how long a call takes, and how far its output is from the unquantized one's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from profiler.kernels.candidate import Shape
from profiler.kernels.tuned import Entry
from profiler.schemes.apply import quantize
from profiler.schemes.base import LinearPlan
from profiler.schemes.policy import LEFT
from profiler.schemes.tuned import kernel_of, use_tuned_forward
from profiler.tune.timing import Timer

_REPEATS = {"cuda": 15, "cpu": 5}
# Rows whose outputs are compared: the mean over so many is known to a tenth of a dB.
_COMPARED_ROWS = 512


class Case(NamedTuple):
    """A Linear to measure: M, K, N, its scheme, and whether it lies in a compiled region."""

    rows: int
    in_features: int
    out_features: int
    scheme: str
    compiled: bool


class Cost(NamedTuple):
    """Median microseconds of a call and SQNR in dB (None where the output is the same to the bit)."""

    us: float
    sqnr_db: float | None


class Bench:
    """Measures Linears of random weights on random data.

    Args:
        device: "cuda" or "cpu".
        entries: tuned int8 kernels by shape, as a recorded run would take them.
        seed: of weights and data.
    """

    def __init__(self, device: str, entries: Mapping[Shape, Entry], seed: int = 0) -> None:
        self._device, self._entries, self._seed = device, entries, seed
        self._timer = Timer(device)

    def measure(self, case: Case) -> Cost:
        """Time and SQNR of one case.

        Raises:
            RuntimeError and others of torch: the scheme cannot run this Linear here.
        """
        import torch

        holder, x = self._made(case)
        with torch.no_grad():
            exact = _exact(holder[0], x)
            self._quantize(holder, case)
            run: Any = torch.compile(holder, dynamic=False) if case.compiled else holder
            out = run(x)
            sqnr = _sqnr(exact, out.reshape(-1, case.out_features)[: exact.shape[0]])
            if case.scheme == LEFT:
                # Its rounding is the base's own: that is what plans are held against.
                sqnr = None
            us = self._timer.median_us(lambda: run(x), _REPEATS[self._device])
        torch.compiler.reset()
        return Cost(us, sqnr)

    def _made(self, case: Case) -> tuple[Any, Any]:
        import torch

        generator = torch.Generator(self._device).manual_seed(self._seed)
        options = {"device": self._device, "dtype": torch.bfloat16, "generator": generator}
        linear = torch.nn.Linear(case.in_features, case.out_features, device=self._device, dtype=torch.bfloat16)
        with torch.no_grad():
            # As the weights of random models are drawn.
            linear.weight.copy_(torch.randn(case.out_features, case.in_features, **options) * case.in_features**-0.5)
            linear.bias.copy_(torch.randn(case.out_features, **options) * 0.02)
        return torch.nn.Sequential(linear), torch.randn(1, case.rows, case.in_features, **options)

    def _quantize(self, holder: Any, case: Case) -> None:
        plan = LinearPlan("0", case.in_features, case.out_features, case.rows, case.scheme)
        if case.scheme == LEFT:
            return
        quantize(holder, [plan], prefix="", torchao_defaults=False)
        kernel = kernel_of(plan, self._entries)
        if kernel is not None:
            use_tuned_forward(holder[0], kernel)


def _exact(linear: Any, x: Any) -> Any:
    import torch

    rows = x.reshape(-1, x.shape[-1])[:_COMPARED_ROWS]
    return torch.nn.functional.linear(rows.float(), linear.weight.float(), linear.bias.float())


def _sqnr(exact: Any, out: Any) -> float | None:
    import torch

    noise = (exact - out.float()).norm()
    return float(20 * torch.log10(exact.norm() / noise)) if noise > 0 else None
