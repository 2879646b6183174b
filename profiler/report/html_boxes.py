"""Icicles: what a whole is made of, level by level, the whole on top."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from profiler.core import palette
from profiler.report.html_svg import WIDTH, box, fitted, ink, svg, whole, words
from profiler.report.html_tags import Html, joined

# Narrower boxes of one parent are drawn as one.
_LEAST_PX = 3.0
_ROW = 46.0
Path = tuple[str, ...]


@dataclass(frozen=True)
class Leaf:
    """A part of the whole by its path of names from the top down."""

    path: Path
    value: float


@dataclass(frozen=True)
class _Box:
    path: Path
    value: float
    x: float
    width: float


def icicle(
    leaves: Sequence[Leaf],
    title: str,
    colour: Callable[[Path], str],
    shown: Callable[[float], str],
    name: Callable[[str], str] = str,
) -> Html:
    """Boxes as wide as what they are of the whole.

    Args:
        title: what the whole is.
        colour: of a path.
        shown: a value with its unit.
        name: how a name reads.
    """
    total = sum(each.value for each in leaves)
    if not total:
        return joined()
    made = _boxes((), leaves, 0.0, total)
    rows = max((len(each.path) for each in made), default=0) + 1
    top = box(0.0, 0.0, WIDTH, _ROW, palette.TOTAL, f"{title}: {shown(total)}")
    said = words(WIDTH / 2, 28, f"{title}, {shown(total)}", anchor="middle", fill="#FFFFFF", class_="value")
    drawn = [_drawn(each, colour(each.path), shown, name, total) for each in made]
    return svg(_ROW * rows, f"{title} by its parts", top, said, *drawn)


def _boxes(path: Path, leaves: Sequence[Leaf], x: float, total: float) -> list[_Box]:
    """Boxes of all levels below a path, biggest first; what is too narrow to be seen is one at the end."""
    groups: dict[str, list[Leaf]] = {}
    for each in leaves:
        if len(each.path) > len(path):
            groups.setdefault(each.path[len(path)], []).append(each)
    sums = {key: sum(each.value for each in of) for key, of in groups.items()}
    scale, found, small = WIDTH / total, [], []
    for key, value in sorted(sums.items(), key=lambda item: (-item[1], item[0])):
        if value * scale < _LEAST_PX:
            small.append(value)
            continue
        found.append(_Box((*path, key), value, x, value * scale))
        found += _boxes((*path, key), groups[key], x, total)
        x += value * scale
    if sum(small) * scale >= 0.5:
        found.append(_Box((*path, f"{len(small)} smaller"), sum(small), x, sum(small) * scale))
    return found


def _drawn(each: _Box, colour: str, shown: Callable[[float], str], name: Callable[[str], str], total: float) -> Html:
    top, inside = _ROW * len(each.path), ink(colour)
    note = f"{' / '.join(name(part) for part in each.path)}: {shown(each.value)}, {each.value / total:.1%}"
    label, number = fitted(name(each.path[-1]), each.width), whole(shown(each.value), each.width)
    return joined(
        box(each.x, top, each.width, _ROW, colour, note),
        words(each.x + 6, top + 19, label, fill=inside) if label else None,
        words(each.x + 6, top + 36, number, fill=inside, class_="value") if number else None,
    )
