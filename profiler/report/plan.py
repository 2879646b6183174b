"""A plan as it is written, printed and given as JSON: one mapping for all three."""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.core.plan_file import KIND, SCHEMA
from profiler.core.units import format_size
from profiler.metrics.plan import LEFT, PlanResult, Predicted, choose, fqn_to_config
from profiler.metrics.plan_prices import priced
from profiler.report.render import MAX_WIDTH, MIN_WIDTH, number, percent, table
from profiler.tables.plan import read_predictions
from profiler.tables.run import Run

_MODEL = (
    "times of the Linears add up, bytes add up, and so do the noise powers of their outputs, each times the gain of its kind; "
    "random data and, without --weights, random weights"
)


def make_plan(material: dict[str, Any], max_bytes: int | None, min_sqnr_db: float | None, run: Path | None) -> dict[str, Any]:
    """The content of a plan's file.

    Args:
        material: what the planning process gathered.
        run: a bf16 recording to take the times from; None where the material holds measured ones.

    Raises:
        Refused: no plan keeps the budget, or the run is none to predict from.
    """
    basis = None
    if run is not None:
        material, basis = priced(Run.open(run), material)
    return _content(material, choose(material, max_bytes, min_sqnr_db), basis)


def _content(material: dict[str, Any], result: PlanResult, basis: dict[str, Any] | None) -> dict[str, Any]:
    config, missing = fqn_to_config(result.layers, material["configs"])
    bound = result.bound_us / result.plan.us if result.plan.us else 1.0
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "model": material["model"],
        "spec": material["spec"],
        "device": material["device"],
        "environment": material.get("environment"),
        "source": basis or {"measured": len(material["costs"])},
        "budget": result.budget,
        "error_model": _MODEL,
        "gains": {"from": result.gains, "by_kind": material.get("gains")},
        "predicted": _predicted(result.plan, basis) | {"exact": result.exact, "within": 0.0 if result.exact else 1 - bound},
        "singles": {name: _predicted(each, basis) for name, each in result.singles.items()},
        "best_single": result.best_single,
        "groups": result.groups,
        "lacking": result.lacking,
        "notes": material.get("notes", []),
        "layers": result.layers,
        "fqn_to_config": config,
        "not_in_torchao": missing,
        "costs": material["costs"],
    }


def _predicted(found: Predicted, basis: dict[str, Any] | None) -> dict[str, Any]:
    """As JSON: no number is infinite there."""
    sqnr = None if math.isinf(found.sqnr_db) else found.sqnr_db
    step = {} if basis is None else {"step_us": basis["rest_us"] + found.us}
    return asdict(found) | {"sqnr_db": sqnr} | step


def plan_data(path: Path) -> dict[str, Any]:
    """The content of a plan's file that `diffuscope plan` wrote.

    Raises:
        UnreadableInput: no plan, or one without predictions (written by hand, or torchao's own form).
    """
    read_predictions(path)
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    try:
        plan_text(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UnreadableInput(
            f"{path} cannot be shown: {type(error).__name__}: {error}", "the file was changed; plan again"
        ) from None
    return data


def plan_text(data: dict[str, Any], width: int = MAX_WIDTH) -> str:
    """The text of `make_plan`'s result, at most `width` columns (80 to 120)."""
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    return "\n\n".join([_head(data), _layers(data, width), _alone(data, width), "\n".join(_notes(data, width))])


def _head(data: dict[str, Any]) -> str:
    source, hardware = data["source"], data["device"]
    device = hardware["name"] if hardware["device"] != "cpu" and hardware["name"] else f"a {hardware['device'].upper()}"
    how = f"predicted from {source['run']}" if "run" in source else f"{source['measured']} Linears measured here"
    counts: dict[str, int] = {}
    for scheme in data["layers"].values():
        counts[scheme] = counts.get(scheme, 0) + 1
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda each: -each[1]))
    budget = data["budget"]
    limits = [f"at most {format_size(budget['max_bytes'])}"] if budget["max_bytes"] is not None else []
    limits += [f"at least {budget['min_sqnr_db']:g} dB"] if budget["min_sqnr_db"] is not None else []
    return f"{data['model']} on {device}  [{how}]\n{' and '.join(limits) or 'no budget'}\nLinears: {told}"


def _layers(data: dict[str, Any], width: int) -> str:
    """One row a shape and what its layers got; their kinds are in the JSON."""
    merged: dict[tuple[str, str], list[float]] = {}
    for each in data["groups"]:
        shape = "never called" if each["rows"] is None else f"{each['rows']}x{each['in_features']}x{each['out_features']}"
        key = (shape, " or ".join(each["schemes"]))
        numbers = (each["count"], each["us"], each["us_left"] or 0.0, each["noise_share"])
        merged[key] = [sum(pair) for pair in zip(merged.get(key, [0.0] * 4), numbers, strict=True)]
    rows = [
        [shape, schemes, str(int(count)), number(us / 1e3, 3), number(left / 1e3, 3), percent(noise)]
        for (shape, schemes), (count, us, left, noise) in sorted(merged.items(), key=lambda each: -each[1][1])
    ]
    return table(["M x K x N", "scheme", "layers", "ms", "bf16 ms", "noise %"], rows, width, left=(0, 1))


def _alone(data: dict[str, Any], width: int) -> str:
    named = {"this plan": data["predicted"]} | dict(sorted(data["singles"].items(), key=lambda each: each[1]["us"]))
    whole = "step_us" in data["predicted"]
    rows = []
    for name, each in named.items():
        sqnr = "-" if each["sqnr_db"] is None else f"{each['sqnr_db']:.1f}"
        step = [number(each["step_us"] / 1e3, 2)] if whole else []
        rows.append(
            [name, number(each["us"] / 1e3, 2), *step, format_size(each["model_bytes"]), sqnr, "yes" if each["fits"] else "no"]
        )
    headers = ["predicted", "Linears ms", *(["step ms"] if whole else []), "model memory", "SQNR dB", "within"]
    return table(headers, rows, width)


def _notes(data: dict[str, Any], width: int) -> list[str]:
    predicted, source = data["predicted"], data["source"]
    proof = "no plan within the budget is faster" if predicted["exact"] else _gap(predicted["within"])
    gains = (
        "measured here, kind by kind" if data["gains"]["from"] == "measured" else "not measured: one for all, right to about 3 dB"
    )
    lines = [f"by this model {proof}", *textwrap.wrap(f"the model: {data['error_model']}", width), f"gains: {gains}"]
    lines += data["notes"]
    lines += [f"{each} is assumed, not measured" for each in source.get("assumed", [])]
    if source.get("estimated"):
        lines.append(f"not in the run, estimated: {', '.join(source['estimated'])}")
    lines += [f"{name} was left out: {why}" for name, why in data["lacking"].items() if name != LEFT]
    return lines


def _gap(share: float) -> str:
    return f"no plan within the budget is more than {share:.2%} faster"
