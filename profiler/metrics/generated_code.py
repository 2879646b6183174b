"""Code that Inductor generated, cut into its kernels and the calls of them."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEAD, CALLS = "imports", "calls"
_KERNEL = re.compile(r"^(\w+) = async_compile\.\w+\(")
_END = re.compile(r"^'''")
_CALLS = "async_compile.wait("


@dataclass(frozen=True)
class Piece:
    """One part of a generated file: a kernel by its name with the comment above it, `HEAD` or `CALLS`."""

    name: str
    text: str


def pieces(text: str) -> list[Piece]:
    """The parts of a file, in their order; joined they are the file. One that nobody can cut is all `CALLS`."""
    made: list[Piece] = []
    lines: list[str] = []
    name = HEAD
    inside = False
    for line in text.splitlines(keepends=True):
        begins = _KERNEL.match(line) if not inside else None
        if begins:
            lines, above = _split_comment(lines)
            made += _piece(name, lines)
            name, lines, inside = begins[1], above, True
        elif not inside and line.startswith(_CALLS):
            made += _piece(name, lines)
            name, lines = CALLS, []
        lines.append(line)
        if inside and not begins and _END.match(line):
            made += _piece(name, lines)
            name, lines, inside = CALLS, [], False
    return _joined([*made, *_piece(name if made else CALLS, lines)])


def _split_comment(lines: list[str]) -> tuple[list[str], list[str]]:
    """The comment right above a kernel goes with it."""
    start = len(lines)
    while start and lines[start - 1].startswith("#"):
        start -= 1
    return lines[:start], lines[start:]


def _piece(name: str, lines: list[str]) -> list[Piece]:
    return [Piece(name, "".join(lines))] if lines else []


def _joined(made: list[Piece]) -> list[Piece]:
    """Blank lines between kernels belong to the kernel before."""
    found: list[Piece] = []
    for each in made:
        if found and not each.text.strip():
            found[-1] = Piece(found[-1].name, found[-1].text + each.text)
        else:
            found.append(each)
    return found
