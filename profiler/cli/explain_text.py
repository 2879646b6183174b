"""The answer of `explain` as text: a table of parts, then one line for each distinct cause."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def render(answer: dict[str, Any]) -> str:
    """The whole answer for people."""
    spec, parts = answer["spec"], answer["parts"]
    lines = [f"{spec['model']} at {_asked(spec)}", "", *_table(parts)]
    for part in parts:
        notes = list(_notes(part, answer["vary"]))
        lines += ["", part["name"], *(f"  {each}" for each in notes)] if notes else []
    if not any(part["breaks"] or part.get("error") for part in parts):
        lines += ["", "no graph break"]
    return "\n".join(lines)


def _asked(spec: dict[str, Any]) -> str:
    frames = f", {spec['frames']} frames" if spec["frames"] else ""
    return f"{spec['height']}x{spec['width']}{frames}, batch {spec['batch']}"


def _table(parts: list[dict[str, Any]]) -> Iterator[str]:
    yield f"{'part':<18}{'graphs':>8}{'breaks':>8}{'ops':>8}{'guards':>8}{'device':>8}{'seconds':>9}"
    for each in parts:
        counts = f"{each['graphs']:>8}{len(each['breaks']):>8}{each['op_count']:>8}{each['guards']:>8}"
        yield f"{each['name']:<18}{counts}{each['device']:>8}{each['seconds']:>9.1f}"


def _notes(part: dict[str, Any], varied: dict[str, list[str]]) -> Iterator[str]:
    if part["depth"] != "full":
        yield f"ran on the CPU, because it failed on the meta device ({part['meta_error']})"
        yield f"depth: {part['depth']}; counts are of this depth"
    for each in part["breaks"]:
        yield f"{each['id'] or 'break'} x{each['count']}  {short_path(each['file'])}:{each['line']}  {each['reason']}"
        if each["hint"]:
            yield f"    hint: {each['hint']}"
    yield from _recompiles(part, varied)
    if part.get("error"):
        yield f"failed: {_first_line(part['error'])}"


def _recompiles(part: dict[str, Any], varied: dict[str, list[str]]) -> Iterator[str]:
    by_dimension = {key: list(rows) for key, rows in itertools.groupby(part["recompiles"], key=lambda each: each["vary"])}
    for each in by_dimension.pop("call", []):
        yield f"recompiles within one call, {_function(each)}: {_first_line(each['guard'])}"
    for dimension, values in varied.items():
        rows = by_dimension.get(dimension, [])
        # One recompile is that of the part itself; its outermost function is often only a library's decorator.
        yield from (f"{dimension}: {_recompile(each, name_function=len(rows) > 1)}" for each in rows)
        if not rows and not part.get("error"):
            yield f"{dimension}: no recompile ({' -> '.join(values)})"


def _recompile(each: dict[str, Any], *, name_function: bool) -> str:
    if each.get("error"):
        return f"failed: {_first_line(each['error'])}"
    again = each["third_guard"]
    third = f"{each['third']} recompiles too: {_first_line(again)}" if again else f"{each['third']} does not recompile again"
    function = f" {_function(each)}" if name_function else ""
    return f"{each['from']} -> {each['to']} recompiles{function}: {_first_line(each['guard'])}; {third}"


def _function(each: dict[str, Any]) -> str:
    return f"{each['function']} ({short_path(each['file'])}:{each['line']})"


def short_path(path: str) -> str:
    """A file as people look for it: from site-packages on, or relative to the current directory."""
    _, found, tail = path.rpartition("/site-packages/")
    if found:
        return f"site-packages/{tail}"
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _first_line(text: str) -> str:
    return next(iter(text.splitlines()), "")
