"""The kernels over packed weights in Triton's interpreter, in a process of its own: prints one JSON object a case."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

# Rows and inputs: less than a block, blocks that are not full, whole blocks.
SHAPES = ((5, 32), (9, 1056), (8, 3072))


def report(case: str, out: torch.Tensor, expected: torch.Tensor) -> None:
    worst = float((out.double() - expected.double()).abs().max() / expected.double().abs().max())
    print(json.dumps({"case": case, "worst": worst, "different": int(expected.unique().numel())}), flush=True)


def packed() -> None:
    import triton

    from profiler.kernels import packed_linear as own
    from profiler.kernels.packed_format import FORMATS, dequantize, pack
    from profiler.kernels.packed_triton import dequantize_packed_kernel, packed_small_m_linear_kernel

    for form in FORMATS.values():
        for n, k in SHAPES:
            generator = torch.Generator().manual_seed(n + k)
            codes = torch.randint(0, 1 << form.bits, (n, k), generator=generator, dtype=torch.uint8)
            scale = torch.rand(n, k // form.group if form.group else 1, generator=generator).to(torch.bfloat16)
            words = pack(codes, form)
            expected = dequantize(pack(codes, form), scale, form, torch.float32)
            # The interpreter cuts float32 to bf16 without rounding: what is compared is what would be rounded.
            out = torch.full((n, k), 7.0)
            grid = triton.cdiv(k // 8, own._BLOCK), triton.cdiv(n, own._ROWS)
            constants, factor = own._constants(form), own._factor(form)
            dequantize_packed_kernel[grid](
                words, scale, out, n, k, words.shape[1], factor=factor, **constants, block=own._BLOCK, rows=own._ROWS
            )
            report(f"dequantize {form.name} {n}x{k}", out, expected)
            x = torch.randn(2, k, generator=generator).to(torch.bfloat16)
            bias = torch.randn(n, generator=generator).to(torch.bfloat16)
            before = 1.0 if form.whole else own._BEFORE
            constants |= {
                "before": before,
                "after": factor / before,
                "block_n": own._small_block_n(form),
                "block": own._SMALL_BLOCK,
            }
            for given in (bias, None):
                out = torch.full((2, n), 7.0)
                arguments = (x, words, scale, out if given is None else given, out, n, k // 8, words.shape[1])
                packed_small_m_linear_kernel[(triton.cdiv(n, own._small_block_n(form)), 2)](
                    *arguments, has_bias=given is not None, **constants
                )
                product = x.double() @ expected.double().t()
                case = f"small {form.name} {n}x{k} bias {given is not None}"
                report(case, out, product if given is None else product + given.double())


def tiles() -> None:
    import triton

    from profiler.kernels import tile_packed as own

    for n, k, n_padded, k_padded in ((24, 1024, 24, 1024), (13, 896, 16, 1024), (8, 3072, 8, 3072)):
        generator = torch.Generator().manual_seed(n + k)
        codes = torch.randint(0, 16, (n_padded, k_padded), generator=generator)
        words = tiled(codes)
        both = torch.rand(k_padded // 128, n_padded, 2, generator=generator).to(torch.bfloat16)
        scale, zero = (each.t().repeat_interleave(128, 1).float() for each in both.unbind(-1))
        out = torch.full((n, k), 7.0)
        sizes = (n, k, words.shape[1], n_padded)
        grid = triton.cdiv(k // 2, own._BLOCK), triton.cdiv(n, own._ROWS)
        own.dequantize_tiles_kernel[grid](words, both, out, *sizes, group=128, block=own._BLOCK, rows=own._ROWS)
        report(f"tiles {n}x{k}", out, ((codes - 8) * scale + zero)[:n, :k])


def tiled(codes: torch.Tensor) -> torch.Tensor:
    """Codes (N, K) in the layout that torch's `_convert_weight_to_int4pack` makes."""
    n, k = torch.meshgrid(*(torch.arange(size) for size in codes.shape), indexing="ij")
    words = torch.zeros(len(n) // 8, n.shape[1] // 128, 32, 4, dtype=torch.int64)
    bits = codes << (4 * (k % 32 // 8) + 16 * (k % 2))
    words.index_put_((n // 8, k // 128, n % 8 * 4 + k % 8 // 2, k % 128 // 32), bits, accumulate=True)
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32)


if __name__ == "__main__":
    packed()
    tiles()
