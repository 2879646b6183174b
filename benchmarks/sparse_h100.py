"""2:4 sparse products against dense ones at Flux's shapes: the products alone, what a call costs the host, then whole Linears.

python3 benchmarks/sparse_h100.py [--seconds 60] [--shapes MxKxN,...]

Needs torch and torchao on a Hopper GPU. Prints what is installed, then a row of Markdown as each measurement ends: SQNR against
the float32 product of the weight that was pruned (or not), and the median time of a call. A Linear is compiled, has a bias and
takes an input of three dimensions, as a transformer's has. Stops when its time is up.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiler.kernels.candidate import Shape, parse_shape

SHAPES = "4608x3072x12288,4096x3072x3072,4608x15360x3072"
LINEARS = ("left", "fp8dqrow", "int8dq", "sparsify", "fp8-sparse")
_REPEATS = 15
_LAUNCHES = 50


def versions() -> None:
    """What decides which of them can run at all."""
    import torch
    import torchao

    from profiler.schemes.base import SCHEMES

    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, torchao {torchao.__version__}")
    print(f"cuSPARSELt: available {torch.backends.cusparselt.is_available()}, version {torch.backends.cusparselt.version()}")
    for name in ("sparsify", "fp8-sparse"):
        print(f"{name}: {SCHEMES.get(name).missing() or 'can run'}")


class Data:
    """Operands of one shape: x (M, K), a weight (N, K) and the same pruned, and both quantized with one scale a row."""

    def __init__(self, shape: Shape) -> None:
        import torch

        from profiler.kernels.two_of_four import keep_two_of_four

        options: Any = {"device": "cuda", "dtype": torch.bfloat16, "generator": torch.Generator("cuda").manual_seed(0)}
        self.shape = shape
        self.x = torch.randn(shape.m, shape.k, **options)
        self.weight = torch.randn(shape.n, shape.k, **options) * shape.k**-0.5
        self.pruned = keep_two_of_four(self.weight)

    def rows(self, tensor: Any, kind: str) -> tuple[Any, Any]:
        """Quantized (int8 or float8) and its scales, one a row, (rows, 1) float32."""
        import torch

        most = 127.0 if kind == "int8" else 448.0
        scale = tensor.float().abs().amax(-1, keepdim=True) / most
        scaled = tensor.float() / scale
        return (scaled.round().to(torch.int8) if kind == "int8" else scaled.to(torch.float8_e4m3fn)), scale

    def sqnr(self, out: Any, *, pruned: bool) -> float:
        """dB against the float32 product."""
        import torch

        exact = self.x[:512].float() @ (self.pruned if pruned else self.weight).float().t()
        return float(20 * torch.log10(exact.norm() / (exact - out[:512].float()).norm()))


def products(data: Data) -> Iterator[tuple[str, bool, Callable[[], Any]]]:
    """(name, whether its weight is pruned, how to make the call) of each product; quantizing is left out of the calls."""
    yield "bf16", False, lambda: _bf16(data)
    yield "fp8 row-wise, cuBLASLt", False, lambda: _fp8(data)
    yield "int8, _int_mm x scales", False, lambda: _int_mm(data)
    yield "int8 2:4, cuSPARSELt, algorithm 0, x scale", True, lambda: _cslt(data, "int8", search=False)
    yield "int8 2:4, cuSPARSELt, searched, x scale", True, lambda: _cslt(data, "int8", search=True)
    yield "int8 2:4, kept plan, searched, x scale", True, lambda: _kept(data)
    yield "fp8 2:4, cuSPARSELt, algorithm 0, x scale", True, lambda: _cslt(data, "fp8", search=False)
    yield "fp8 2:4, torchao's CUTLASS", True, lambda: _cutlass(data)
    yield "bf16 2:4, cuSPARSELt", True, lambda: _cslt_bf16(data)


def _bf16(data: Data) -> Callable[[], Any]:
    return lambda: data.x @ data.weight.t()


def _fp8(data: Data) -> Callable[[], Any]:
    import torch

    (x, sx), (w, sw) = data.rows(data.x, "fp8"), data.rows(data.weight, "fp8")
    return lambda: torch._scaled_mm(x, w.t(), scale_a=sx, scale_b=sw.t(), out_dtype=torch.bfloat16, use_fast_accum=True)


def _int_mm(data: Data) -> Callable[[], Any]:
    import torch

    (x, sx), (w, sw) = data.rows(data.x, "int8"), data.rows(data.weight, "int8")
    return lambda: ((torch._int_mm(x, w.t()) * sx).to(torch.bfloat16) * sw.t()).to(torch.bfloat16)


def _cslt(data: Data, kind: str, *, search: bool) -> Callable[[], Any]:
    import torch

    from profiler.kernels.sparse_matmul import compress

    (x, sx), (w, sw) = data.rows(data.x, kind), data.rows(data.pruned, kind)
    packed, alpha = compress(w), sw.reshape(-1).contiguous()
    options: dict[str, Any] = {"alpha": alpha, "out_dtype": torch.bfloat16, "transpose_result": True}
    found = torch._cslt_sparse_mm_search(packed, x.t(), **options) if search else 0
    note = f", {tuple(packed.shape)} {packed.numel() * packed.element_size() / w.numel():.4f} bytes a weight"
    print(f"<!-- {kind}: algorithm {found}{note} -->", flush=True)
    # The scales of the rows, as a Linear multiplies them in.
    return lambda: torch._cslt_sparse_mm(packed, x.t(), alg_id=found, **options) * sx.to(torch.bfloat16)


def _kept(data: Data) -> Callable[[], Any]:
    import torch

    from profiler.kernels.sparse_matmul import compress, sparse_matmul

    (x, sx), (w, sw) = data.rows(data.x, "int8"), data.rows(data.pruned, "int8")
    packed, alpha = compress(w), sw.reshape(-1).contiguous()
    return lambda: sparse_matmul(x, packed, alpha) * sx.to(torch.bfloat16)


def _cslt_bf16(data: Data) -> Callable[[], Any]:
    import torch

    packed = torch._cslt_compress(data.pruned)
    return lambda: torch._cslt_sparse_mm(packed, data.x.t(), transpose_result=True)


def _cutlass(data: Data) -> Callable[[], Any]:
    import torch
    from torchao.ops import rowwise_scaled_linear_sparse_cutlass_f8f8, to_sparse_semi_structured_cutlass_sm9x_f8

    (x, sx), (w, sw) = data.rows(data.x, "fp8"), data.rows(data.pruned, "fp8")
    packed, places = to_sparse_semi_structured_cutlass_sm9x_f8(w)
    size = (packed.numel() + places.numel()) / w.numel()
    print(f"<!-- fp8: data {tuple(packed.shape)}, places {tuple(places.shape)}, {size:.4f} bytes a weight -->", flush=True)
    scales = sx.reshape(-1), sw.reshape(-1)
    return lambda: rowwise_scaled_linear_sparse_cutlass_f8f8(x, scales[0], packed, places, scales[1], None, torch.bfloat16)


def measure_products(shape: Shape, until: float) -> None:
    """A row for each product of a shape."""
    from profiler.tune.timing import Timer

    data, timer = Data(shape), Timer("cuda")
    for name, pruned, make in products(data):
        if time.monotonic() > until:
            return
        try:
            call = make()
            sqnr = data.sqnr(call(), pruned=pruned)
            us = timer.median_us(call, _REPEATS)
        except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
            print(f"| {shape} | {name} | - | - | {type(error).__name__}: {str(error).splitlines()[0][:120]} |", flush=True)
        else:
            print(f"| {shape} | {name} | {us:.1f} | {shape.ops / us / 1e6:.0f} | {sqnr:.1f} dB |", flush=True)


def launches(data: Data) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(name, how to make the call) of each product whose launch is timed: nothing but the product."""
    import torch

    from profiler.kernels.sparse_matmul import compress, sparse_matmul

    (x, _), (w, sw) = data.rows(data.x, "int8"), data.rows(data.pruned, "int8")
    packed, alpha = compress(w), sw.reshape(-1).contiguous()
    options: dict[str, Any] = {"alpha": alpha, "out_dtype": torch.bfloat16, "transpose_result": True}
    yield "bf16", lambda: _bf16(data)
    yield "fp8 row-wise, cuBLASLt", lambda: _fp8(data)
    yield "int8 2:4, torch's call", lambda: lambda: torch._cslt_sparse_mm(packed, x.t(), **options)
    yield "int8 2:4, kept plan", lambda: lambda: sparse_matmul(x, packed, alpha)
    yield "fp8 2:4, torchao's CUTLASS", lambda: _cutlass(data)


def measure_launches(shape: Shape, until: float) -> None:
    """A row for each call: the host's time until it comes back, the GPU left to catch up."""
    import torch

    for name, make in launches(Data(shape)):
        if time.monotonic() > until:
            return
        try:
            call = make()
            call()
            torch.cuda.synchronize()
            times = sorted(_host_us(call) for _ in range(_LAUNCHES))
            torch.cuda.synchronize()
        except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
            print(f"| {shape} | {name} | - | - | {type(error).__name__}: {str(error).splitlines()[0][:120]} |", flush=True)
        else:
            print(f"| {shape} | {name} | {statistics.median(times):.1f} | {times[0]:.1f} | {times[-1]:.1f} |", flush=True)


def _host_us(call: Callable[[], Any]) -> float:
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e3


def measure_linears(shape: Shape, until: float) -> None:
    """A row for each scheme: a whole compiled Linear of a (1, M, K) input with its bias, quantizing and our kernels."""
    from profiler.core.spec import RunSpec
    from profiler.plan.measure import Bench, Case
    from profiler.recording.device import find_hardware
    from profiler.recording.tuned import tuned_entries

    bench = Bench("cuda", tuned_entries(RunSpec(model="flux-dev"), find_hardware("cuda")))
    for scheme in LINEARS:
        if time.monotonic() > until:
            return
        try:
            cost = bench.measure(Case(shape.m, shape.k, shape.n, scheme, compiled=True))
        except (RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError, AssertionError) as error:
            print(f"| {shape} | {scheme} | - | {type(error).__name__}: {str(error).splitlines()[0][:120]} |", flush=True)
        else:
            sqnr = "-" if cost.sqnr_db is None else f"{cost.sqnr_db:.1f} dB"
            print(f"| {shape} | {scheme} | {cost.us:.1f} | {sqnr} |", flush=True)


def plans() -> None:
    """What was found of each shape, and whether its plan was kept."""
    from profiler.kernels.sparse_plans import describe

    print("\n| shape | algorithm | plan |\n|---|---|---|")
    for each in describe():
        print(
            f"| {each['m']}x{each['k']}x{each['n']} | {each['algorithm']} | {'kept' if each['kept'] else each['why']} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shapes", default=SHAPES)
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    until = time.monotonic() + asked.seconds
    shapes = [parse_shape(each) for each in asked.shapes.split(",")]
    versions()
    print("\n| shape | product | us | TOPS (dense) | against float32 |\n|---|---|---|---|---|", flush=True)
    for shape in shapes:
        measure_products(shape, until)
    print(f"\n| shape | launch | host us a call (median of {_LAUNCHES}) | least | most |\n|---|---|---|---|---|", flush=True)
    for shape in shapes:
        measure_launches(shape, until)
    plans()
    print("\n| shape | Linear, compiled | us | against dense float32 |\n|---|---|---|---|", flush=True)
    for shape in shapes:
        measure_linears(shape, until)


if __name__ == "__main__":
    main()
