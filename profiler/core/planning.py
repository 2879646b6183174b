"""One choice for each of many layers: the least time under a budget of bytes and a budget of noise.

A multiple-choice knapsack with two limits. Layers that are alike form a group: only how many of them take each choice matters.
Prices on the two limits (Lagrange multipliers) give a bound that no plan can beat and plans near it; a search over what the bound
leaves open ends with the best plan, or with the best that was found and how far from the bound it may be. Plans that prices
give change all layers of a group at once; the one that the search begins with is mixed of them (`plan_mixing`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from profiler.core.assignment import EPSILON, Assignment, Budget, Group, least, price
from profiler.core.errors import Refused
from profiler.core.plan_mixing import Prices, exchanged, improved, mixed
from profiler.core.units import format_size

# Doubling steps and halvings of a price; each pair of prices costs one look at every choice.
_HALVINGS = 28
# Partial plans that the search makes for a group, and those it goes on with. Where more are cut, nothing is proved.
_MOST_GROWN, _MOST_KEPT = 6_000, 400


@dataclass(frozen=True)
class Solution:
    """The plan; `bound_us`: no plan within the budget is faster; `exact`: this one is the fastest there is."""

    plan: Assignment
    bound_us: float
    exact: bool


def solve(groups: Sequence[Group], budget: Budget, known: Sequence[Assignment] = ()) -> Solution:
    """The fastest plan within a budget.

    Args:
        known: plans that the result must not be slower than; those outside the budget are left out.

    Raises:
        Refused: no plan keeps the budget; the message says which limit, and what the least would be.
    """
    _refuse_impossible(groups, budget)
    prices = _Prices(groups, budget)
    prices.search()
    starts = [*known, *prices.seen, mixed(groups, budget, prices.seen, prices.at)]
    within = [each for each in starts if each is not None and budget.holds(each.size_bytes, each.noise)]
    best = min(within, key=lambda each: each.us, default=None) or _quiet(groups, budget)
    if best is not None:
        best = exchanged(groups, budget, improved(groups, budget, best), prices.at)
    found, exact = _Search(groups, budget, prices).run(best)
    if found is None:
        raise Refused("no plan was found that keeps both the memory and the SQNR", _hint(groups, budget))
    return Solution(found, min(prices.bound, found.us), exact)


def _quietest(groups: Sequence[Group], budget: Budget) -> Assignment:
    """The least noise within the bytes: the same search, for noise instead of time."""
    swapped = [replace(group, choices=tuple(replace(each, us=each.noise) for each in group.choices)) for group in groups]
    return price(groups, solve(swapped, Budget(budget.size_bytes)).plan.counts)


def _quiet(groups: Sequence[Group], budget: Budget) -> Assignment | None:
    """A plan to begin with, where prices found none: prices see no plan between two that they give, and there may be one."""
    if budget.noise is None or budget.size_bytes is None:
        return None
    found = _quietest(groups, budget)
    return found if budget.holds(found.size_bytes, found.noise) else None


def _hint(groups: Sequence[Group], budget: Budget) -> str:
    noise = _quietest(groups, budget).noise
    return f"within this memory the SQNR can be {sqnr_db(noise):.1f} dB; give more memory, or ask for less"


def sqnr_db(noise: float) -> float:
    """Relative noise power in dB of signal to noise; infinity where there is none."""
    return -10 * math.log10(noise) if noise > 0 else math.inf


def noise_of(db: float) -> float:
    """The inverse of `sqnr_db`."""
    return 0.0 if math.isinf(db) else 10 ** (-db / 10)


def _refuse_impossible(groups: Sequence[Group], budget: Budget) -> None:
    smallest, quietest = least(groups, "size_bytes"), least(groups, "noise")
    if budget.size_bytes is not None and smallest > budget.size_bytes:
        over = format_size(smallest - budget.size_bytes)
        raise Refused(f"no choice of schemes is small enough: the smallest is {over} over the budget", "give more memory")
    if not budget.holds(0, quietest):
        hint = f"the quietest choice has {sqnr_db(quietest):.1f} dB; ask for less, or allow more schemes"
        raise Refused("no choice of schemes is quiet enough for the SQNR asked for", hint)


class _Prices:
    """The two multipliers: us a byte and us a unit of noise, and the best bound that any pair gave."""

    def __init__(self, groups: Sequence[Group], budget: Budget) -> None:
        self._groups, self._budget = groups, budget
        self.bound, self.at = float("-inf"), Prices(0.0, 0.0)
        self._seen: dict[tuple[tuple[int, ...], ...], Assignment] = {}

    @property
    def seen(self) -> list[Assignment]:
        """The plans that prices gave, within the budget or not."""
        return list(self._seen.values())

    def search(self) -> None:
        """Raise the price of noise until its limit is kept, inside of the price of bytes until theirs is."""
        if self._budget.size_bytes is None:
            self._noise_price(0.0)
            return
        spread = max((c.us for g in self._groups for c in g.choices), default=1.0) or 1.0
        sizes = [c.size_bytes for g in self._groups for c in g.choices]
        unit = spread / max(1, max(sizes, default=1) - min(sizes, default=0))
        self._bisect(unit, lambda value: self._noise_price(value).size_bytes <= (self._budget.size_bytes or 0))

    def _noise_price(self, byte_price: float) -> Assignment:
        """The cheapest plan at a price of bytes that keeps the limit of noise, as far as prices can find it."""
        if self._budget.noise is None:
            return self._look(byte_price, 0.0)
        limit, seen = self._budget.noise, []

        def quiet(value: float) -> bool:
            seen.append(self._look(byte_price, value))
            return seen[-1].noise <= limit

        self._bisect(1.0 / max(limit, 1e-30), quiet)
        return next((each for each in reversed(seen) if each.noise <= limit), seen[-1])

    def _bisect(self, unit: float, kept: Callable[[float], bool]) -> None:
        """Look at prices around the least one at which a limit is kept; none where it is kept for nothing."""
        if kept(0.0):
            return
        low, high = 0.0, unit
        for _ in range(_HALVINGS):
            if kept(high):
                break
            low, high = high, high * 4
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if kept(middle) else (middle, high)

    def _look(self, byte_price: float, noise_price: float) -> Assignment:
        counts, value, at = [], 0.0, Prices(byte_price, noise_price)
        for group in self._groups:
            costs = [at.of(each) for each in group.choices]
            cheapest = min(range(len(costs)), key=costs.__getitem__)
            value += group.count * costs[cheapest]
            counts.append(tuple(group.count if index == cheapest else 0 for index in range(len(costs))))
        value -= byte_price * (self._budget.size_bytes or 0) + noise_price * (self._budget.noise or 0.0)
        if value > self.bound:
            self.bound, self.at = value, at
        found = price(self._groups, counts)
        return self._seen.setdefault(found.counts, found)


@dataclass(frozen=True)
class _Label:
    """A plan of the first groups."""

    us: float
    size_bytes: int
    noise: float
    counts: tuple[tuple[int, ...], ...]


class _Search:
    """Group by group, every plan that the bound does not rule out; of two, what is worse in all three costs is dropped."""

    def __init__(self, groups: Sequence[Group], budget: Budget, prices: _Prices) -> None:
        self._groups, self._budget = groups, budget
        self._at = prices.at
        self._bound = prices.bound
        # What each layer under a choice costs beyond its cheapest one, at the best prices.
        self._extra = [self._reduced(group) for group in groups]
        # The least bytes and noise of the groups behind each.
        rest = [groups[at + 1 :] for at in range(len(groups))]
        self._least = [(least(each, "size_bytes"), least(each, "noise")) for each in rest]

    def _reduced(self, group: Group) -> list[float]:
        costs = [self._at.of(each) for each in group.choices]
        return [each - min(costs) for each in costs]

    def run(self, best: Assignment | None) -> tuple[Assignment | None, bool]:
        """The best plan, and whether nothing was left out on the way to it."""
        gap = float("inf") if best is None else best.us - self._bound
        labels, whole = [(0.0, _Label(0.0, 0, 0.0, ()))], True
        for at, group in enumerate(self._groups):
            ways = (
                (spent + extra, self._add(label, group, counts))
                for spent, label in labels
                for extra, counts in self._splits(at, gap - spent)
            )
            grown = list(islice(ways, _MOST_GROWN))
            fitting = _undominated([each for each in grown if self._can_hold(at, each[1])])
            labels = sorted(fitting, key=lambda each: each[0])[:_MOST_KEPT]
            whole = whole and len(grown) < _MOST_GROWN and len(labels) == len(fitting)
        found = min((each for _, each in labels), key=lambda each: each.us, default=None)
        if found is not None and (best is None or found.us < best.us - EPSILON):
            return price(self._groups, found.counts), whole
        return best, whole

    def _can_hold(self, at: int, label: _Label) -> bool:
        size, noise = self._least[at]
        return self._budget.holds(label.size_bytes + size, label.noise + noise)

    def _splits(self, at: int, room: float) -> Iterator[tuple[float, tuple[int, ...]]]:
        """Ways to share out the layers of a group whose extra cost is within `room`, the cheapest choice filled up last."""
        extra, count = self._extra[at], self._groups[at].count
        order = sorted(range(len(extra)), key=extra.__getitem__)
        yield from _share_out(order[1:], order[0], [0] * len(extra), count, room + EPSILON, extra)

    @staticmethod
    def _add(label: _Label, group: Group, counts: tuple[int, ...]) -> _Label:
        us = label.us + sum(n * c.us for n, c in zip(counts, group.choices, strict=True))
        size = label.size_bytes + sum(n * c.size_bytes for n, c in zip(counts, group.choices, strict=True))
        noise = label.noise + sum(n * c.noise for n, c in zip(counts, group.choices, strict=True))
        return _Label(us, size, noise, (*label.counts, counts))


def _share_out(
    order: list[int], rest: int, counts: list[int], left: int, room: float, extra: list[float]
) -> Iterator[tuple[float, tuple[int, ...]]]:
    if not order:
        counts[rest] = left
        yield 0.0, tuple(counts)
        counts[rest] = 0
        return
    first, *others = order
    for taken in range(left + 1):
        cost = taken * extra[first]
        if cost > room:
            break
        counts[first] = taken
        for more, found in _share_out(others, rest, counts, left - taken, room - cost, extra):
            yield cost + more, found
    counts[first] = 0


def _undominated(labels: list[tuple[float, _Label]]) -> list[tuple[float, _Label]]:
    """Those that no other beats in time, bytes and noise at once."""
    kept: list[tuple[float, _Label]] = []
    # Of what is kept so far, and so not slower: bytes rising, noise falling.
    sizes: list[int] = []
    noises: list[float] = []
    for each in sorted(labels, key=lambda one: (one[1].us, one[1].size_bytes, one[1].noise)):
        size, noise = each[1].size_bytes, each[1].noise
        at = bisect_right(sizes, size)
        if at and noises[at - 1] <= noise:
            continue
        kept.append(each)
        end = at
        while end < len(noises) and noises[end] >= noise:
            end += 1
        sizes[at:end], noises[at:end] = [size], [noise]
    return kept
