"""What `diffuscope tune` finds and how long it takes, against an exhaustive search of torchao's space and torchao's own tuner.

python3 benchmarks/tune_h100.py tune [--shapes MxKxN,...]         # our search, Triton's cache empty
python3 benchmarks/tune_h100.py exhaustive [--shapes MxKxN,...]   # every configuration of torchao's 960 that is right and fits
python3 benchmarks/tune_h100.py serial [--shapes MxKxN,...] [--configs 100] [--limit-s 60]   # torchao's own search, serial

Needs torch, Triton and torchao on a CUDA device. Each prints rows of Markdown; `serial` also what 960 would take. A shape takes
about a minute on 16 cores. Configurations whose sums alone need more registers than a thread has spill them all, and take the
compiler minutes: `exhaustive` leaves them out, and gives up what compiles for longer than 20 s; `serial` meets them as torchao
does. Ended early (Ctrl-C), each prints what it has.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# What is compiled here is compiled for the first time.
os.environ.setdefault("TRITON_CACHE_DIR", tempfile.mkdtemp(prefix="diffuscope-tune-"))

from profiler.kernels.candidate import Candidate, Shape, parse_shape

_REGISTERS, _COMPILE_S = 255, 20.0
BIGGEST = "4608x3072x12288,4608x15360x3072,4096x3072x3072"


def _offered(shape: Shape, hardware: Any, *, exhaustive: bool) -> list[Candidate]:
    from profiler.kernels import blocks
    from profiler.kernels import int_scaled_matmul_torchao as torchao
    from profiler.kernels.int_scaled_matmul import candidates

    if not exhaustive:
        return candidates(shape, hardware)
    limit = blocks.shared_limit(hardware.capability)
    fitting = [
        each
        for each in torchao.every_config()
        if torchao.right(shape, each)
        and blocks.ring_bytes(each) <= limit
        and blocks.sums_a_thread(each, each["warps"]) < _REGISTERS
    ]
    return [blocks.candidate(torchao.SPACE, each) for each in fitting]


def search_all(shapes: list[Shape], *, exhaustive: bool) -> None:
    """Our search over our candidates, or over all of torchao's."""
    from profiler.recording.device import find_hardware
    from profiler.tune.bench import DeviceBench, work
    from profiler.tune.search import search
    from profiler.tune.workers import Workers

    hardware, start = find_hardware("cuda"), time.monotonic()
    workers = Workers(len(os.sched_getaffinity(0)), work, limit_s=_COMPILE_S if exhaustive else 120.0)
    bench = DeviceBench(hardware, 0, workers=workers)
    print("| shape | candidates | wrong | failed | best | us | TOPS | best of torchao's | us | s |\n|" + "---|" * 10)
    for shape in shapes:
        began = time.monotonic()
        offered, done = _offered(shape, hardware, exhaustive=exhaustive), [0]

        def count(done: list[int] = done, of: int = 2 * len(offered)) -> None:
            done[0] += 1
            if done[0] % 100 == 0:
                print(f"{done[0]} of {of}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)

        try:
            found = search(shape, offered, bench, count)
        except KeyboardInterrupt:
            print(f"| {shape} | {len(offered)} | ended after {time.monotonic() - began:.0f} s | | | | | | | |", flush=True)
            break
        kept, us = found.spaces.get("torchao", (found.best, found.us))
        cells = [str(shape), found.candidates, len(found.wrong), len(found.failed), found.best.kernel, f"{found.us:.1f}"]
        cells += [f"{shape.ops / found.us / 1e6:.0f}", kept.kernel, f"{us:.1f}", f"{time.monotonic() - began:.1f}"]
        print("| " + " | ".join(map(str, cells)) + " |", flush=True)
    workers.close()
    print(f"{time.monotonic() - start:.1f} s in all, {len(os.sched_getaffinity(0))} cores")


def serial(shapes: list[Shape], count: int, limit_s: float) -> None:
    """torchao's own measurement of some configurations a shape, fewer where time runs out, and the whole search from it."""
    import torch
    from torchao.kernel.autotuner import do_bench
    from torchao.kernel.intmm_triton import int8_mm_kernel_configs, int_scaled_matmul_kernel

    print("| shape | configurations | s | s for all | best us |\n|---|---|---|---|---|")
    for shape in shapes:
        m, k, n = shape
        a = torch.randint(-128, 127, (m, k), dtype=torch.int8, device="cuda")
        b = torch.randint(-128, 127, (n, k), dtype=torch.int8, device="cuda").t()
        given = [a, b, torch.rand(m, 1, device="cuda").expand(m, n), torch.empty(m, n, device="cuda")]
        chosen = random.Random(0).sample(int8_mm_kernel_configs, count)
        start, best = time.monotonic(), float("inf")
        done = 0
        ended = False
        for config in chosen:
            if time.monotonic() - start > limit_s:
                break
            try:
                best, done = min(best, do_bench(int_scaled_matmul_kernel, given, config, best)), done + 1
            except KeyboardInterrupt:
                ended = True
                break
            # A configuration that spills compiles for minutes and cannot be interrupted: what was done by then is known.
            print(f"{shape}: {done} configurations in {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
        took = time.monotonic() - start
        whole = took * len(int8_mm_kernel_configs) / max(1, done)
        print(
            f"| {shape} | {done}{' and one not to its end' if ended else ''} | {took:.1f} | {whole:.0f} | {best * 1e3:.1f} |",
            flush=True,
        )
        if ended:
            return


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("tune", "exhaustive", "serial"))
    parser.add_argument("--shapes", default=BIGGEST)
    parser.add_argument("--configs", type=int, default=100)
    parser.add_argument("--limit-s", type=float, default=60.0, help="of serial: no configuration is begun after it, a shape")
    asked = parser.parse_args()
    shapes = [parse_shape(each) for each in asked.shapes.split(",")]
    if asked.what == "serial":
        serial(shapes, asked.configs, asked.limit_s)
    else:
        search_all(shapes, exhaustive=asked.what == "exhaustive")


if __name__ == "__main__":
    main()
