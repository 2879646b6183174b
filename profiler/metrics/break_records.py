"""Records of graph breaks grouped into distinct ones: a break is its kind and its place in the user's code.

A break is a record of the log's `breaks` table as a mapping; see `compile_log_schema.BREAKS`.
"""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

from profiler.rundir import layout
from profiler.tables.run import Run

Row = dict[str, Any]
Key = tuple[int, str | None]
# Frames of torch and of the standard library are not where a user would change something.
_NOT_USERS = re.compile(r"(^|/)torch/|^<|(^|/)lib/python3[^/]*/(?!site-packages|dist-packages)")
_FIELD = re.compile(r"\{[^{}]*\}")
_NO_FRAME: Row = {"file": None, "line": None, "function": None, "code": None}


def key_of(row: Row) -> Key:
    """The compile that a row is of."""
    return row["generation"], row["compile_id"]


def distinct(records: list[Row]) -> dict[str, list[Row]]:
    """Records by the name of their break, in the order of their first records.

    A record that only says that a frame is skipped, without a reason of its own, belongs to the break at the same place.
    """
    causes: dict[str, list[Row]] = {}
    by_place: dict[Any, str] = {}
    for record in sorted(records, key=_only_skips):
        place = _innermost(record)
        name = by_place.get(place) if _only_skips(record) else None
        name = name or name_of(record)
        causes.setdefault(name, []).append(record)
        if place is not None:
            by_place.setdefault(place, name)
    return causes


def _only_skips(record: Row) -> bool:
    return bool(record["skips_frame"] and not record["gb_id"])


def _innermost(record: Row) -> tuple[str, int] | None:
    return (record["stack_files"][-1], record["stack_lines"][-1]) if record["stack_files"] else None


def name_of(record: Row) -> str:
    """`GB0124 model.py:13`; with the place inside a library where the user's line is not the innermost."""
    user, innermost = user_frame(record), _innermost(record)
    if innermost is None:
        return f"{record['gb_id'] or record['title']} at an unknown place"
    place = f"{user['file']}:{user['line']}"
    within = f"{innermost[0]}:{innermost[1]}"
    return f"{record['gb_id'] or record['title']} {place}" + ("" if place == within else f" in {within}")


def stack(record: Row) -> list[Row]:
    """The user stack, outermost first: file, line, function, code."""
    names = ("file", "line", "function", "code")
    columns = zip(*(record[f"stack_{each}"] for each in ("files", "lines", "functions", "code")), strict=True)
    return [dict(zip(names, each, strict=True)) for each in columns]


def user_frame(record: Row) -> Row:
    """The innermost frame of the user's, or just the innermost; its fields are None where the record has no stack."""
    frames = stack(record)
    return next((each for each in reversed(frames) if not _NOT_USERS.search(each["file"])), frames[-1] if frames else _NO_FRAME)


def splits(records: list[Row], compiles: list[Row]) -> list[Row]:
    """Compiles that end at the break: their regions stop there."""
    keys = {key_of(each) for each in records if not each["skips_frame"]}
    return [each for each in compiles if key_of(each) in keys]


def rests(records: list[Row], compiles: list[Row]) -> list[Row]:
    """Compiles of the functions that go on after it: any function of its stack may be split at its line."""
    places = {(each["generation"], frame["function"], frame["line"]) for each in records for frame in stack(each)}
    return [each for each in compiles if (each["generation"], each["resumes"], each["resume_line"]) in places]


def holders(records: list[Row], compiles: list[Row]) -> set[Key]:
    """Of the compiles that end at the break, those whose own function holds it.

    Callers that had inlined that function end there too, but do not reach it: they call the function, compiled on its own.
    """
    broken = {key_of(each): each["resumes"] or each["function"] for each in splits(records, compiles)}
    for depth in range(max((len(each["stack_functions"]) for each in records), default=0)):
        at_depth = {function for each in records for function in each["stack_functions"][::-1][depth : depth + 1]}
        found = {key for key, function in broken.items() if function in at_depth}
        if found:
            return found
    return set(broken)


def consequences(records: list[Row], compiles: list[Row]) -> list[Row]:
    """Frames that run eagerly because of it, each function once: generation, compile_id, function, file, line, why."""
    by_key = {key_of(each): each for each in compiles}
    found: dict[Any, Row] = {}
    for each in records:
        if each["skips_frame"]:
            frame = by_key.get(key_of(each), {})
            place = {name: frame.get(name) for name in ("function", "file", "line")}
            why = each["skip_title"] or "the frame cannot be resumed after the break"
            where = {"generation": each["generation"], "compile_id": each["compile_id"]}
            found.setdefault(tuple(place.values()), where | place | {"why": why})
    return list(found.values())


def registry(run: Run, rank: int) -> dict[str, Row]:
    """torch's graph-break registry as it was when the run was recorded, by id; empty where there is none or it is damaged."""
    try:
        raw = json.loads(gzip.decompress(run.artifact(layout.GRAPH_BREAK_REGISTRY, rank).read_bytes()))
        return {key: {"id": key, **entries[-1]} for key, entries in raw.items()}
    except (OSError, ValueError, EOFError, TypeError, AttributeError, LookupError):
        return {}


def entry(record: Row, known: dict[str, Row]) -> Row:
    """The registry's entry for a record: by its id, else by its title."""
    if record["gb_id"]:
        return known.get(record["gb_id"], {})
    return next((each for each in known.values() if _is_of(str(each.get("Gb_type")), record["title"])), {})


def _is_of(template: str, title: str) -> bool:
    """Whether a title is of a registry type, whose `{names}` stand for anything."""
    pieces = [re.escape(each) for each in _FIELD.split(template)]
    return template == title or (len(pieces) > 1 and re.fullmatch(".+".join(pieces), title) is not None)
