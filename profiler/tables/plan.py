"""What a plan's file predicts: time, bytes and SQNR of each scheme alone and of the plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from profiler.core.errors import UnreadableInput
from profiler.core.plan_file import KIND, SCHEMA, read_plan

BESIDE = "plan.json"
"""The name under which a plan in a sweep's folder is found."""

_HINT = "make one with `diffuscope plan MODEL --from RUN -o plan.json`"


class ShapePrediction(msgspec.Struct, frozen=True, kw_only=True):
    """The products of one shape in a step."""

    us: float
    calls: int


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One assignment of schemes: us of its Linears in a step, model memory, SQNR of the transformer's output (None: exact).

    `step_us` is the whole step, within `step_low_us` to `step_high_us`, summed of `parts_us`, its products by
    shape (MxKxN) in `shapes`; None or empty where the plan was measured layer by layer and knows no step.
    """

    us: float
    model_bytes: int
    sqnr_db: float | None = None
    step_us: float | None = None
    step_low_us: float | None = None
    step_high_us: float | None = None
    parts_us: dict[str, float] = {}
    shapes: dict[str, ShapePrediction] = {}


class PlanTables(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's predictions, what they were made for, and from what; `layers` is what each Linear gets under the plan."""

    schema: int
    kind: str
    model: str
    spec: dict[str, Any]
    layers: dict[str, Any]
    predicted: Prediction
    singles: dict[str, Prediction]
    source: dict[str, Any] = {}
    device: dict[str, Any] = {}


def read_predictions(path: Path) -> PlanTables:
    """The predictions of a plan that `diffuscope plan` wrote.

    Raises:
        UnreadableInput: no plan, or one without predictions: written by hand, or torchao's own form.
    """
    read_plan(str(path))
    try:
        found = msgspec.json.decode(path.read_bytes(), type=PlanTables)
    except (msgspec.MsgspecError, ValueError, OSError, RecursionError) as error:
        raise UnreadableInput(f"{path} predicts nothing: {error}", _HINT) from None
    if (found.kind, found.schema) != (KIND, SCHEMA):
        raise UnreadableInput(f"{path} is a plan of schema {found.schema}, kind {found.kind!r}", _HINT)
    return found
