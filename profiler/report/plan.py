"""A plan as it is written, printed and given as JSON: one mapping for all three."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from profiler.core.errors import UnreadableInput
from profiler.core.plan_file import KIND, SCHEMA
from profiler.core.units import format_size
from profiler.metrics.plan import LEFT, PlanResult, Predicted, choose, fqn_to_config
from profiler.metrics.plan_whole import MIXED, fastest, finalists, uncompared, unmeasured
from profiler.report.plan_whole import last_word, whole_steps_table
from profiler.report.render import MAX_WIDTH, MIN_WIDTH, number, percent, table

if TYPE_CHECKING:
    from profiler.metrics.plan_prices import Predictor

Measure = Callable[[dict[str, dict[str, str]]], dict[str, Any]]
_MODEL = (
    "times of the Linears add up, bytes add up, and so do the noise powers of their outputs, each times the gain of its kind; "
    "random data and, without --weights, random weights"
)


def make_plan(
    material: dict[str, Any],
    max_bytes: int | None,
    min_sqnr_db: float | None,
    run: Path | None,
    measure: Measure | None = None,
    keep: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """The content of a plan's file.

    Args:
        material: what the planning process gathered.
        run: a bf16 recording to take the times from; None where the material holds measured ones.
        measure: measures whole steps of assignments (name -> module -> scheme) in turn; the fastest of them is then the plan.
        keep: given the plan of single Linears before whole steps are measured, which may be ended at any moment.

    Raises:
        Refused: no plan keeps the budget, or the run is none to predict from.
    """
    if run is None:
        return _measured(material, max_bytes, min_sqnr_db, measure, keep)
    # What is measured here is planned where only recording is installed: tables of traces are needed for a run alone.
    from profiler.metrics.plan_prices import Predictor
    from profiler.tables.run import Run

    predictor = Predictor(Run.open(run), material)
    return _content(predictor.material, choose(predictor.material, max_bytes, min_sqnr_db), predictor)


def _measured(
    material: dict[str, Any],
    max_bytes: int | None,
    min_sqnr_db: float | None,
    measure: Measure | None,
    keep: Callable[[dict[str, Any]], None] | None,
) -> dict[str, Any]:
    result = choose(material, max_bytes, min_sqnr_db)
    if measure is None:
        return _content(material, result, None)
    why = uncompared(material, result)
    if why:
        return _content(material | {"notes": [*material.get("notes", []), why]}, result, None)
    compared = finalists(material, result)
    if keep is not None:
        keep(_content(material, result, None) | {"whole_steps": unmeasured(compared)})
    measured = measure(compared)
    taken = fastest(measured) or MIXED
    if taken != MIXED:
        result = choose(material, max_bytes, min_sqnr_db, alone=taken)
    return _content(material, result, None) | {"whole_steps": measured | {"taken": taken}}


def _content(material: dict[str, Any], result: PlanResult, predictor: Predictor | None) -> dict[str, Any]:
    config, missing = fqn_to_config(result.layers, material["configs"])
    bound = result.bound_us / result.plan.us if result.plan.us else 1.0
    return {
        "schema": SCHEMA,
        "kind": KIND,
        "model": material["model"],
        "spec": material["spec"],
        "device": material["device"],
        "environment": material.get("environment"),
        "source": predictor.basis if predictor else {"measured": len(material["costs"])},
        "budget": result.budget,
        "error_model": _MODEL,
        "gains": {"from": result.gains, "by_kind": material.get("gains")},
        "predicted": _predicted(result.plan, list(result.layers.values()), predictor)
        | {"exact": result.exact, "within": 0.0 if result.exact else 1 - bound},
        "singles": _singles(material, result, predictor),
        "best_single": result.best_single,
        "whole_steps": None,
        "groups": result.groups,
        "lacking": result.lacking,
        "notes": material.get("notes", []),
        "layers": result.layers,
        "fqn_to_config": config,
        "not_in_torchao": missing,
        "costs": material["costs"],
    }


def _singles(material: dict[str, Any], result: PlanResult, predictor: Predictor | None) -> dict[str, Any]:
    """Each scheme alone, and once more where it may run in another way: int8dq with tuned kernels and without."""
    found = {name: _predicted(each, material["outcomes"][name], predictor) for name, each in result.singles.items()}
    for variant, name in (predictor.variants if predictor else {}).items():
        if predictor and name in found:
            outcome = material["outcomes"][name]
            us = predictor.linears_us(outcome, variant) or result.singles[name].us
            found[variant] = _predicted(replace(result.singles[name], us=us), outcome, predictor, variant)
    return found


def _predicted(found: Predicted, schemes: list[str], predictor: Predictor | None, variant: str = "") -> dict[str, Any]:
    """As JSON: no number is infinite there."""
    said = asdict(found) | {"sqnr_db": None if math.isinf(found.sqnr_db) else found.sqnr_db}
    step = predictor.step(schemes, variant) if predictor else None
    if step is None:
        return said
    within = {"step_us": step.us, "step_low_us": step.low_us, "step_high_us": step.high_us}
    shapes = {name: {"us": us, "calls": calls} for name, (us, calls) in step.shapes.items()}
    return said | within | {"parts_us": step.parts, "clock": step.clock, "shapes": shapes}


def plan_data(path: Path) -> dict[str, Any]:
    """The content of a plan's file that `diffuscope plan` wrote.

    Raises:
        UnreadableInput: no plan, or one without predictions (written by hand, or torchao's own form).
    """
    from profiler.tables.plan import read_predictions

    read_predictions(path)
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    try:
        plan_text(data)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UnreadableInput(
            f"{path} cannot be shown: {type(error).__name__}: {error}", "the file was changed; plan again"
        ) from None
    return data


def plan_text(data: dict[str, Any], width: int = MAX_WIDTH) -> str:
    """The text of `make_plan`'s result, at most `width` columns (80 to 120)."""
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    whole = [whole_steps_table(data["whole_steps"], width)] if data.get("whole_steps") else []
    parts = [_head(data, width), _layers(data, width), _alone(data, width), *whole, "\n".join(_notes(data, width))]
    return "\n\n".join(parts)


def _head(data: dict[str, Any], width: int) -> str:
    source, hardware = data["source"], data["device"]
    device = hardware["name"] if hardware["device"] != "cpu" and hardware["name"] else f"a {hardware['device'].upper()}"
    how = f"predicted from {source['run']}" if "run" in source else f"{source['measured']} Linears measured here"
    counts: dict[str, int] = {}
    for scheme in data["layers"].values():
        counts[scheme] = counts.get(scheme, 0) + 1
    told = ", ".join(f"{count} {name}" for name, count in sorted(counts.items(), key=lambda each: -each[1]))
    budget = data["budget"]
    kept = budget.get("rounding_bytes")
    rounding = f" ({format_size(kept)} of it for what the allocator rounds up)" if kept else ""
    limits = [f"at most {format_size(budget['max_bytes'])}{rounding}"] if budget["max_bytes"] is not None else []
    limits += [f"at least {budget['min_sqnr_db']:g} dB"] if budget["min_sqnr_db"] is not None else []
    lines = (f"{data['model']} on {device}  [{how}]", " and ".join(limits) or "no budget", f"Linears: {told}")
    return "\n".join(line for each in lines for line in textwrap.wrap(each, width, subsequent_indent="  "))


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
    whole = "step_us" in data["predicted"]
    named = {"this plan": data["predicted"]} | dict(sorted(data["singles"].items(), key=lambda each: _time(each[1])))
    rows = []
    for name, each in named.items():
        sqnr = "-" if each["sqnr_db"] is None else f"{each['sqnr_db']:.1f}"
        rows.append([name, *_times(each, whole), format_size(each["model_bytes"]), sqnr, "yes" if each["fits"] else "no"])
    headers = ["predicted", "Linears ms", *(["step ms", "from to"] if whole else []), "model memory", "SQNR dB", "within"]
    return table(headers, rows, width)


def _time(said: dict[str, Any]) -> float:
    return float(said.get("step_us", said["us"]))


def _times(said: dict[str, Any], whole: bool) -> list[str]:
    """Linears at the clock that the step would have; the step with its range."""
    if not whole:
        return [number(said["us"] / 1e3, 2)]
    if "parts_us" not in said:  # predicted by an older diffuscope
        return [number(said["us"] / 1e3, 2), number(said["step_us"] / 1e3, 1), "-"]
    linears = said["parts_us"]["products"] + said["parts_us"]["quantizing"]
    within = f"{number(said['step_low_us'] / 1e3, 0)} to {number(said['step_high_us'] / 1e3, 0)}"
    return [number(linears / 1e3, 2), number(said["step_us"] / 1e3, 1), within]


def _notes(data: dict[str, Any], width: int) -> list[str]:
    predicted, source = data["predicted"], data["source"]
    proof = "no plan within the budget is faster" if predicted["exact"] else _gap(predicted["within"])
    gains = (
        "measured here, kind by kind" if data["gains"]["from"] == "measured" else "not measured: one for all, right to about 3 dB"
    )
    lines = last_word(data["whole_steps"], width) if data.get("whole_steps") else []
    lines += [f"by this model {proof}", *textwrap.wrap(f"the model: {data['error_model']}", width), f"gains: {gains}"]
    lines += [line for each in data["notes"] for line in textwrap.wrap(each, width)]
    if source.get("assumed"):
        lines += ["assumed, not measured in the run:", *(line for each in source["assumed"] for line in _item(each, width))]
    if "rest" in source:
        lines += textwrap.wrap(_beside(source), width)
    if source.get("estimated"):
        lines.append(f"not in the run, estimated: {', '.join(source['estimated'])}")
    lines += [f"{name} was left out: {why}" for name, why in data["lacking"].items() if name != LEFT]
    return lines


def _item(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="- ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _beside(source: dict[str, Any]) -> str:
    """What a step takes beside its Linears, in the run and in the prediction."""
    attention, elementwise, idle = (source["rest"][name]["us"] / 1e3 for name in ("attention", "elementwise", "idle"))
    told = f"beside its Linears a step of the run takes {number(source['rest_us'] / 1e3, 1)} ms; predicted, at the run's clock: "
    told += f"attention {number(attention, 1)}, elementwise kernels {number(elementwise, 1)}, idle {number(idle, 1)} ms"
    limit = "" if source.get("power_limited") else "; the run's power was not at its limit, and no clock is predicted"
    return told + limit


def _gap(share: float) -> str:
    # What is less than can be shown is rounded up: a bound of 0.00 % would be a proof.
    return f"no plan within the budget is more than {max(share, 1e-4):.2%} faster"
