"""Which cells come first: those that answer most, should the time run out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from profiler.core.spec import RunSpec
from profiler.schemes.base import SCHEMES
from profiler.sweep.cells import Cell
from profiler.sweep.grid import BASELINE, SWITCHES

# The best compile mode first, as far as it is known before measuring: regional compiles fastest and runs as fast as default.
_MODES = ("regional", "default", "max-autotune", "reduce-overhead")


def in_order(cells: Iterable[Cell], group: Callable[[RunSpec], int] = lambda _: 0) -> list[Cell]:
    """The baseline; then by batch each scheme in its best mode; then its options; eager runs of quantized schemes last.

    What is equally useful keeps its order.

    Args:
        group: all cells of a lower number come before those of a higher one, in the same order each.
    """
    groups: dict[int, list[Cell]] = {}
    for each in cells:
        groups.setdefault(group(each.spec), []).append(each)
    return [each for number in sorted(groups) for each in _in_order(groups[number])]


def _in_order(cells: list[Cell]) -> list[Cell]:
    best, base = _best_modes(cells), _base(cells)
    return sorted(cells, key=lambda each: _rank(each, base, best))


def _base(cells: list[Cell]) -> tuple[int, int]:
    """(batch, options) of the plainest unquantized cell: there may be none without options."""
    return min(((each.spec.batch, _options(each.spec)) for each in cells if each.spec.scheme == BASELINE), default=(0, 0))


def _best_modes(cells: list[Cell]) -> dict[str, str]:
    """By scheme, the first of `_MODES` that any of its cells has."""
    found: dict[str, str] = {}
    for each in sorted(cells, key=lambda cell: _place(cell.spec.compile)):
        found.setdefault(each.spec.scheme, each.spec.compile)
    return found


def _options(spec: RunSpec) -> int:
    # A preset's text encoders belong to its rows and are no option of them.
    return sum(bool(getattr(spec, name)) for name in SWITCHES if name != "quantize_text_encoder")


def _rank(cell: Cell, base: tuple[int, int], best: dict[str, str]) -> tuple[int, ...]:
    spec, options = cell.spec, _options(cell.spec)
    baseline = spec.scheme == BASELINE and (spec.batch, options) == base
    slow = spec.compile == "none" and best[spec.scheme] != "none" and _quantizes(spec.scheme)
    return (not baseline, spec.batch, slow, options, spec.compile != best[spec.scheme], _place(spec.compile))


def _place(mode: str) -> int:
    return _MODES.index(mode) if mode in _MODES else len(_MODES)


def _quantizes(scheme: str) -> bool:
    return scheme not in SCHEMES or SCHEMES.get(scheme).quantizes
