"""Is a kernel right? Its output against an exact reference, on fresh random data, ragged shapes included.

Three kinds of data, for three kinds of fault:
- `full`: all of int8, so that sums are as long as they get, and a lost or doubled product shows;
- `small`: -1, 0 and 1, few enough that every sum is small and each of its bits is seen in bf16;
- `scales`: arbitrary scales and a bias, whose products round.
The first two have powers of two as scales, so that nothing rounds but the last step, and must match bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from profiler.kernels.candidate import Shape

# What is asked of a kernel: (a, b, row_scale, col_scale, bias) -> (M, N) in bf16.
Product = Callable[..., Any]
# One rounding to bf16 (8 bits), and the few to float32 (24 bits) before it.
_TOLERANCE, _BEFORE = 2.0**-8, 2.0**-21


@dataclass(frozen=True)
class Case:
    """Operands with the result that they must give.

    `bound` is how far an output may lie from `expected`; None where it must be the same, bit for bit.
    """

    name: str
    operands: tuple[Any, ...]
    expected: Any
    bound: Any = None


def cases(shape: Shape, device: str, seed: int) -> Iterator[Case]:
    """Fresh data of one shape; one case at a time, since a large shape's reference is large.

    The exact kinds carry a bias of zeros: a kernel is compiled once with a bias and once without, and with is what runs.
    """
    import torch

    generator = torch.Generator(device).manual_seed(seed)
    for name in ("full", "small"):
        a, b = integers(shape, device, generator, small=name == "small")
        row, col = (_powers(size, device, generator) for size in (shape.m, shape.n))
        expected = (_sums(a, b).float() * row[:, None] * col[None, :]).to(torch.bfloat16)
        yield Case(f"{shape} {name}", (a, b, row, col, torch.zeros_like(col, dtype=torch.bfloat16)), expected)
    a, b = integers(shape, device, generator)
    row, col, bias = (torch.rand(size, device=device, generator=generator) for size in (shape.m, shape.n, shape.n))
    bias = ((bias - 0.5) * row.mean() * 1e5).to(torch.bfloat16)
    scaled = _sums(a, b) * row.double()[:, None] * col.double()[None, :]
    expected = scaled + bias.double()
    bound = _TOLERANCE * expected.abs() + _BEFORE * (scaled.abs() + bias.double().abs())
    yield Case(f"{shape} scales", (a, b, row, col, bias), expected, bound)


def without_bias(case: Case) -> Case:
    """An exact case whose bias of zeros is left out."""
    return Case(f"{case.name}, no bias", (*case.operands[:4], None), case.expected)


def fault(run: Product, case: Case) -> str | None:
    """What is wrong with a kernel's output; None where it is right. What the kernel raises, this raises."""
    import torch

    out = run(*case.operands)
    if out.dtype != torch.bfloat16 or out.shape != case.expected.shape:
        return f"{case.name}: {tuple(out.shape)} of {out.dtype}"
    # Written so that NaN is wrong too.
    right = out == case.expected if case.bound is None else (out.double() - case.expected).abs() <= case.bound
    count = out.numel() - int(right.sum())
    return f"{case.name}: {count} of {out.numel()} outputs are wrong" if count else None


def ragged(shape: Shape) -> list[Shape]:
    """Small shapes whose rows fill no tile: with the shape's own K and N, then with K and N that fill none either.

    A kernel is tried on those that it says it takes.
    """
    k_and_n = [(shape.k, shape.n), (4096, 1048), (768, 160), (336, 160), (264, 136), (67, 45)]
    return [Shape(211, k, n) for k, n in k_and_n]


def integers(shape: Shape, device: str, generator: Any, *, small: bool = False) -> tuple[Any, Any]:
    """Random a (M, K), and b (K, N) as the transposed view of a weight."""
    import torch

    def draw(rows: int) -> Any:
        drawn = torch.randint(-128, 128, (rows, shape.k), device=device, dtype=torch.int8, generator=generator)
        return drawn if not small else (drawn > 96).to(torch.int8) - (drawn < -96).to(torch.int8)

    return draw(shape.m), draw(shape.n).t()


def _powers(size: int, device: str, generator: Any) -> Any:
    import torch

    return torch.exp2(torch.randint(-6, 7, (size,), device=device, generator=generator).float())


def _sums(a: Any, b: Any) -> Any:
    """The exact sums: every product and every sum of int8 is a whole number that float64 holds."""
    return a.double() @ b.double()
