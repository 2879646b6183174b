"""Int8 products of Flux.1-dev on an H100: hand-picked configurations of every space, against what there was before.

python3 benchmarks/int_scaled_matmul_h100.py [--shapes MxKxN,...] [--kernels NAME;NAME] [--repeats 20] [--limit-s 115]

Needs torch, Triton and torchao on a Hopper GPU. Every kernel is first tried on small ragged shapes in a process of its own,
which fills Triton's cache on several cores and leaves out what fails or hangs. Then a row of Markdown follows each kernel at
each shape: the median in microseconds with the L2 flushed, trillions of operations a second, and whether every bit is right.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiler.kernels.candidate import Shape, parse_shape

# Heaviest first: where time runs out, the last are left out.
SHAPES = (
    "4608x3072x12288,4096x3072x3072,4608x15360x3072,4608x3072x3072,4096x3072x12288,4096x12288x3072,"
    "512x3072x3072,512x3072x12288,512x12288x3072"
)
_WARPGROUP = "warpgroup:block_m={},block_n={},block_k=128,stages={},group={},parts={},slices={},lead={},wide={}"
_HOPPER = "hopper:block_m={},block_n={},block_k=128,stages={},warps={},group=8,parts={},flatten={},wide={}"
_POINTERS = "pointers:block_m=128,block_n=256,block_k=128,stages=3,warps=8,group=8"
_TORCHAO = "torchao:block_m={},block_n={},block_k=128,stages={},warps={}"
KERNELS = (
    _WARPGROUP.format(128, 256, 4, 8, 2, 1, 3, 1),
    _WARPGROUP.format(128, 256, 4, 8, 2, 1, 0, 1),
    _WARPGROUP.format(128, 256, 4, 8, 2, 1, 3, 0),
    _WARPGROUP.format(128, 256, 4, 8, 2, 2, 3, 1),
    _WARPGROUP.format(128, 256, 4, 8, 2, 3, 3, 1),
    _WARPGROUP.format(128, 256, 4, 8, 2, 4, 3, 1),
    _WARPGROUP.format(128, 256, 4, 16, 2, 1, 3, 1),
    _WARPGROUP.format(128, 256, 3, 8, 1, 1, 2, 1),
    _WARPGROUP.format(256, 128, 4, 8, 2, 1, 3, 0),
    _WARPGROUP.format(256, 128, 4, 8, 2, 3, 3, 0),
    _WARPGROUP.format(128, 128, 6, 8, 1, 1, 5, 0),
    _HOPPER.format(128, 256, 4, 8, 2, 1, 1),
    _HOPPER.format(128, 256, 4, 8, 2, 1, 0),
    _HOPPER.format(128, 256, 3, 8, 1, 0, 1),
    _HOPPER.format(128, 256, 4, 8, 2, 0, 0),
    _HOPPER.format(256, 128, 4, 8, 2, 1, 0),
    _HOPPER.format(128, 128, 5, 8, 1, 1, 0),
    _POINTERS,
    _TORCHAO.format(128, 256, 3, 8),
    _TORCHAO.format(256, 128, 3, 8),
    _TORCHAO.format(128, 128, 4, 4),
    "cublaslt:scaled",
)
# Both fill no tile. The first is compiled as Flux's shapes are (all multiples of 16); in the second K is long enough that few
# tiles are cut along it.
_SMALL = (Shape(208, 768, 160), Shape(300, 4096, 1048))
_TRY_S, _PROCESSES = 60.0, 16
_FLUSH_BYTES = 256 << 20
HEADER = "| M x K x N | kernel | us | TOPS | bits |\n|---|---|---|---|---|"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", default=SHAPES, help="MxKxN, comma-separated")
    parser.add_argument("--kernels", default="", help="these only, separated by ';'; part of a name takes all that have it")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--limit-s", type=float, default=115.0, help="no shape is begun after this many seconds")
    parser.add_argument("--json", type=Path, help="write every row here too, after each shape")
    parser.add_argument("--try", dest="tried", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        parser.error("there is no CUDA device here")
    kernels = chosen(asked.kernels)
    if asked.tried:
        return try_kernels(kernels)
    began = time.monotonic()
    right = tried_apart(kernels)
    print(f"{len(right)} of {len(kernels)} kernels are right on small shapes, {time.monotonic() - began:.0f} s\n", flush=True)
    print(HEADER, flush=True)
    rows: list[dict[str, Any]] = []
    for shape in [parse_shape(each) for each in asked.shapes.split(",")]:
        if time.monotonic() - began > asked.limit_s:
            print(f"| {shape} | left out: the time limit | | | |", flush=True)
            continue
        rows += measure(shape, right, asked.repeats)
        if asked.json:
            asked.json.write_text(json.dumps(rows, indent=1))
    summary(rows)
    print(f"\n{time.monotonic() - began:.0f} s", flush=True)
    return 0 if rows and all(each["right"] is not False for each in rows) and len(right) == len(kernels) else 1


def chosen(asked: str) -> list[str]:
    """The kernels asked for; a whole name that is not on the list is taken too."""
    parts = [each for each in asked.split(";") if each]
    return list(dict.fromkeys(name for part in parts for name in ([k for k in KERNELS if part in k] or [part]))) or list(KERNELS)


def tried_apart(kernels: list[str]) -> list[str]:
    """The kernels that are right on small shapes, each tried in a process of its own that may fail or hang."""
    waiting, running, right = list(kernels), {}, []
    while waiting or running:
        while waiting and len(running) < _PROCESSES:
            name = waiting.pop(0)
            command = [sys.executable, __file__, "--try", "--kernels", name]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            running[name] = (child, time.monotonic())
        for name, (child, began) in list(running.items()):
            hung = child.poll() is None and time.monotonic() - began > _TRY_S
            if hung:
                child.kill()
            if child.poll() is None and not hung:
                continue
            output, _ = child.communicate()
            del running[name]
            if child.returncode == 0 and not hung:
                right.append(name)
            else:
                why = f"longer than {_TRY_S:.0f} s" if hung else (output.strip().splitlines() or ["no word"])[-1][:300]
                print(f"left out: {name}: {why}", flush=True)
        time.sleep(0.05)
    return [each for each in kernels if each in right]


def try_kernels(kernels: list[str]) -> int:
    """Check kernels on small shapes, with and without a bias; 1 where one is wrong, an exception where one fails."""
    for kernel in kernels:
        for shape in _SMALL:
            for biased in (True, False):
                given, expected = problem(shape, biased)
                wrong = count_wrong(kernel, given, expected)
                if wrong:
                    print(f"{wrong} of {expected.numel()} results are wrong at {shape}, bias {biased}")
                    return 1
    return 0


def problem(shape: Shape, biased: bool = True) -> tuple[tuple[Any, ...], Any]:
    """Operands of a shape, and the result that they must give, bit for bit."""
    import torch

    generator = torch.Generator("cuda").manual_seed(shape.m + shape.k + shape.n)
    a, weight = (
        torch.randint(-128, 128, (rows, shape.k), dtype=torch.int8, device="cuda", generator=generator)
        for rows in (shape.m, shape.n)
    )
    row, col, bias = (torch.rand(size, device="cuda", generator=generator) * 0.01 for size in (shape.m, shape.n, shape.n))
    sums = (a.double() @ weight.double().t()).to(torch.int32)  # exact: float64 holds every such sum
    expected = sums.float() * row[:, None] * col[None, :]
    bias = bias.to(torch.bfloat16) if biased else None
    return (a, weight.t(), row, col, bias), (expected if bias is None else expected + bias.float()).to(torch.bfloat16)


def count_wrong(kernel: str, given: tuple[Any, ...], expected: Any) -> int:
    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    return int((int_scaled_matmul(*given, kernel) != expected).sum())


def measure(shape: Shape, kernels: list[str], repeats: int) -> list[dict[str, Any]]:
    """A row for each kernel and each baseline at a shape, printed as it comes."""
    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    given, expected = problem(shape)
    rows = []
    for name, make in BASELINES.items():
        rows.append(timed(shape, name, lambda make=make: make(*given), None, repeats))
    for kernel in kernels:

        def run(kernel: str = kernel) -> Callable[[], Any]:
            return lambda: int_scaled_matmul(*given, kernel)

        rows.append(timed(shape, kernel, run, lambda kernel=kernel: count_wrong(kernel, given, expected), repeats))
    return rows


def timed(
    shape: Shape, name: str, make: Callable[[], Callable[[], Any]], wrong: Callable[[], int] | None, repeats: int
) -> dict[str, Any]:
    """Time one; whatever it raises is its row."""
    row: dict[str, Any] = {"shape": str(shape), "kernel": name, "us": None, "tops": None, "right": None}
    try:
        run = make()
        count = wrong() if wrong else None
        row["right"] = None if count is None else count == 0
        row["us"] = median_us(run, repeats)
        row["tops"] = shape.ops / row["us"] / 1e6
    except Exception as error:  # noqa: BLE001 - one that fails is printed, the others go on
        row |= {"right": False, "error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]}
    bits = row.get("error") or {None: "-", True: "right", False: "WRONG"}[row["right"]]
    numbers = f"{row['us']:.1f} | {row['tops']:.0f}" if row["us"] else "- | -"
    print(f"| {shape} | {name} | {numbers} | {bits} |", flush=True)
    return row


_flush: Any = None


def median_us(run: Callable[[], Any], repeats: int) -> float:
    """The median of some calls after three that warm up; the L2 is flushed before each."""
    import torch

    global _flush
    if _flush is None:
        _flush = torch.empty(_FLUSH_BYTES // 4, dtype=torch.int32, device="cuda")
    for _ in range(3):
        run()
    pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(repeats)]
    for start, end in pairs:
        _flush.zero_()
        start.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) * 1e3 for start, end in pairs)


def _int_mm(a: Any, b: Any, *_: Any) -> Callable[[], Any]:
    import torch

    return lambda: torch._int_mm(a, b)


def _int_mm_scaled(a: Any, b: Any, row: Any, col: Any, bias: Any) -> Callable[[], Any]:
    import torch

    return lambda: ((torch._int_mm(a, b) * row[:, None]).to(torch.bfloat16) * col + bias).to(torch.bfloat16)


def _bf16(a: Any, b: Any, _row: Any, _col: Any, bias: Any) -> Callable[[], Any]:
    import torch

    x, weight = a.to(torch.bfloat16) / 128, b.t().to(torch.bfloat16) / 128
    return lambda: torch.nn.functional.linear(x, weight, bias)


def _fp8(a: Any, b: Any, row: Any, col: Any, bias: Any) -> Callable[[], Any]:
    import torch

    x, weight = a.to(torch.float8_e4m3fn), b.t().to(torch.float8_e4m3fn).t()
    scales = {"scale_a": row[:, None], "scale_b": col[None, :]}
    return lambda: torch._scaled_mm(x, weight, **scales, bias=bias, out_dtype=torch.bfloat16, use_fast_accum=True)


BASELINES: dict[str, Callable[..., Callable[[], Any]]] = {
    "bf16": _bf16,
    "fp8 row-wise": _fp8,
    "int_mm": _int_mm,
    "int_mm x scale": _int_mm_scaled,
}


def summary(rows: list[dict[str, Any]]) -> None:
    """The best of each space at each shape, and what a call costs the host."""
    best: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        space = row["kernel"].partition(":")[0]
        found = best.setdefault(row["shape"], {})
        if row["us"] and row["right"] is not False and row["us"] < found.get(space, row)["us"] + 1e-9:
            found[space] = row
    names = list(dict.fromkeys(space for found in best.values() for space in found))
    print("\nTOPS of the best of each space\n\n| M x K x N | " + " | ".join(names) + " |\n|---" + "|---" * len(names) + "|")
    for shape, found in best.items():
        print(f"| {shape} | " + " | ".join(f"{found[name]['tops']:.0f}" if name in found else "-" for name in names) + " |")
    for space in ("warpgroup", "hopper"):
        kernel = next((found[space]["kernel"] for found in best.values() if space in found), None)
        if kernel:
            print(f"\nhost us a call, {space}: {host_us(kernel):.1f}")


def host_us(kernel: str, calls: int = 300) -> float:
    """What launching one call costs the host, on a shape so small that the GPU never falls behind."""
    import torch

    from profiler.kernels.int_scaled_matmul import int_scaled_matmul

    given, _ = problem(_SMALL[0])
    for _ in range(20):
        int_scaled_matmul(*given, kernel)
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        int_scaled_matmul(*given, kernel)
    spent = time.perf_counter() - start
    torch.cuda.synchronize()
    return spent / calls * 1e6


if __name__ == "__main__":
    sys.exit(main())
