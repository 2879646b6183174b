"""Moving quantized weights between devices while something else still refers to them."""

from __future__ import annotations

from typing import Any


def move_without_swapping() -> None:
    """Let modules and diffusers' hooks move quantized weights in place, in this process, from now on.

    A quantized weight is a wrapper around several tensors, and torch moves it by swapping it with its moved copy. That raises
    as long as anything holds a weak reference to either: the profiler of a traced call does, and so do dynamo's guards.
    """
    import torch

    swap = torch.utils.swap_tensors
    if getattr(swap, "moves_in_place", False):
        return

    def swap_or_move(mine: Any, moved: Any) -> None:
        if type(mine) is type(moved) and hasattr(mine, "__tensor_flatten__"):
            _move(mine, moved)
        else:
            swap(mine, moved)

    swap_or_move.moves_in_place = True  # type: ignore[attr-defined]
    torch.utils.swap_tensors = swap_or_move


def _move(mine: Any, moved: Any) -> None:
    # The wrapper's own device and nothing else: what is inside stays where it was.
    mine.data = moved
    for name in moved.__tensor_flatten__()[0]:
        setattr(mine, name, getattr(moved, name))
