"""Why cells differ from the seed, said once: what is said of several cells names them all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from profiler.report import sweep_words as words

NAMES = {"model_memory": "model memory", "inference_memory": "inference memory", "time": "time"}
_GUESS = "may be: "


@dataclass(frozen=True)
class Why:
    """Causes of one quantity that the same cells share.

    Args:
        cells: their ids, in the order of the rows.
        of: how many cells differ in the quantity.
        quantity: a key of `NAMES`.
        ratios: ours over the seed's, of each cell that has one.
        causes: sentences; what may merely be the reason begins with `may be: `.
    """

    cells: tuple[str, ...]
    of: int
    quantity: str
    ratios: tuple[float, ...]
    causes: list[str]

    def head(self, name: str = "{}") -> str:
        """`a, b, time 0.80 to 0.87`; of many cells that are all there are, their number; `name` is how an id is written."""
        listed = ", ".join(name.format(each) for each in self.cells)
        if len(self.cells) > 2 and len(self.cells) == self.of:
            listed = f"all {self.of} that differ in {NAMES.get(self.quantity, self.quantity)}"
            return f"{listed}, {_range(self.ratios)}"
        return f"{listed}, {NAMES.get(self.quantity, self.quantity)} {_range(self.ratios)}"


def whys(rows: Sequence[dict[str, Any]]) -> list[Why]:
    """What is said of one cell alone, cell by cell; then what is said of several."""
    of_cause: dict[tuple[str, str], list[dict[str, Any]]] = {}
    differing: dict[str, set[str]] = {}
    for row in rows:
        for cause in row["causes"]:
            of_cause.setdefault((cause["quantity"], sentence(cause)), []).append(row)
            differing.setdefault(cause["quantity"], set()).add(row["id"])
    found: dict[tuple[tuple[str, ...], str], Why] = {}
    for (quantity, text), said_of in of_cause.items():
        cells = tuple(row["id"] for row in said_of)
        new = Why(cells, len(differing[quantity]), quantity, _ratios(quantity, said_of), [])
        found.setdefault((cells, quantity), new).causes.append(text)
    order = {row["id"]: index for index, row in enumerate(rows)}
    return sorted(found.values(), key=lambda why: _place(why, order))


def _ratios(quantity: str, rows: Sequence[dict[str, Any]]) -> tuple[float, ...]:
    found = (row.get(f"{quantity}_ratio") for row in rows)
    return tuple(each for each in found if each is not None)


def _place(why: Why, order: dict[str, int]) -> tuple[bool, int, int, bool]:
    """What one cell has alone comes first, in the order of the rows; of what several share, what numbers show."""
    quantity, guessed = [*NAMES, why.quantity].index(why.quantity), why.causes[0].startswith(_GUESS)
    return len(why.cells) > 1, order[why.cells[0]] if len(why.cells) == 1 else 0, quantity, guessed


def sentence(cause: dict[str, Any]) -> str:
    """A cause as it is printed."""
    return f"{'' if cause['measured'] else _GUESS}{cause['text']}"


def _range(ratios: Sequence[float]) -> str:
    if not ratios:
        return "-"
    least, most = words.ratio(min(ratios)), words.ratio(max(ratios))
    return least if least == most else f"{least} to {most}"
