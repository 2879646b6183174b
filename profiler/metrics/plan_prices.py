"""What each Linear would cost under each scheme, from one bf16 recording: before anything is quantized, and without its GPU.

The time of a shape in bf16 is the run's own; other products, and the bytes that quantizing moves, are priced at what was measured
on that GPU (`plan_products`). What lies beside the Linears is the run's as well, or, where the run is eager and the plan is for
compiled runs, what compiling leaves of it (`plan_fusion`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import polars as pl

from profiler.core.errors import Refused
from profiler.core.scheme_bytes import DENSE_TWIN
from profiler.core.scheme_noise import SQNR_DB
from profiler.metrics.floor_events import window_events
from profiler.metrics.floor_prices import usable
from profiler.metrics.ledger import ledger
from profiler.metrics.plan import LEFT, shapes_of
from profiler.metrics.plan_base import Target, boundaries, linear_times, rest_of, target_of
from profiler.metrics.plan_products import (
    BASE,
    EAGER_QUANTIZING,
    EAGER_UNPACKING,
    PRODUCTS,
    SPARSE_GAIN,
    SPARSE_INT8,
    TUNED_SCHEME,
    Key,
    LinearPrice,
    Rates,
    ideal_us,
    left_price,
    linear_price,
)
from profiler.metrics.plan_step import BURST_SHARE, Rest, StepPrediction, clock_of, step_of
from profiler.metrics.tuned_estimate import table_entries
from profiler.metrics.windows import STEP
from profiler.tables.run import Run

UNTUNED = f"{TUNED_SCHEME} --tuned off"
UNKEPT = f"{SPARSE_INT8}, plans not kept"
"""What a plan calls int8dq without tuned kernels, and sparsify where each product is planned anew."""
VARIANTS = {UNTUNED: TUNED_SCHEME, UNKEPT: SPARSE_INT8}
"""Schemes that a run may run in another way than a plan takes it to, by what that way is called."""

# Of the ideal time: a shape that the run does not hold.
_ESTIMATED = 1.25
_NAMES = ("rows", "in_features", "out_features", "compiled")


class Predictor:
    """Prices from one run, for one material.

    Attributes:
        material: what the planning process gathered, its costs filled in.
        basis: what they rest on: `run`, `step_us` (a step of the run, untraced), `linear_us` (its Linears), `rest_us`, `rest`
            (attention, elementwise, idle, as predicted), `measured` (shapes), `estimated` (shapes that the run does not hold),
            `tuned` (the table of int8 kernels, or None), `assumed` (in words).

    Raises:
        Refused: the run is no bf16 recording of this model at this size on a GPU, or is compiled where the plan is not.
    """

    def __init__(self, run: Run, material: dict[str, Any]) -> None:
        rates, table = _rates(run, material)
        self._rates, self._target = rates, target_of(run, material)
        found = ledger(run)
        if found.source != "gpu" or found.window != STEP:
            raise Refused(
                f"{run.path} holds no denoising steps of a GPU", "record one there: diffuscope record MODEL --compile regional"
            )
        events = window_events(run.trace(), found.windows)
        self._times = linear_times(events, found.windows.height, {_product(each) for each in shapes_of(material["layers"])})
        rest = rest_of(run, found, events, self._times, rates, self._target)
        self._rest = replace(rest, elementwise=rest.elementwise + boundaries(run, material, rates))
        self._missing: list[str] = []
        self.material = material | {"costs": self._costs(material, rates)}
        self.basis = self._described(run, found.rows, table)

    def step(self, schemes: Sequence[str], variant: str = "") -> StepPrediction | None:
        """A step in which each layer of the material gets one scheme, in their order; None where a cost is not known.

        Args:
            variant: one of `variants`; empty for what a record would run.
        """
        costs = self._of(schemes, variant)
        return None if costs is None else step_of(self._rest, costs)

    def linears_us(self, schemes: Sequence[str], variant: str = "") -> float | None:
        """The Linears of that step, and the gaps of the kernels that schemes add, at the run's clock."""
        costs = self._of(schemes, variant)
        return None if costs is None else sum(count * float(cost["us"]) for count, cost in costs)

    def _of(self, schemes: Sequence[str], variant: str) -> list[tuple[int, dict[str, Any]]] | None:
        known = self._by_scheme | self._variants.get(variant, {})
        counts: Counter[tuple[Any, ...]] = Counter()
        for layer, scheme in zip(self.material["layers"], schemes, strict=True):
            counts[(*(layer[name] for name in _NAMES), scheme)] += layer["calls"]
        wanted = {key: count for key, count in counts.items() if count}
        missing = any(key not in known for key in wanted)
        return None if missing else [(count, known[key]) for key, count in wanted.items()]

    @property
    def variants(self) -> dict[str, str]:
        """Other ways to run a scheme that are other predictions, and the scheme."""
        return {name: VARIANTS[name] for name, costs in self._variants.items() if costs}

    def _costs(self, material: dict[str, Any], rates: Rates) -> list[dict[str, Any]]:
        shapes = shapes_of(material["layers"])
        costs = [self._cost(each, scheme, rates) for each in shapes for scheme in each["choices"] if _known(scheme, rates)]
        self._by_scheme = {(*(each[name] for name in _NAMES), each["scheme"]): each for each in costs}
        others = {UNKEPT: replace(rates, kept_plans=False)} | ({UNTUNED: replace(rates, tuned={})} if rates.tuned else {})
        self._variants = {name: self._varied(VARIANTS[name], other) for name, other in others.items()}
        return costs

    def _varied(self, scheme: str, rates: Rates) -> dict[tuple[Any, ...], dict[str, Any]]:
        return {key: self._cost(each, scheme, rates) for key, each in self._by_scheme.items() if key[-1] == scheme}

    def _cost(self, shape: dict[str, Any], scheme: str, rates: Rates) -> dict[str, Any]:
        key = _product(shape)
        base = self._times.us.get(key)
        if base is None:
            name = "x".join(map(str, key))
            self._missing += [] if name in self._missing else [name]
            base = ideal_us(key, 2.0, BASE, rates) * _ESTIMATED
        found = left_price(key, base) if scheme == LEFT else linear_price(key, scheme, base, rates)
        product, moving = self._at_the_runs_clock(found), found.moving
        row = {name: shape[name] for name in _NAMES}
        # A gap comes with each kernel that is added: else a scheme with two of them is chosen for a product that is as fast.
        device = product[0] + moving.us + found.kernels * self._rest.gap_us
        row |= {"scheme": scheme, "us": max(device, found.host.us), "sqnr_db": SQNR_DB.get(scheme)}
        row |= {"product_us": product, "moving_us": [moving.us, moving.low, moving.high]}
        host = [found.host.us, found.host.low, found.host.high]
        return row | {"host_us": host, "on_cores": found.on_cores, "kernels": found.kernels}

    def _at_the_runs_clock(self, found: LinearPrice) -> list[float]:
        share = self._rest.share
        clock = clock_of(BURST_SHARE, share) if found.burst and share is not None else 1.0
        return [found.product.us / clock, found.product.low / clock, found.product.high / clock]

    def _described(self, run: Run, rows: pl.DataFrame, table: str | None) -> dict[str, Any]:
        linear = sum(
            each["us"] * layer["calls"]
            for layer in self.material["layers"]
            if layer["calls"] and (each := self._by_scheme.get((*(layer[name] for name in _NAMES), LEFT)))
        )
        step = float(rows["priced_ns"].sum()) / 1e3 / self._times.windows
        basis = {"run": str(run.path), "step_us": step, "linear_us": linear, "rest_us": max(0.0, step - linear)}
        basis |= {"rest": {name: asdict(getattr(self._rest, name)) for name in ("attention", "elementwise", "idle")}}
        basis |= {"power_limited": self._rest.share is not None, "tuned": table, "compiled": self._target.run_compiled}
        basis |= {"measured": len(self._times.us), "estimated": self._missing}
        return basis | {"assumed": _assumed(self.material, self._rest, self._target, table)}


def _rates(run: Run, material: dict[str, Any]) -> tuple[Rates, str | None]:
    spec, wanted = run.manifest.spec, material["spec"]
    if spec.get("scheme") != "bf16":
        raise Refused(f"{run.path} is of scheme {spec.get('scheme')}", "predictions start from a bf16 recording")
    if spec.get("parallel"):
        raise Refused(f"{run.path} is of several ranks", "plan from a bf16 run of one GPU")
    for name in ("model", "batch", "height", "width", "frames"):
        if spec.get(name) != wanted.get(name):
            told = f"{run.path} was recorded with {name} {spec.get(name)}, and the plan is for {wanted.get(name)}"
            raise Refused(told, "record that in bf16, or leave the option out")
    if spec.get("fuse_qkv") and not wanted.get("fuse_qkv"):
        raise Refused(f"{run.path} was recorded with --fuse-qkv, and the plan is for none", "plan with --fuse-qkv")
    if wanted.get("fuse_qkv") and not spec.get("fuse_qkv"):
        told = f"{run.path} was recorded without --fuse-qkv, and the plan is for it"
        raise Refused(told, "record bf16 with --fuse-qkv, or leave the option out")
    environment = run.manifest.environment
    ceilings = usable(environment.get("ceilings") or {})
    if BASE not in ceilings:
        raise Refused(f"{run.path} holds no measured ceilings of its GPU", "record it with this diffuscope, on a GPU")
    tuned, table = ({}, None) if wanted.get("tuned") == "off" else table_entries(environment)
    kernels = environment.get("ceiling_kernels") or {}
    fused = wanted.get("compile") != "none"
    rates = Rates(ceilings=ceilings, ceiling_kernels=kernels, tuned=tuned, fused=fused)
    return rates, table.name if table and rates.tuned else None


def _known(scheme: str, rates: Rates) -> bool:
    return scheme == LEFT or (scheme in SQNR_DB and PRODUCTS.get(scheme, BASE) in rates.ceilings)


def _product(row: dict[str, Any]) -> Key:
    return row["rows"], row["in_features"], row["out_features"]


def _assumed(material: dict[str, Any], rest: Rest, target: Target, table: str | None) -> list[str]:
    """In words, what is not measured in the run."""
    schemes = set(material["schemes"])
    told = ["a product comes as near to its dtype's ceiling as the bf16 one does", "SQNR of one Linear by its number formats"]
    if target.fuses:
        told.append("compiled elementwise kernels move the bytes that must cross products, at the copy bandwidth")
    if not target.compiles:
        passes = f"{EAGER_QUANTIZING:g} times the bytes of a fused kernel to quantize, {EAGER_UNPACKING:g} to unpack"
        told.append(f"an eager scheme quantizes in a kernel an operator: {passes}")
    if rest.share is not None:
        told.append("at the power limit tensor cores slow down as their share of a step grows (others: 0.3 of their power)")
        told += [] if rest.told else ["the steps were at that limit: the run's sample of its power came after a long decoding"]
    sparse = sorted(schemes & set(DENSE_TWIN))
    told += [f"a 2:4 product of {name} runs at {SPARSE_GAIN[name][0]} of the fp8 ceiling" for name in sparse]
    told.append(f"the host needs {rest.launch_us.us:.0f} us a kernel, which is less than the trace shows by what recording costs")
    told += ["a kept cuSPARSELt plan costs the host little more than a launch"] if SPARSE_INT8 in schemes else []
    if TUNED_SCHEME in schemes:
        source = f"tuned kernels, as timed in {table}" if table else "torch._int_mm: no tuned kernel is known for this GPU"
        told.append(f"{TUNED_SCHEME}'s products: {source}")
    return told
