"""`diffuscope::int_scaled_matmul`: int8 times int8, scaled by row and column, in bf16; one custom op over all spaces of kernels.

A space is a module `int_scaled_matmul_SPACE` of this package with `candidates(shape, hardware)` and `matmul(a, b, row_scale,
col_scale, bias, kernel)`; a kernel's name begins with its space: `SPACE:...`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

import torch

from profiler.kernels import blocks
from profiler.kernels.candidate import Candidate, Shape
from profiler.kernels.relaunch import ready

# By device type. Modules are imported where they are asked for: those of a GPU need Triton.
SPACES: dict[str, tuple[str, ...]] = {"cpu": ("cpu",), "cuda": ("warpgroup", "hopper", "pointers", "torchao", "cublaslt")}


# Every space has candidates of it.
_ANY = Shape(4096, 1024, 4096)


def candidates(shape: Shape, hardware: Any) -> list[Candidate]:
    """Every kernel that can compute a shape on this hardware (`device`, `capability`), pruned, nothing compiled yet."""
    return [each for space in SPACES[hardware.device] for each in _space(space).candidates(shape, hardware)]


def unknown(kernels: Iterable[str], hardware: Any) -> list[str]:
    """Those that no space of this hardware has: another space, no configuration, or one with other settings."""
    spaces = {each: _space(each).candidates(_ANY, hardware) for each in SPACES[hardware.device]}
    names = {one.kernel for found in spaces.values() for one in found}
    settings = {(one.space, *sorted(one.config)) for found in spaces.values() for one in found}
    return [each for each in dict.fromkeys(kernels) if each not in names and _settings(each) not in settings]


def _settings(kernel: str) -> tuple[str, ...]:
    try:
        return kernel.partition(":")[0], *sorted(blocks.config_of(kernel))
    except ValueError:
        return ()


def _matmul(
    a: torch.Tensor,
    b: torch.Tensor,
    row_scale: torch.Tensor,
    col_scale: torch.Tensor,
    bias: torch.Tensor | None,
    kernel: str,
) -> torch.Tensor:
    out: torch.Tensor | None = ready(a, b, row_scale, col_scale, bias, kernel)
    return _space(kernel.partition(":")[0]).matmul(a, b, row_scale, col_scale, bias, kernel) if out is None else out


def _fake(
    a: torch.Tensor,
    b: torch.Tensor,
    row_scale: torch.Tensor,
    col_scale: torch.Tensor,
    bias: torch.Tensor | None,
    kernel: str,
) -> torch.Tensor:
    return a.new_empty(a.shape[0], b.shape[1], dtype=torch.bfloat16)


# Compiled graphs on disk outlive this process: they hold a call of the op by its schema, the kernel's name in it, and expect
# what the fake says. Not the kernel itself: a better one needs no new graph. Another schema or fake needs another name.
# Not `custom_op`: its wrapper costs 8 us a call more, and a Flux step has hundreds of calls.
_LIBRARY = torch.library.Library("diffuscope", "FRAGMENT")
_LIBRARY.define(
    "int_scaled_matmul(Tensor a, Tensor b, Tensor row_scale, Tensor col_scale, Tensor? bias, str kernel) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)
_LIBRARY.impl("int_scaled_matmul", _matmul, "CompositeExplicitAutograd")
torch.library.register_fake("diffuscope::int_scaled_matmul", _fake, lib=_LIBRARY)


def int_scaled_matmul(
    a: torch.Tensor,
    b: torch.Tensor,
    row_scale: torch.Tensor,
    col_scale: torch.Tensor,
    bias: torch.Tensor | None,
    kernel: str,
) -> torch.Tensor:
    """`(a @ b) * row_scale * col_scale + bias` in bf16, summed in int32, by the candidate called `kernel`.

    Args:
        a: (M, K) int8.
        b: (K, N) int8; usually the transposed view of a weight.
        row_scale: M float32 values.
        col_scale: N float32 values.
        bias: N values or None.
    """
    out: torch.Tensor = torch.ops.diffuscope.int_scaled_matmul(a, b, row_scale, col_scale, bias, kernel)
    return out


def _space(name: str) -> Any:
    if not any(name in names for names in SPACES.values()):
        raise ValueError(f"no space of kernels is called {name!r}")
    return importlib.import_module(f"profiler.kernels.int_scaled_matmul_{name}")
