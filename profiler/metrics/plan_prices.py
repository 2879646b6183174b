"""What each Linear would cost under each scheme, from one bf16 recording: before anything is quantized, and without its GPU.

The time of a shape in bf16 is measured. A product in another dtype is taken to come as near to that dtype's measured ceiling as
the bf16 product comes to its own; quantizing a Linear's input, and unpacking a weight, are priced as the bytes that they move.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from profiler.core.errors import Refused
from profiler.core.scheme_bytes import DENSE_TWIN, weight_bytes
from profiler.core.scheme_noise import SQNR_DB
from profiler.metrics.floor_calls import call_of
from profiler.metrics.floor_events import window_events
from profiler.metrics.floor_prices import COPY_GBS, usable
from profiler.metrics.ledger import ledger
from profiler.metrics.plan import LEFT, shapes_of
from profiler.metrics.windows import STEP
from profiler.tables.run import Run

# The ceiling that a product of quantized activations comes near; other schemes multiply in bf16.
_PRODUCTS = {"fp8dq": "fp8_tflops", "fp8dqrow": "fp8_tflops", "int8dq": "int8_tops"}
_PRODUCTS |= {sparse: _PRODUCTS[dense] for sparse, dense in DENSE_TWIN.items()}
# Rounds its activations and multiplies in bf16 all the same.
_ROUNDING = ("int4dq",)
_BASE = "bf16_tflops"
# Nobody measured a ceiling of 2:4 products: assumed, between the 1 of no gain and the 2 of the data sheet.
SPARSE_GAIN = 1.5
# Below so many rows a Linear is bound by reading its weight once.
_FEW_ROWS = 16
_OPERATORS = {"aten::mm": 0, "aten::addmm": 1}

Key = tuple[int, int, int]
"""M, K, N."""


def priced(run: Run, material: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The material with its costs filled in from a run, and what they rest on.

    The second: `run`, `step_us` (a step of the run, untraced), `linear_us` (its Linears), `rest_us`, `peak_over_model_bytes`,
    `measured` (shapes), `estimated` (shapes that the run does not hold), `assumed` (in words).

    Raises:
        Refused: the run is no bf16 recording of this model at this size on a GPU.
    """
    ceilings = _ceilings(run, material)
    found = ledger(run)
    if found.source != "gpu" or found.window != STEP:
        raise Refused(
            f"{run.path} holds no denoising steps of a GPU", "record one there: diffuscope record MODEL --compile regional"
        )
    count = max(1, found.windows.height)
    measured = _measured(window_events(run.trace(), found.windows), count)
    shapes, costs, missing = shapes_of(material["layers"]), [], []
    for shape in shapes:
        key = (shape["rows"], shape["in_features"], shape["out_features"])
        base = measured.get(key)
        if base is None:
            missing.append("x".join(map(str, key)))
            base = _ideal(key, 2.0, _BASE, ceilings) * 1.25
        costs += [_cost(shape, key, scheme, base, ceilings) for scheme in shape["choices"] if _known(scheme, ceilings)]
    calls = _calls(material)
    linear = sum(each["us"] * calls[_key(each)] for each in costs if each["scheme"] == LEFT)
    step = float(found.rows["priced_ns"].sum()) / 1e3 / count
    basis = {"run": str(run.path), "step_us": step, "linear_us": linear, "rest_us": max(0.0, step - linear)}
    basis |= {"measured": len(shapes) - len(missing), "estimated": missing, "assumed": _assumed(material)}
    return material | {"costs": costs}, basis


def _ceilings(run: Run, material: dict[str, Any]) -> dict[str, float]:
    spec, wanted = run.manifest.spec, material["spec"]
    if spec.get("scheme") != "bf16":
        raise Refused(f"{run.path} is of scheme {spec.get('scheme')}", "predictions start from a bf16 recording")
    for name in ("model", "batch", "height", "width", "frames", "fuse_qkv"):
        if spec.get(name) != wanted.get(name):
            raise Refused(
                f"{run.path} is of {name} {spec.get(name)}, and the plan is for {wanted.get(name)}",
                "record that, or leave the option out",
            )
    found = usable(run.manifest.environment.get("ceilings") or {})
    if _BASE not in found:
        raise Refused(f"{run.path} holds no measured ceilings of its GPU", "record it with this diffuscope, on a GPU")
    return found


def _measured(events: pl.DataFrame, windows: int) -> dict[Key, float]:
    """Mean us of a call by shape: all kernels of its operator."""
    products = events.filter(pl.col("op").is_in(list(_OPERATORS)))
    texts = ("input_dims", "input_types", "input_strides", "concrete_inputs")
    sums = products.group_by("op", *texts).agg(pl.col("own_ns").sum(), pl.col("call_id").n_unique().alias("calls"))
    totals: dict[Key, tuple[float, int]] = {}
    for row in sums.iter_rows(named=True):
        call = call_of(row["op"], "", "", tuple(row[each] for each in texts))
        tensors = call.arguments[_OPERATORS[row["op"]] :][:2] if call else ()
        if len(tensors) < 2 or not all(each and len(each.shape) == 2 and each.dtype == "c10::BFloat16" for each in tensors):
            continue
        (m, k), (_, n) = tensors[0].shape, tensors[1].shape  # type: ignore[union-attr]
        before = totals.get((m, k, n), (0.0, 0))
        totals[m, k, n] = (before[0] + row["own_ns"] / 1e3, before[1] + row["calls"])
    return {key: us / calls for key, (us, calls) in totals.items()}


def _known(scheme: str, ceilings: Mapping[str, float]) -> bool:
    return scheme == LEFT or (scheme in SQNR_DB and _PRODUCTS.get(scheme, _BASE) in ceilings)


def _cost(shape: dict[str, Any], key: Key, scheme: str, base_us: float, ceilings: Mapping[str, float]) -> dict[str, Any]:
    us = base_us if scheme == LEFT else _us(key, scheme, base_us, ceilings)
    names = ("rows", "in_features", "out_features", "compiled")
    return {name: shape[name] for name in names} | {"scheme": scheme, "us": us, "sqnr_db": SQNR_DB.get(scheme)}


def _us(key: Key, scheme: str, base_us: float, ceilings: Mapping[str, float]) -> float:
    rows, inputs, outputs = key
    size = weight_bytes(scheme, outputs, inputs)
    assert size is not None  # every scheme with a known noise has known bytes
    stored = size.total / (inputs * outputs)
    lag = max(1.0, base_us / _ideal(key, 2.0, _BASE, ceilings))
    product = _PRODUCTS.get(scheme)
    if product is None:
        rounding = _bytes_us(4 * rows * inputs, ceilings) if scheme in _ROUNDING else 0.0
        if rows <= _FEW_ROWS:
            return lag * _ideal(key, stored, _BASE, ceilings) + rounding
        return base_us + _bytes_us((stored + 2) * inputs * outputs, ceilings) + rounding
    sparse = SPARSE_GAIN if scheme in DENSE_TWIN else 1.0
    quantizing = _bytes_us(3 * rows * inputs, ceilings)
    return lag * _ideal(key, stored, product, ceilings, sparse, 1) + quantizing


def _ideal(
    key: Key, weight_item: float, product: str, ceilings: Mapping[str, float], gain: float = 1.0, input_item: int = 2
) -> float:
    """The least time of a product in us: its FLOPs at the ceiling, or its bytes at the copy bandwidth."""
    rows, inputs, outputs = key
    moved = rows * inputs * input_item + inputs * outputs * weight_item + 2 * rows * outputs
    return max(2 * rows * inputs * outputs / (ceilings[product] * gain) / 1e6, _bytes_us(moved, ceilings))


def _bytes_us(size: float, ceilings: Mapping[str, float]) -> float:
    return size / ceilings[COPY_GBS] / 1e3


def _calls(material: dict[str, Any]) -> dict[tuple[Any, ...], int]:
    calls: dict[tuple[Any, ...], int] = {}
    for layer in material["layers"]:
        calls[_key(layer)] = calls.get(_key(layer), 0) + layer["calls"]
    return calls


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("rows", "in_features", "out_features", "compiled"))


def _assumed(material: dict[str, Any]) -> list[str]:
    told = ["a product comes as near to its dtype's ceiling as the bf16 one does", "SQNR of one Linear by its number formats"]
    told += [f"a 2:4 product is {SPARSE_GAIN} times as fast as a dense one"] if set(material["schemes"]) & set(DENSE_TWIN) else []
    return told
