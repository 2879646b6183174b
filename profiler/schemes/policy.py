"""The layer policy: which scheme each Linear gets, and why. Pure; no torch."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.schemes.base import SCHEMES, LinearInfo, LinearPlan, Scheme

LEFT = "left"


def plan_linears(scheme: Scheme, linears: Iterable[LinearInfo], *, compiling: bool) -> list[LinearPlan]:
    """Decide for every Linear, by the scheme or by what a plan in its place says about the Linear's name.

    A Linear that a dynamic scheme cannot run, or that lies outside every compiled region of a compiled run (where
    its quantization would be several eager kernels and a host sync), gets the weight-only sibling; one that neither
    can run is left in the base dtype.

    Args:
        compiling: whether anything is compiled; without it a dynamic scheme runs eagerly everywhere, as asked.
    """
    return [_plan_named(scheme, linear, compiling) for linear in linears]


def _plan_named(scheme: Scheme, linear: LinearInfo, compiling: bool) -> LinearPlan:
    own = scheme.of(linear.module)
    return _plan(own, linear, compiling) if own else _as(linear, LEFT, scheme.left_because(linear.module))


def _plan(scheme: Scheme, linear: LinearInfo, compiling: bool) -> LinearPlan:
    if not scheme.quantizes:
        return _as(linear, LEFT, f"{scheme.name} quantizes nothing")
    against = _against(scheme, linear, compiling)
    if against is None:
        return _as(linear, scheme.name, "")
    if scheme.weight_only is None:
        return _as(linear, LEFT, against)
    sibling = SCHEMES.get(scheme.weight_only)
    also_against = _against(sibling, linear, compiling)
    if also_against is None:
        return _as(linear, sibling.name, against)
    return _as(linear, LEFT, f"{against}; {also_against}")


def _against(scheme: Scheme, linear: LinearInfo, compiling: bool) -> str | None:
    for size in (linear.in_features, linear.out_features):
        if size % scheme.multiple_of:
            return f"{scheme.name} needs dimensions in multiples of {scheme.multiple_of}, this one has {size}"
    if scheme.dynamic:
        against = _against_dynamic(scheme, linear, compiling)
        if against:
            return against
    return scheme.accepts(linear)


def _against_dynamic(scheme: Scheme, linear: LinearInfo, compiling: bool) -> str | None:
    if compiling and not linear.compiled:
        return "outside every compiled region: activations would be quantized by eager kernels"
    if linear.rows is None:
        return f"rows (M) not known or never called, and {scheme.name} needs at least {scheme.min_rows}"
    if linear.rows < scheme.min_rows:
        return f"M = {linear.rows}, and {scheme.name} needs at least {scheme.min_rows}"
    return None


def _as(linear: LinearInfo, scheme: str, reason: str) -> LinearPlan:
    return LinearPlan(linear.module, linear.in_features, linear.out_features, linear.rows, scheme, reason)
