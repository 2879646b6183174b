"""What a call of int_scaled_matmul costs the host, eager and compiled, and whether a launch that was kept gives the same bits.

python3 benchmarks/int_scaled_matmul_host.py [--calls 300] [--profile]

Needs torch and Triton on a Hopper GPU (under a minute; a few seconds where Triton's cache is warm). A Markdown row a kernel:
microseconds of the host's time a call by Triton's own launch, by the launch that diffuscope keeps, and as one of 40 calls in a
graph that Inductor compiled. Exit code 1 where a result is wrong, or where no launch was kept.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from int_scaled_matmul_h100 import count_wrong, problem

from profiler.kernels.candidate import Shape

_WARPGROUP = "warpgroup:block_m=128,block_n={},block_k=128,stages={},group=8,parts={},slices={},lead=0,wide={}"
KERNELS = (
    _WARPGROUP.format(256, 4, 2, 1, 1),
    _WARPGROUP.format(256, 4, 2, 3, 1),
    _WARPGROUP.format(128, 6, 1, 1, 0),
    "hopper:block_m=128,block_n=128,block_k=128,stages=5,warps=8,group=8,parts=1,flatten=1,wide=0",
    "pointers:block_m=64,block_n=64,block_k=128,stages=3,warps=4,group=8",
    "cublaslt:scaled",
)
# So small that the GPU never falls behind; the second is cut along K where a kernel can.
SHAPES = (Shape(208, 768, 160), Shape(256, 4096, 1024))
# How many calls a compiled graph has, and how often a measurement is repeated; the median of those counts.
_IN_GRAPH, _REPEATS = 40, 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--profile", action="store_true", help="where the time of kept launches goes, by cProfile")
    parser.add_argument("--json", type=Path, help="write every row here too")
    asked = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        parser.error("there is no CUDA device here")
    print("host us a call\n\n| M x K x N | kernel | Triton's launch | kept launch | compiled | bits |\n|---|---|---|---|---|---|")
    with torch.no_grad():
        rows = [measure(shape, kernel, asked.calls) for shape in SHAPES for kernel in KERNELS]
        if asked.profile:
            profile(KERNELS[0], asked.calls)
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1))
    return 0 if all(each["right"] and each["kept"] is not False for each in rows) else 1


def measure(shape: Shape, kernel: str, calls: int) -> dict[str, Any]:
    """One row, printed as it comes."""
    from profiler.kernels import relaunch
    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    given, expected = problem(shape)
    wrong = sum(count_wrong(kernel, *each) for each in ((given, expected), fresh(given, expected), problem(shape, biased=False)))
    kept = any(key[0] == kernel for key in relaunch._KEPT) if kernel.partition(":")[0] != "cublaslt" else None
    row: dict[str, Any] = {"shape": str(shape), "kernel": kernel, "kept": kept}
    row["us"] = host_us(lambda: int_scaled_matmul(*given, kernel), calls)
    row["triton_us"] = tritons_own_us(given, kernel, calls)
    compiled = graph(given, kernel)
    outs = compiled()
    row["compiled_us"] = host_us(compiled, max(4, calls // _IN_GRAPH)) / _IN_GRAPH
    wrong += sum(int((out != expected).sum()) for out in outs) + captured_wrong(given, expected, kernel)
    row["right"] = wrong == 0
    times = f"{row['triton_us']:.1f} | {row['us']:.1f}{' (not kept!)' if kept is False else ''} | {row['compiled_us']:.1f}"
    print(f"| {shape} | {kernel} | {times} | {'right' if row['right'] else f'WRONG: {wrong}'} |", flush=True)
    return row


def fresh(given: tuple[Any, ...], expected: Any) -> tuple[tuple[Any, ...], Any]:
    """The same problem at other addresses."""
    a, b, *rest = given
    return (a.clone(), b.t().clone().t(), *(each.clone() for each in rest)), expected


def tritons_own_us(given: tuple[Any, ...], kernel: str, calls: int) -> float:
    """The same kernel as if no launch were kept, without the operator around it."""
    from profiler.kernels import int_scaled_matmul as op

    space = op._space(kernel.partition(":")[0])
    with patch.object(space, "keep", lambda *_: False) if hasattr(space, "keep") else nullcontext():
        return host_us(lambda: space.matmul(*given, kernel), calls)


def graph(given: tuple[Any, ...], kernel: str) -> Callable[[], list[Any]]:
    """Many calls in one compiled graph, each of its own weight: the same call twice would be made once."""
    import torch

    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    a, b, *rest = given
    weights = [b.t().clone() for _ in range(_IN_GRAPH)]

    def calls(weights: list[Any], a: Any, row: Any, col: Any, bias: Any) -> list[Any]:
        return [int_scaled_matmul(a, each.t(), row, col, bias, kernel) for each in weights]

    torch._dynamo.reset()
    compiled = torch.compile(calls, fullgraph=True)
    return lambda: compiled(weights, a, *rest)


def captured_wrong(given: tuple[Any, ...], expected: Any, kernel: str) -> int:
    """How many results are wrong when a kept launch is replayed by a CUDA graph."""
    import torch

    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    captured = torch.cuda.CUDAGraph()
    with torch.cuda.graph(captured):
        out = int_scaled_matmul(*given, kernel)
    for _ in range(2):
        out.zero_()
        captured.replay()
    return int((out != expected).sum())


def host_us(run: Callable[[], Any], calls: int) -> float:
    """The host's time a call; the device is waited for between measurements only."""
    import torch

    spent = []
    for _ in range(_REPEATS):
        for _ in range(10):
            run()
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            run()
        spent.append((time.perf_counter() - start) / calls * 1e6)
    torch.cuda.synchronize()
    return statistics.median(spent)


def profile(kernel: str, calls: int) -> None:
    """What the calls are made of; the profiler itself makes each of them longer."""
    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    given, _ = problem(SHAPES[0])
    int_scaled_matmul(*given, kernel)
    with cProfile.Profile() as profiler:
        for _ in range(calls):
            int_scaled_matmul(*given, kernel)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(12)


if __name__ == "__main__":
    sys.exit(main())
