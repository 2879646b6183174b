"""Which cells come first: those that answer most, should the time run out."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.schemes.base import SCHEMES
from profiler.sweep.cells import Cell
from profiler.sweep.grid import BASELINE, SWITCHES

# The best compile mode first, as far as it is known before measuring: regional compiles fastest and runs as fast as default.
_MODES = ("regional", "default", "max-autotune", "reduce-overhead")


def in_order(cells: Iterable[Cell]) -> list[Cell]:
    """The baseline; then by batch each scheme in its best mode; then its options; eager runs of quantized schemes last.

    What is equally useful keeps its order.
    """
    cells = list(cells)
    smallest = min((each.spec.batch for each in cells), default=1)
    best = _best_modes(cells)
    return sorted(cells, key=lambda each: _rank(each, smallest, best))


def _best_modes(cells: list[Cell]) -> dict[str, str]:
    """By scheme, the first of `_MODES` that any of its cells has."""
    found: dict[str, str] = {}
    for each in sorted(cells, key=lambda cell: _place(cell.spec.compile)):
        found.setdefault(each.spec.scheme, each.spec.compile)
    return found


def _rank(cell: Cell, smallest: int, best: dict[str, str]) -> tuple[int, ...]:
    spec = cell.spec
    # A preset's text encoders belong to its rows and are no option of them.
    options = sum(bool(getattr(spec, name)) for name in SWITCHES if name != "quantize_text_encoder")
    baseline = spec.scheme == BASELINE and spec.batch == smallest and not options
    slow = spec.compile == "none" and best[spec.scheme] != "none" and _quantizes(spec.scheme)
    return (not baseline, spec.batch, slow, options, spec.compile != best[spec.scheme], _place(spec.compile))


def _place(mode: str) -> int:
    return _MODES.index(mode) if mode in _MODES else len(_MODES)


def _quantizes(scheme: str) -> bool:
    return scheme not in SCHEMES or SCHEMES.get(scheme).quantizes
