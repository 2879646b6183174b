"""Choosing among the rows of a preset: what is asked of them is had, or wrong usage, and never dropped without a word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from profiler.core.errors import UsageError
from profiler.core.plan_file import names_plan
from profiler.core.spec import RunSpec
from profiler.sweep.presets import AUTOQUANT


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user asks of a preset's rows: of each axis only these values, all where there are none."""

    schemes: Sequence[str] = ()
    compile: Sequence[str] = ()
    batch: Sequence[int] = ()
    switches: Sequence[str] = ()


def choose(preset: str, rows: list[RunSpec], asked: Asked) -> list[RunSpec]:
    """The rows that have the schemes and batches asked for.

    Args:
        preset: its name, for errors.
        rows: as the preset makes them of the compile modes asked for.

    Raises:
        UsageError: a value that no row has beside the others asked for, or a switch that the rows are not tried with off and on.
    """
    axes: dict[str, Sequence[object]] = {"scheme": asked.schemes, "batch": asked.batch}
    found = _having(rows, axes)
    for field, option, values in (
        ("scheme", "--schemes", asked.schemes),
        ("batch", "--batch", asked.batch),
        ("compile", "--compile", asked.compile),
    ):
        missing = next((each for each in values if each not in {getattr(row, field) for row in found}), None)
        if missing is not None:
            others = _having(rows, {name: each for name, each in axes.items() if name != field})
            raise _no_row(preset, option, missing, list(dict.fromkeys(str(getattr(row, field)) for row in others)))
    for name in asked.switches:
        _refuse_switch(preset, found, name)
    return found


def _having(rows: list[RunSpec], axes: dict[str, Sequence[object]]) -> list[RunSpec]:
    return [each for each in rows if all(not values or getattr(each, name) in values for name, values in axes.items())]


def _no_row(preset: str, option: str, value: object, there: list[str]) -> UsageError:
    what = f"no row of --preset {preset} has {option} {value} and what else was asked for"
    if option == "--schemes" and names_plan(str(value)) and str(value) not in there:
        return UsageError(what, f"a plan stands for rows of {AUTOQUANT}: leave it out, or sweep it without the preset")
    return UsageError(what, f"there are: {', '.join(there)}" if there else "ask for less, or sweep without the preset")


def _refuse_switch(preset: str, rows: list[RunSpec], name: str) -> None:
    """A row of the seed has an option, or has it not: a switch tries both, and no row is the other one."""
    values: list[dict[str, Any]] = [{name: False}, {name: True}]
    if not {replace(each, **value) for each in rows for value in values} <= set(rows):
        option = f"--{name.replace('_', '-')}"
        what = f"{option} tries each cell without it and with it, and not all rows of --preset {preset} are there twice"
        raise UsageError(what, "leave it out: the rows have their options; or sweep without the preset")
