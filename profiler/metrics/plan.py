"""A plan chosen from what was gathered: which scheme each Linear gets, what that costs, and what each scheme alone would.

The model: the times of the Linears add up; so do the bytes; and the noise powers of their outputs, each times the gain of its
kind, give that of the transformer's output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from profiler.core.assignment import Assignment, Budget, Choice, Group, least, price
from profiler.core.errors import Refused
from profiler.core.planning import noise_of, solve, sqnr_db
from profiler.core.scheme_bytes import weight_bytes
from profiler.core.scheme_noise import UNIFORM_GAIN
from profiler.core.units import format_size

LEFT = "left"
_KEY = ("rows", "in_features", "out_features", "compiled")
# Of the most model memory: bytes are counted as tensors ask for them, and CUDA's caching allocator hands out a little more. Of 60
# recordings on H100s it was 0.02 to 0.07 %, 0.21 under int4dq and 0.30 under int4wo (docs/plan.md).
_ROUNDED_UP = 0.003


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What the model says of one assignment: the Linears of a step in us, model memory in bytes, SQNR of the output in dB."""

    us: float
    model_bytes: int
    sqnr_db: float
    fits: bool


@dataclass(frozen=True, kw_only=True)
class PlanResult:
    """A plan.

    Attributes:
        layers: module -> scheme, in the model's order.
        plan: what it costs; `bound_us` is what no plan within the budget beats, `exact` whether none is faster than this.
        singles: scheme -> what it would cost alone, its layer policy kept; schemes that lack a cost are absent.
        lacking: scheme -> why it was left out, wholly or at some layers.
        groups: one row a kind of layer: kind, rows, in_features, out_features, count, schemes (name -> layers), us, size_bytes,
            noise_share (of the plan's noise), us_left.
        gains: "measured", or "uniform" where none were.
        budget: max_bytes, min_sqnr_db; rounding_bytes: how much of the first is left for what the GPU's allocator rounds up.
    """

    layers: dict[str, str]
    plan: Predicted
    bound_us: float
    exact: bool
    singles: dict[str, Predicted]
    lacking: dict[str, str]
    groups: list[dict[str, Any]]
    gains: str
    budget: dict[str, float | None] = field(default_factory=dict)

    @property
    def best_single(self) -> str | None:
        """The fastest single scheme within the budget."""
        fitting = {name: each for name, each in self.singles.items() if each.fits}
        return min(fitting, key=lambda name: fitting[name].us, default=None)


def choose(material: dict[str, Any], max_bytes: int | None, min_sqnr_db: float | None, alone: str | None = None) -> PlanResult:
    """The fastest plan within a budget.

    Args:
        material: what the planning process gathered.
        max_bytes: the most model memory; None: no limit.
        min_sqnr_db: the least SQNR of the transformer's output; None: no limit.
        alone: the scheme whose own assignment is taken, as measured to be faster than the one that is found here.

    Raises:
        Refused: no plan keeps the budget.
    """
    return _Chooser(material, max_bytes, min_sqnr_db).result(alone)


def outcome_of(material: dict[str, Any], scheme: str) -> dict[str, str]:
    """What a scheme's own layer policy gives each Linear: module -> scheme."""
    modules = (layer["module"] for layer in material["layers"])
    return dict(zip(modules, material["outcomes"][scheme], strict=True))


class _Chooser:
    def __init__(self, material: dict[str, Any], max_bytes: int | None, min_sqnr_db: float | None) -> None:
        self._material, self._max_bytes, self._min_sqnr = material, max_bytes, min_sqnr_db
        self._other = int(material["other_bytes"])
        self._costs = {(*(each[name] for name in _KEY), each["scheme"]): each for each in material["costs"]}
        self._gains, self._uniform = material.get("gains") or {}, UNIFORM_GAIN / max(1, len(material["layers"]))
        self._lacking: dict[str, str] = {}
        self._members: dict[tuple[Any, ...], list[int]] = {}
        self._groups = self._grouped()
        self._rounding = round((max_bytes or 0) * _ROUNDED_UP) if (material.get("device") or {}).get("device") == "cuda" else 0
        size = None if max_bytes is None else max_bytes - self._rounding - self._other
        self._budget = Budget(size, None if min_sqnr_db is None else noise_of(min_sqnr_db))

    def _refuse_too_small(self) -> None:
        """With the whole model's size: the solver knows of its Linears alone."""
        if self._max_bytes is None:
            return
        smallest = self._other + least(self._groups, "size_bytes")
        if smallest > self._max_bytes - self._rounding:
            enough = format_size(smallest * 1.01)
            raise Refused(
                f"--max-memory is {format_size(self._max_bytes)}, and the smallest model that these schemes make has "
                f"{format_size(smallest)}",
                f"give --max-memory {enough.replace(' ', '')}, or allow smaller schemes",
            )

    def _grouped(self) -> list[Group]:
        for index, layer in enumerate(self._material["layers"]):
            key = (layer["kind"], *(layer[name] for name in _KEY), layer["calls"], tuple(layer["choices"]))
            self._members.setdefault(key, []).append(index)
        return [self._group(self._material["layers"][found[0]], len(found)) for found in self._members.values()]

    def _group(self, layer: dict[str, Any], count: int) -> Group:
        choices = [made for each in layer["choices"] if (made := self._choice(layer, each)) is not None]
        if not choices:
            raise Refused(
                f"nothing is known of {layer['module']} under any scheme", "name schemes that run here: --schemes int8wo,..."
            )
        return Group(layer["kind"], count, tuple(choices))

    def _choice(self, layer: dict[str, Any], scheme: str) -> Choice | None:
        size = weight_bytes(scheme, layer["out_features"], layer["in_features"], self._material["base_dtype"])
        cost = self._costs.get((*(layer[name] for name in _KEY), scheme))
        if size is None:
            self._lacking.setdefault(scheme, "there is no arithmetic of its bytes")
            return None
        if not layer["calls"]:
            return Choice(scheme, 0.0, size.total, 0.0)
        if cost is None:
            shape = f"{layer['rows']}x{layer['in_features']}x{layer['out_features']}"
            self._lacking.setdefault(scheme, self._why(layer, scheme) or f"no time of it is known at {shape}")
            return None
        noise = 0.0 if cost["sqnr_db"] is None else noise_of(cost["sqnr_db"])
        return Choice(scheme, cost["us"] * layer["calls"], size.total, noise * self._gains.get(layer["kind"], self._uniform))

    def _why(self, layer: dict[str, Any], scheme: str) -> str | None:
        same = (each for each in self._material["failed"] if all(each[name] == layer[name] for name in _KEY))
        return next((f"{each['why']}" for each in same if each["scheme"] == scheme), None)

    def result(self, alone: str | None) -> PlanResult:
        self._refuse_too_small()
        singles = {name: each for name in self._material["outcomes"] if (each := self._single(name)) is not None}
        solution = solve(self._groups, self._budget, list(singles.values()))
        plan = solution.plan if alone is None else singles[alone]
        return PlanResult(
            layers=self._layers(plan) if alone is None else outcome_of(self._material, alone),
            plan=self._predicted(plan),
            bound_us=solution.bound_us,
            exact=solution.exact and alone is None,
            singles={name: self._predicted(each) for name, each in singles.items()},
            lacking=self._lacking,
            groups=self._rows(plan),
            gains="measured" if self._gains else "uniform",
            budget={"max_bytes": self._max_bytes, "min_sqnr_db": self._min_sqnr, "rounding_bytes": self._rounding},
        )

    def _single(self, scheme: str) -> Assignment | None:
        """The assignment that a scheme's own policy makes; None where a cost of it is not known."""
        outcome, counts = self._material["outcomes"][scheme], []
        for group, members in zip(self._groups, self._members.values(), strict=True):
            wanted = Counter(outcome[index] for index in members)
            counts.append(tuple(wanted.pop(each.scheme, 0) for each in group.choices))
            if wanted:
                return None
        return price(self._groups, counts)

    def _predicted(self, found: Assignment) -> Predicted:
        fits = self._budget.holds(found.size_bytes, found.noise)
        return Predicted(us=found.us, model_bytes=self._other + found.size_bytes, sqnr_db=sqnr_db(found.noise), fits=fits)

    def _layers(self, plan: Assignment) -> dict[str, str]:
        """The first layers of a group take its first choice, and so on: they are alike, so that any would do."""
        chosen: dict[int, str] = {}
        for group, members, counts in zip(self._groups, self._members.values(), plan.counts, strict=True):
            names = (each.scheme for each, count in zip(group.choices, counts, strict=True) for _ in range(count))
            chosen |= dict(zip(members, names, strict=True))
        return {layer["module"]: chosen[index] for index, layer in enumerate(self._material["layers"])}

    def _rows(self, plan: Assignment) -> list[dict[str, Any]]:
        rows = []
        for group, members, counts in zip(self._groups, self._members.values(), plan.counts, strict=True):
            layer = self._material["layers"][members[0]]
            taken = [(each, count) for each, count in zip(group.choices, counts, strict=True) if count]
            left = next((each.us for each in group.choices if each.scheme == LEFT), None)
            noise = sum(count * each.noise for each, count in taken)
            rows.append(
                {name: layer[name] for name in ("kind", "rows", "in_features", "out_features")}
                | {"count": group.count, "schemes": {each.scheme: count for each, count in taken}}
                | {"us": sum(count * each.us for each, count in taken), "us_left": None if left is None else left * group.count}
                | {"size_bytes": sum(count * each.size_bytes for each, count in taken)}
                | {"noise_share": noise / plan.noise if plan.noise else 0.0}
            )
        return sorted(rows, key=lambda row: -row["us"])


def fqn_to_config(
    layers: dict[str, str], configs: dict[str, Any], within: str = "transformer."
) -> tuple[dict[str, Any], list[str]]:
    """The plan as torchao's own `FqnToConfig` JSON, and the schemes of it that torchao alone cannot apply."""
    known = {name.removeprefix(within): configs[scheme] for name, scheme in layers.items() if scheme in configs}
    missing = sorted({scheme for scheme in layers.values() if scheme != LEFT and scheme not in configs})
    return {"_type": "FqnToConfig", "_version": 1, "_data": {"fqn_to_config": known}}, missing


def shapes_of(layers: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The distinct Linears that are called: rows, in_features, out_features, compiled, and what any layer of them may get."""
    found: dict[tuple[Any, ...], dict[str, None]] = {}
    for layer in layers:
        if layer["calls"]:
            found.setdefault(tuple(layer[name] for name in _KEY), {}).update(dict.fromkeys(layer["choices"]))
    return [dict(zip(_KEY, key, strict=True)) | {"choices": list(choices)} for key, choices in found.items()]
