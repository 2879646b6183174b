"""Plans between those that prices give: mixed of up to three of them, and made better by exchanging single layers.

At one pair of prices all layers of a group take one choice, so that between two plans that prices give there may be none for many
layers at once: of Flux's groups, of 38 layers each, the best of them can be a tenth slower than what the limits allow. The best
mixture of plans (a linear program with two limits, solved by three plans at most) is about as fast as the bound; what is left to
do is to round its numbers of layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from profiler.core.assignment import EPSILON, Assignment, Budget, Choice, Group, price

# Plans that are mixed: those that are cheapest at the best prices. At the mixture's own prices its plans cost the same.
_MIXED = 24
# Of the limits, what is kept free for rounding: the first that leaves enough is taken.
_KEPT_FREE = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08)
# Moves of one layer that are tried in pairs: those that cost least at the best prices.
_PAIRED = 80
# A determinant that is none: the plans differ in one direction alone.
_PARALLEL = 1e-30


@dataclass(frozen=True)
class _Move:
    """One layer of a group from a choice to another one, and what that changes."""

    at: int
    source: int
    target: int
    us: float
    size_bytes: int
    noise: float


@dataclass(frozen=True)
class Prices:
    """What a byte and a unit of noise cost, in us."""

    size_byte: float
    noise: float

    def of(self, each: Assignment | Choice | _Move) -> float:
        """A plan, a choice or a move at these prices, in us."""
        return each.us + self.size_byte * each.size_bytes + self.noise * each.noise


def mixed(groups: Sequence[Group], budget: Budget, seen: Sequence[Assignment], prices: Prices) -> Assignment | None:
    """The best mixture of plans within the budget, in whole layers; None where no rounding of one keeps the limits."""
    near = sorted(seen, key=prices.of)[:_MIXED]
    for share in _KEPT_FREE:
        found = _best_mixture(near, _limits(budget, 1 - share))
        plan = None if found is None else _rounded(groups, *found)
        if plan is not None and budget.holds(plan.size_bytes, plan.noise):
            return plan
    return None


def _limits(budget: Budget, share: float) -> list[tuple[str, float]]:
    named = {"size_bytes": budget.size_bytes, "noise": budget.noise}
    return [(name, limit * share) for name, limit in named.items() if limit is not None]


def _best_mixture(
    plans: Sequence[Assignment], limits: list[tuple[str, float]]
) -> tuple[tuple[float, ...], tuple[Assignment, ...]] | None:
    """The shares and plans with the least time that keep the limits on average."""
    best: tuple[float, tuple[float, ...], tuple[Assignment, ...]] | None = None
    for number in range(1, len(limits) + 2):
        for taken in combinations(plans, number):
            for shares in _shares(taken, limits):
                us = sum(share * each.us for share, each in zip(shares, taken, strict=True))
                if (best is None or us < best[0]) and all(_keeps(shares, taken, *limit) for limit in limits):
                    best = (us, shares, taken)
    return best[1:] if best else None


def _keeps(shares: tuple[float, ...], taken: tuple[Assignment, ...], name: str, limit: float) -> bool:
    used = sum(share * getattr(each, name) for share, each in zip(shares, taken, strict=True))
    return bool(used <= limit * (1 + EPSILON))


def _shares(taken: tuple[Assignment, ...], limits: list[tuple[str, float]]) -> Iterator[tuple[float, ...]]:
    """Shares at which as many limits are just reached as the number of plans allows."""
    if len(taken) == 1:
        yield (1.0,)
    elif len(taken) == 2:
        for name, limit in limits:
            first, second = (getattr(each, name) for each in taken)
            if first != second and 0 <= (share := (limit - second) / (first - second)) <= 1:
                yield share, 1 - share
    else:
        yield from _of_three(taken, limits)


def _of_three(taken: tuple[Assignment, ...], limits: list[tuple[str, float]]) -> Iterator[tuple[float, ...]]:
    (a1, b1, r1), (a2, b2, r2) = (
        (getattr(taken[0], name) - last, getattr(taken[1], name) - last, limit - last)
        for name, limit in limits
        for last in (getattr(taken[2], name),)
    )
    determinant = a1 * b2 - a2 * b1
    if abs(determinant) <= _PARALLEL:
        return
    first, second = (r1 * b2 - r2 * b1) / determinant, (a1 * r2 - a2 * r1) / determinant
    if first >= 0 and second >= 0 and first + second <= 1:
        yield first, second, 1 - first - second


def _rounded(groups: Sequence[Group], shares: tuple[float, ...], taken: tuple[Assignment, ...]) -> Assignment:
    """Whole layers: each choice gets its whole part, the largest remainders one more."""
    counts = []
    for at, group in enumerate(groups):
        wanted = [
            sum(share * each.counts[at][index] for share, each in zip(shares, taken, strict=True))
            for index in range(len(group.choices))
        ]
        row = [int(each + EPSILON) for each in wanted]
        for index in sorted(range(len(row)), key=lambda one: row[one] - wanted[one])[: group.count - sum(row)]:
            row[index] += 1
        counts.append(row)
    return price(groups, counts)


def improved(groups: Sequence[Group], budget: Budget, start: Assignment) -> Assignment:
    """Move layers of one group from a choice to a faster one, as many as the budget lets, while that gains anything."""
    plan = start
    while True:
        moves = [each for each in _faster(groups, budget, plan) if each.us < plan.us - EPSILON]
        if not moves:
            return plan
        plan = min(moves, key=lambda each: each.us)


def _faster(groups: Sequence[Group], budget: Budget, plan: Assignment) -> Iterator[Assignment]:
    for move in _moves(groups, plan):
        most = plan.counts[move.at][move.source] if move.us < 0 else 0
        while most:
            found = _after(groups, plan, [move] * most)
            if budget.holds(found.size_bytes, found.noise):
                yield found
                break
            most //= 2


def exchanged(groups: Sequence[Group], budget: Budget, start: Assignment, prices: Prices) -> Assignment:
    """Move one layer, or two against each other, while that is faster and the budget is kept."""
    plan = start
    while True:
        moves = sorted(_moves(groups, plan), key=prices.of)[:_PAIRED]
        ways = [[each] for each in moves] + [list(each) for each in combinations(moves, 2)]
        best = min((way for way in ways if _gains(way, plan, budget)), key=_us, default=None)
        if best is None:
            return plan
        plan = _after(groups, plan, best)


def _us(way: list[_Move]) -> float:
    return sum(each.us for each in way)


def _gains(way: list[_Move], plan: Assignment, budget: Budget) -> bool:
    if _us(way) >= -EPSILON:
        return False
    sources = [(each.at, each.source) for each in way]
    enough = all(plan.counts[at][source] >= sources.count((at, source)) for at, source in sources)
    size, noise = plan.size_bytes + sum(each.size_bytes for each in way), plan.noise + sum(each.noise for each in way)
    return enough and budget.holds(size, noise)


def _moves(groups: Sequence[Group], plan: Assignment) -> Iterator[_Move]:
    for at, group in enumerate(groups):
        for source, count in enumerate(plan.counts[at]):
            for target, new in enumerate(group.choices if count else ()):
                old = group.choices[source]
                if target != source:
                    yield _Move(at, source, target, new.us - old.us, new.size_bytes - old.size_bytes, new.noise - old.noise)


def _after(groups: Sequence[Group], plan: Assignment, way: Sequence[_Move]) -> Assignment:
    counts = [list(row) for row in plan.counts]
    for each in way:
        counts[each.at][each.source] -= 1
        counts[each.at][each.target] += 1
    return price(groups, counts)
