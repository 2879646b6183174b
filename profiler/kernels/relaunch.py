"""Launching a compiled Triton kernel again at a shape where it was launched before, for a tenth of what Triton's own way costs.

Triton binds and classifies every argument, builds its options' key and asks for hooks at each launch: 60 to 100 us of the
host's time, hundreds of times a step. Of all that only addresses change between two calls of one shape. What is kept here is
the rest, ready made, together with the copy engine's descriptors of the addresses met so far. Triton's launch hooks, which are
for its own profiler, do not see these launches. Where Triton's launcher is not as known here, its own way is taken.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

# Addresses whose descriptors one operand of one shape keeps: a model has fewer weights of a shape, and memory comes again.
_MOST_MAPS = 4096
_ALIGNMENT = 16
# By kernel, sizes, dtypes and device: what `ready` finds.
_KEPT: dict[tuple[Any, ...], Relaunch] = {}

Describe = Callable[[int], tuple[Any, ...]]


class Launched(NamedTuple):
    """A launch that Triton has made.

    Attributes:
        compiled: what it gave back; None where it only interprets.
        programs: how many were launched.
        operands: `a` (M, K), `weight` (N, K) and `out` (M, N): tensors or tensor descriptors, the first arguments.
        numbers: everything after the pointers, constants included.
        partial, arrived: int32 values of two more pointers after those of scales and bias; None where there are none,
            0 where they are not used at this shape.
    """

    compiled: Any
    programs: int
    operands: tuple[Any, Any, Any]
    numbers: tuple[Any, ...]
    partial: int | None = None
    arrived: int | None = None


class Relaunch:
    """A launch that can be made again with other tensors of the same sizes, strides and dtypes.

    Raises:
        AttributeError, KeyError, ValueError, TypeError, ImportError: Triton's launcher is not as known here.
    """

    def __init__(self, launched: Launched, stream: Callable[[int], int]) -> None:
        compiled, launcher = launched.compiled, launched.compiled.run
        if launcher.global_scratch_size or launcher.profile_scratch_size:
            raise ValueError("it needs memory of its own")
        self._launch, describe = _unwrapped(launcher, launched.operands)
        self._maps = [_Maps(each) for each in describe]
        self._head = (launched.programs, 1, 1)
        options = (launcher.launch_cooperative_grid, launcher.launch_pdl, None, None)
        # No launch metadata and no hooks.
        self._options = (compiled.function, *options, compiled.packed_metadata, None, None, None)
        self._numbers = launched.numbers
        self._partial, self._arrived = launched.partial, launched.arrived
        a, weight, out = (getattr(each, "base", each) for each in launched.operands)
        self._size, self._dtype = tuple(out.shape), out.dtype
        self._strides = tuple(a.stride()), tuple(weight.stride())[::-1]
        self._stream, self._index = stream, max(a.get_device(), 0)

    def __call__(
        self, a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor | None:
        """The result (M, N); None where an operand does not lie as the kernel was compiled for."""
        at, weight, rows, columns = a.data_ptr(), b.data_ptr(), row_scale.data_ptr(), col_scale.data_ptr()
        shift = rows if bias is None else bias.data_ptr()
        if (at | weight | rows | columns | shift) % _ALIGNMENT or (a.stride(), b.stride()) != self._strides:
            return None
        if not (row_scale.is_contiguous() and col_scale.is_contiguous() and (bias is None or bias.is_contiguous())):
            return None
        out = a.new_empty(self._size, dtype=self._dtype)
        pointers: tuple[int, ...] = (rows, columns, shift)
        if self._partial is not None and self._arrived is not None:
            if self._partial:
                # Both live until they are handed over, and are used again by nothing that comes before this launch's end.
                partial = a.new_empty(self._partial, dtype=torch.int32)
                arrived = a.new_zeros(self._arrived, dtype=torch.int32)
                pointers += (partial.data_ptr(), arrived.data_ptr())
            else:
                pointers += (rows, rows)
        of_a, of_weight, of_out = self._maps
        self._launch(
            *self._head,
            self._stream(self._index),
            *self._options,
            *of_a[at],
            *of_weight[weight],
            *of_out[out.data_ptr()],
            *pointers,
            *self._numbers,
        )
        return out


class _Maps(dict[int, tuple[Any, ...]]):
    """By address: what the launcher takes for an operand that lies there."""

    def __init__(self, describe: Describe) -> None:
        self._describe = describe

    def __missing__(self, address: int) -> tuple[Any, ...]:
        if len(self) >= _MOST_MAPS:
            self.clear()
        made = self[address] = self._describe(address)
        return made


class _At(NamedTuple):
    """As much of a tensor descriptor as Triton's launcher reads, of any address."""

    base: Any
    shape: list[int]
    strides: list[int]
    padding: str


class _Base(NamedTuple):
    address: int

    def data_ptr(self) -> int:
        return self.address


def _unwrapped(launcher: Any, operands: tuple[Any, ...]) -> tuple[Callable[..., Any], list[Describe]]:
    """The compiled launcher itself, and for each operand what makes its arguments of an address."""
    if isinstance(operands[0], torch.Tensor):
        return launcher.launch, [lambda address: (address,)] * len(operands)
    from triton.backends.nvidia.driver import make_tensordesc_arg

    # Around the compiled launcher lies a function that describes all operands anew at each call.
    inside = inspect.getclosurevars(launcher.launch).nonlocals
    metas = inside["tensordesc_meta"]
    if len(metas) != len(operands) or None in metas:
        raise ValueError("the descriptors are not the copy engine's")

    def describing(operand: Any, meta: Any) -> Describe:
        shape, strides, padding = list(operand.shape), list(operand.strides), operand.padding
        return lambda address: tuple(make_tensordesc_arg(_At(_Base(address), shape, strides, padding), meta))

    return inside["launcher"], [describing(*each) for each in zip(operands, metas, strict=True)]


def _key(
    a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None, kernel: str
) -> tuple[Any, ...]:
    shift = None if bias is None else bias.dtype
    return kernel, a.shape, b.shape, row_scale.dtype, col_scale.dtype, shift, a.get_device()


def ready(
    a: torch.Tensor, b: torch.Tensor, row_scale: torch.Tensor, col_scale: torch.Tensor, bias: torch.Tensor | None, kernel: str
) -> torch.Tensor | None:
    """The result by a launch that was kept; None where there is none for such operands."""
    found = _KEPT.get(_key(a, b, row_scale, col_scale, bias, kernel))
    return None if found is None else found(a, b, row_scale, col_scale, bias)


def keep(
    a: torch.Tensor,
    b: torch.Tensor,
    row_scale: torch.Tensor,
    col_scale: torch.Tensor,
    bias: torch.Tensor | None,
    kernel: str,
    launched: Launched,
) -> bool:
    """Remember a launch for operands like these; whether that was possible.

    What Triton compiles depends on the addresses' alignment: only a launch with the very operands, all aligned, is kept.
    """
    given = [each for each in (a, b, row_scale, col_scale, bias) if each is not None]
    bases = [getattr(each, "base", each).data_ptr() for each in launched.operands[:2]]
    if bases != [a.data_ptr(), b.data_ptr()] or any(each.data_ptr() % _ALIGNMENT for each in given) or launched.compiled is None:
        return False
    try:
        import triton

        made = Relaunch(launched, triton.runtime.driver.active.get_current_stream)
    except (AttributeError, KeyError, ValueError, TypeError, ImportError, RuntimeError):
        return False
    _KEPT[_key(a, b, row_scale, col_scale, bias, kernel)] = made
    return True
