"""The Triton kernels in Triton's interpreter, in a process of its own: prints one JSON object a case."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

# Tiles are 32 x 32 x 32, in rows of 2: none, one or two of the sizes fill their tiles.
SHAPES = ((64, 64, 64), (33, 48, 40), (129, 144, 72), (1, 16, 8), (100, 272, 136))
ANY_SHAPE = (*SHAPES, (37, 41, 43))


def problem(m: int, k: int, n: int, biased: bool) -> tuple[Any, ...]:
    """Operands, and the exact result before it is rounded to the output's dtype."""
    generator = torch.Generator().manual_seed(m + k + n)
    a, weight = (torch.randint(-128, 128, (rows, k), generator=generator).to(torch.int8) for rows in (m, n))
    row, col, bias = (torch.rand(size, generator=generator) for size in (m, n, n))
    sums = (a.double() @ weight.double().t()).to(torch.int32)
    expected = sums.float() * row[:, None] * col[None, :]
    given = (a, weight, row, col, bias.to(torch.bfloat16) if biased else None)
    return given, sums, expected + bias.to(torch.bfloat16).float() if biased else expected


def report(case: str, out: torch.Tensor, expected: torch.Tensor) -> None:
    wrong = int((out != expected).sum())
    print(json.dumps({"case": case, "wrong": wrong, "different": int(expected.unique().numel())}), flush=True)


def main() -> None:
    from profiler.kernels import int_scaled_matmul_triton as kernels

    tile = {"block_m": 32, "block_n": 32, "block_k": 32, "stages": 2, "warps": 4, "group": 2}
    for shape in ANY_SHAPE:
        for biased in (False, True):
            given, sums, expected = problem(*shape, biased)
            # The interpreter cuts float32 to bf16 without rounding: what is compared is what would be rounded.
            outs = [torch.full_like(expected, 7.0) for _ in range(3)]
            if shape in SHAPES:
                for flatten, parts in ((0, 1), (1, 2)):
                    out = torch.full_like(expected, 7.0)
                    kernels.descriptor_matmul(*given, out, **tile, parts=parts, flatten=flatten)
                    report(f"descriptors {shape} bias {biased} parts {parts}", out, expected)
            kernels.pointer_matmul(*given, outs[0], **tile)
            report(f"pointers {shape} bias {biased}", outs[0], expected)
            kernels.scale(sums, *given[2:], outs[1])
            report(f"scale {shape} bias {biased}", outs[1], expected)
            kernels.scale(sums.float() * given[2][:, None], None, *given[3:], outs[2])
            report(f"scale of rows {shape} bias {biased}", outs[2], expected)


def torchao_kernel() -> None:
    """torchao's own kernel where its block divides K, where K is odd, and where it is known to be wrong."""
    from profiler.kernels.int_scaled_matmul_torchao import own_kernel

    for k in (64, 43, 48):
        (a, weight, row, *_), sums, _ = problem(40, k, 24, False)
        # What it reads past the last row is memory of ours.
        a, weight = (torch.cat([each, torch.full_like(each, 1)])[: len(each)] for each in (a, weight))
        out = torch.zeros(sums.shape)
        config = {"block_m": 32, "block_n": 32, "block_k": 32, "stages": 2, "warps": 4}
        own_kernel(a, weight.t(), row[:, None].expand(out.shape), out, config)
        report(f"torchao K {k}", out, sums.float() * row[:, None])


if __name__ == "__main__":
    main()
    torchao_kernel()
