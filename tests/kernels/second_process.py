"""Launch the kernels named as arguments once, compiled for an H100; prints which of them Triton's cache had, as one JSON line.

Run by test_kernel_cache.py, in a process of its own. `--rewriting TEXT` stands for another text of what widens PTX.
"""

from __future__ import annotations

import argparse
import json

import pytest
import torch
import triton
from launchless import install

from profiler.kernels import int_scaled_matmul_gluon, int_scaled_matmul_triton, wide_ptx
from profiler.kernels.int_scaled_matmul import int_scaled_matmul

M, K, N = 256, 512, 256


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rewriting")
    parser.add_argument("kernels", nargs="+")
    asked = parser.parse_args()
    found: list[tuple[str, bool]] = []
    triton.knobs.compilation.listener = lambda src, cache_hit, **_: found.append((src.name, cache_hit))
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        for each in (int_scaled_matmul_gluon, int_scaled_matmul_triton):
            patch.setattr(each, "multiprocessors", lambda _device: 132)
        if asked.rewriting:
            patch.setattr(wide_ptx, "_digest", lambda: asked.rewriting)
        for kernel in asked.kernels:
            a, weight = torch.ones(M, K, dtype=torch.int8), torch.ones(N, K, dtype=torch.int8)
            int_scaled_matmul(a, weight.t(), torch.ones(M), torch.ones(N), None, kernel)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
