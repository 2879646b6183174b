"""What a plan is made of: choices, groups of layers that are alike, limits, and how many layers take each choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Sums of floats: what is not more than so much better is not better.
EPSILON = 1e-9


@dataclass(frozen=True)
class Choice:
    """What one layer costs under a scheme: time in a step in us, bytes held, noise power (relative to the output's signal)."""

    scheme: str
    us: float
    size_bytes: int
    noise: float


@dataclass(frozen=True)
class Group:
    """`count` layers that are alike, and the choices that each of them has."""

    name: str
    count: int
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Budget:
    """The most bytes and the most noise of all layers together; None: no limit."""

    size_bytes: int | None = None
    noise: float | None = None

    def holds(self, size_bytes: float, noise: float) -> bool:
        """Whether a plan keeps both limits."""
        within = self.size_bytes is None or size_bytes <= self.size_bytes
        return within and (self.noise is None or noise <= self.noise * (1 + EPSILON))


@dataclass(frozen=True)
class Assignment:
    """How many layers of each group take each choice (in the order of the groups and their choices), and what that costs."""

    counts: tuple[tuple[int, ...], ...]
    us: float
    size_bytes: int
    noise: float


def price(groups: Sequence[Group], counts: Sequence[Sequence[int]]) -> Assignment:
    """What given counts cost."""
    taken = [(n, c) for group, row in zip(groups, counts, strict=True) for n, c in zip(row, group.choices, strict=True)]
    sums = (sum(n * c.us for n, c in taken), sum(n * c.size_bytes for n, c in taken), sum(n * c.noise for n, c in taken))
    return Assignment(tuple(map(tuple, counts)), *sums)


def least(groups: Sequence[Group], cost: Literal["size_bytes", "noise"]) -> Any:
    """The sum over all layers of the least that a choice costs."""
    return sum(group.count * min(getattr(each, cost) for each in group.choices) for group in groups)
