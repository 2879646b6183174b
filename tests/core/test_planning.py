"""The solver of budgets: against every plan there is on small cases, and against its own bound on a large one."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator

import pytest

from profiler.core.assignment import Assignment, Budget, Choice, Group, price
from profiler.core.errors import Refused
from profiler.core.planning import noise_of, solve, sqnr_db


def compositions(count: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts == 1:
        yield (count,)
        return
    for first in range(count + 1):
        yield from ((first, *rest) for rest in compositions(count - first, parts - 1))


def by_trying_all(groups: list[Group], budget: Budget) -> Assignment | None:
    ways = [list(compositions(group.count, len(group.choices))) for group in groups]
    plans = (price(groups, rows) for rows in itertools.product(*ways))
    return min((each for each in plans if budget.holds(each.size_bytes, each.noise)), key=lambda each: each.us, default=None)


def small_case(seed: int) -> tuple[list[Group], Budget]:
    rnd = random.Random(seed)
    groups = [
        Group(
            str(index),
            rnd.randint(1, 3),
            tuple(Choice(str(n), rnd.randint(1, 50), rnd.randint(1, 30), rnd.random()) for n in range(rnd.randint(1, 4))),
        )
        for index in range(rnd.randint(1, 3))
    ]
    sizes = [[each.count * c.size_bytes for c in each.choices] for each in groups]
    noises = [[each.count * c.noise for c in each.choices] for each in groups]
    least, most = sum(map(min, sizes)), sum(map(max, sizes))
    low, high = sum(map(min, noises)), sum(map(max, noises))
    size = rnd.choice([None, rnd.randint(least, most)])
    return groups, Budget(size, rnd.choice([None, low + (high - low) * rnd.random()]))


@pytest.mark.parametrize("start", range(0, 120, 20))
def test_no_plan_of_all_is_faster(start: int):
    solved = 0
    for seed in range(start, start + 20):
        groups, budget = small_case(seed)
        best = by_trying_all(groups, budget)
        if best is None:
            with pytest.raises(Refused):
                solve(groups, budget)
            continue
        found = solve(groups, budget)
        solved += 1
        assert found.exact, seed
        assert found.plan.us == pytest.approx(best.us), seed
        assert budget.holds(found.plan.size_bytes, found.plan.noise)
        assert found.bound_us <= found.plan.us + 1e-9
        assert [sum(row) for row in found.plan.counts] == [each.count for each in groups]
        assert price(groups, found.plan.counts) == found.plan
    assert solved > 10


def large_case() -> list[Group]:
    """About Flux: 20 groups of 1 to 114 layers, eight schemes that trade time, bytes and noise."""
    rnd = random.Random(1)
    schemes = [
        (16, 1.0, 0.0),
        (8, 0.6, 1.3e-3),
        (8, 1.02, 6e-4),
        (8, 0.8, 1.6e-4),
        (8, 1.05, 6e-5),
        (5, 0.55, 5e-2),
        (4, 1.2, 3e-2),
    ]
    groups = []
    for index in range(20):
        base, size = rnd.uniform(5, 500), rnd.randint(1 << 20, 1 << 26)
        choices = [
            Choice(str(n), base * speed * rnd.uniform(0.9, 1.1), size * bits // 8, noise * rnd.uniform(0.8, 1.2) / 40)
            for n, (bits, speed, noise) in enumerate(schemes)
        ]
        groups.append(Group(str(index), rnd.choice([1, 19, 38, 76, 114]), tuple(choices)))
    return groups


@pytest.mark.parametrize("db", [15.0, 25.0])
def test_a_large_plan_is_near_the_bound_and_never_slower_than_what_was_known(db: float):
    groups = large_case()
    whole = sum(each.count * each.choices[0].size_bytes for each in groups)
    budget = Budget(int(whole * 0.6), noise_of(db))
    singles = [price(groups, [tuple(each.count if n == at else 0 for n in range(7)) for each in groups]) for at in range(7)]
    fitting = [each for each in singles if budget.holds(each.size_bytes, each.noise)]
    assert fitting
    found = solve(groups, budget, singles)
    assert found.plan.us <= min(each.us for each in fitting)
    assert found.bound_us <= found.plan.us <= found.bound_us * 1.02


# Bits a weight, time of a large product and noise, in bf16's.
SCHEMES = {
    "left": (16, 1.0, 0.0),
    "int8dq": (8, 0.6, 1.6e-4),
    "fp8dqrow": (8, 0.58, 1.3e-3),
    "int8wo": (8, 1.04, 8e-5),
    "fp6_e3m2": (6, 1.03, 2.8e-3),
    "fp5_e2m2": (5, 1.02, 3.3e-3),
    "fp4_e2m1": (4, 1.01, 1.4e-2),
    "int4wo": (4.2, 1.02, 1e-2),
    "sparse": (4.5, 0.56, 1.1e-1),
}
FEW = ("left", "int8dq", "fp8dqrow", "int8wo", "fp6_e3m2", "fp5_e2m2", "fp4_e2m1")
FLUX = (
    (4608, 15360, 3072, 38),
    (4608, 3072, 12288, 38),
    (4608, 3072, 3072, 114),
    (4096, 3072, 3072, 76),
    (4096, 12288, 3072, 19),
    (4096, 3072, 12288, 19),
    (512, 3072, 3072, 76),
    (512, 12288, 3072, 19),
    (1, 3072, 18432, 38),
    (1, 3072, 9216, 38),
)


def flux(names: Iterable[str]) -> list[Group]:
    """Few groups of many layers: a layer's time is that of its products, or, of one row, of its bytes."""
    return [Group(f"{m}x{k}x{n}", count, tuple(flux_choices(names, m, k, n))) for m, k, n, count in FLUX]


def flux_choices(names: Iterable[str], m: int, k: int, n: int) -> Iterator[Choice]:
    for name in names:
        bits, speed, noise = SCHEMES[name]
        if m > 1:
            yield Choice(name, 2 * m * k * n / 7e8 * speed, int(k * n * bits / 8), noise / 500)
        elif name not in ("int8dq", "fp8dqrow", "sparse"):
            yield Choice(name, k * n / 1.2e6 * bits / 16, int(k * n * bits / 8), noise / 500)


def test_where_both_limits_bind_groups_of_many_layers_are_split():
    budget = Budget(8_500_000_000, noise_of(25.0))
    few, all_of_them = (solve(flux(names), budget) for names in (FEW, SCHEMES))
    assert few.plan.us <= few.bound_us * 1.005
    assert all_of_them.plan.us <= all_of_them.bound_us * 1.005
    assert all_of_them.plan.us <= few.plan.us, "more schemes to choose from make no plan slower"


def test_what_cannot_be_kept_is_said_with_what_could():
    group = Group("a", 2, (Choice("big", 1.0, 1 << 30, 0.0), Choice("small", 2.0, 1 << 28, 0.5)))
    with pytest.raises(Refused, match=r"the smallest is 0.250 GiB over the budget"):
        solve([group], Budget(size_bytes=1 << 28))
    with pytest.raises(Refused) as caught:
        solve([group], Budget(size_bytes=1 << 30, noise=0.1))
    assert "keeps both" in caught.value.message
    assert "the SQNR can be -0.0 dB" in caught.value.hint or "the SQNR can be 0.0 dB" in caught.value.hint
    loud = Group("a", 1, (Choice("loud", 1.0, 1, 0.01),))
    with pytest.raises(Refused) as caught:
        solve([loud], Budget(noise=0.001))
    assert caught.value.hint.startswith("the quietest choice has 20.0 dB")


def test_without_a_budget_the_fastest_of_each_is_taken():
    group = Group("a", 3, (Choice("slow", 5.0, 1, 0.0), Choice("fast", 2.0, 9, 1.0)))
    found = solve([group], Budget())
    assert (found.plan.counts, found.exact, found.bound_us) == (((0, 3),), True, 6.0)


@pytest.mark.parametrize("db", [-3.0, 0.0, 20.0, math.inf])
def test_noise_and_decibels_are_inverse(db: float):
    assert sqnr_db(noise_of(db)) == pytest.approx(db)
