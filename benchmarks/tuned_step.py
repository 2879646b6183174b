"""One step of a whole transformer with tuned int8 kernels against torchao's own: is every product the same?

python3 benchmarks/tuned_step.py [flux-dev] [--tuned auto|FILE] [--blocks 1] [--size N] [--batch N]

Random weights; needs torch, torchao, diffusers and, on a GPU, Triton. A Markdown row a shape and kernel: how many Linears, how
many of their outputs are not bit for bit what torchao's int32 sums come to, and how many lie further from torchao's own output
than its roundings explain. Then how far the step's outputs lie apart. Exit code 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from profiler.core.spec import RunSpec
from profiler.recording.device import find_hardware
from profiler.recording.runner import quiet_libraries
from profiler.tune.whole_step import Layer, StepResult, compare_step


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="flux-dev")
    parser.add_argument("--tuned", default="auto")
    parser.add_argument("--blocks", type=int, help="so many blocks of each kind only")
    parser.add_argument("--size", type=int, help="pixels of a side")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="auto")
    asked = parser.parse_args()
    quiet_libraries()
    began, hardware = time.monotonic(), find_hardware(asked.device)
    spec = RunSpec(model=asked.model, scheme="int8dq", batch=asked.batch, height=asked.size, width=asked.size, tuned=asked.tuned)
    result = compare_step(spec, hardware, asked.blocks)
    print(text(result))
    print(f"\n{time.monotonic() - began:.0f} s on {hardware.name or hardware.device}")
    return 0 if result.right else 1


def text(result: StepResult) -> str:
    """The result for people, in Markdown."""
    groups: dict[tuple[str, str], list[Layer]] = defaultdict(list)
    for each in result.layers:
        groups[str(each.shape), each.kernel].append(each)
    lines = ["| M x K x N | kernel | Linears | outputs | unequal | too far |", "|---|---|---|---|---|---|"]
    for (shape, kernel), layers in groups.items():
        sums = (sum(getattr(each, name) for each in layers) for name in ("outputs", "unequal", "far"))
        lines.append(f"| {shape} | {kernel} | {len(layers)} | " + " | ".join(map(str, sums)) + " |")
    lines += [*result.notes, "", "RMS relative to the bf16 step's output:"]
    lines.append(f"untuned int8dq {result.quantization_error:.5f} from bf16, tuned {result.tuned_error:.5f} from bf16")
    lines.append(f"tuned {result.difference:.5f} from untuned")
    return "\n".join([*lines, "right" if result.right else "WRONG"])


if __name__ == "__main__":
    sys.exit(main())
