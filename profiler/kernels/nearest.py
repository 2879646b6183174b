"""Kernels for shapes that no table holds: those of the nearest shape that was tuned. Standard library only."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from math import log

from profiler.kernels.candidate import Shape
from profiler.kernels.tuned import Entry

Nearest = dict[Shape, tuple[Shape, Entry]]


def find_nearest(shapes: Iterable[Shape], entries: Mapping[Shape, Entry], takes: Callable[[Shape], Collection[str]]) -> Nearest:
    """For each shape without an entry: the nearest shape whose entry pays and whose kernel takes it, with that entry.

    Nearest is the least ratio of rows among those of the same weight, K x N; where none of these fits, the least product of all
    three ratios.

    Args:
        takes: names of the kernels that are candidates of a shape on this hardware.
    """
    paying = {shape: entry for shape, entry in entries.items() if entry.pays}
    found: Nearest = {}
    for shape in shapes:
        if shape in entries or not paying:
            continue
        fitting = takes(shape)
        origin = min(
            (each for each in paying if paying[each].kernel in fitting), key=lambda each: _distance(shape, each), default=None
        )
        if origin is not None:
            found[shape] = (origin, paying[origin])
    return found


def _distance(shape: Shape, other: Shape) -> tuple[bool, float, Shape]:
    """Another weight is further than any number of rows; of two as far the smaller one, so that the choice is always the same."""
    ratios = sum(abs(log(one / two)) for one, two in zip(shape, other, strict=True))
    return shape[1:] != other[1:], round(ratios, 9), other
