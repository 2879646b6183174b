"""The source lines around every frame that a finding can name, so that another machine can show them."""

from __future__ import annotations

import gzip
import inspect
import json
import linecache
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

AROUND = 4
# A frame in a trace names the line where its function begins: the function is kept, up to this many lines.
_LONGEST = 150
# Frames of these are never where a user would change something.
_LIBRARY = ("/torch/", "/lib/python3", "<frozen", "<string>")
_OWN = ("/site-packages/", "/dist-packages/")
_TRACE_FRAME = re.compile(r'"name": "((?:[^"\\]|\\.)+?\.py)\((\d+)\): ')
_LOG_FRAME = re.compile(r'"line": (\d+), "name": "[^"]*", "filename": (\d+)')
_LOG_STRING = re.compile(r'\{"str": \["((?:[^"\\]|\\.)*)", (\d+)\]')


def save_sources(folder: Path, path: Path) -> None:
    """Write `sources.json`: {file: {line: [first line number, [lines]]}} for the frames named in a rank's artifacts."""
    found: dict[str, dict[str, tuple[int, list[str]]]] = {}
    for file, line in sorted(_frames(folder)):
        lines = linecache.getlines(file)
        if 0 < line <= len(lines):
            first = max(1, line - AROUND)
            text = [each.rstrip("\n") for each in lines[first - 1 : _last_line(lines, line)]]
            found.setdefault(file, {})[str(line)] = (first, text)
    path.write_text(json.dumps(found))


def _last_line(lines: list[str], line: int) -> int:
    """The last line to keep: of the function that begins at `line`, else a few below it."""
    if not lines[line - 1].lstrip().startswith(("def ", "async def ", "@")):
        return line + AROUND
    try:
        block = inspect.getblock(lines[line - 1 :])
    except (tokenize.TokenError, SyntaxError, IndexError):
        return line + AROUND
    return line - 1 + min(len(block), _LONGEST)


def _frames(folder: Path) -> set[tuple[str, int]]:
    frames: set[tuple[str, int]] = set()
    for path in folder.glob("places.json*"):
        frames.update(_trace_frames(path))
    for path in (folder / "compile_log").glob("*.log*"):
        frames.update(_log_frames(path))
    return {(file, line) for file, line in frames if _wanted(file)}


def _wanted(file: str) -> bool:
    # The profiler names files relative to sys.path: `torch/nn/functional.py`, `contextlib.py`.
    head = file.partition("/")[0].removesuffix(".py")
    if head == "torch" or "/torch/" in file or head in sys.stdlib_module_names:
        return False
    return any(each in file for each in _OWN) or not any(each in file for each in _LIBRARY)


def _trace_frames(path: Path) -> Iterator[tuple[str, int]]:
    for line in _lines(path):
        if match := _TRACE_FRAME.search(line):
            yield match[1], int(match[2])


def _log_frames(path: Path) -> Iterator[tuple[str, int]]:
    """Frames of the structured log, whose file names stand in a string table of their own."""
    names: dict[str, str] = {}
    for line in _lines(path):
        if match := _LOG_STRING.search(line):
            names[match[2]] = match[1]
        for number, name in _LOG_FRAME.findall(line):
            if name in names:
                yield names[name], int(number)


def _lines(path: Path) -> Iterator[str]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
            yield from file
    else:
        with path.open(encoding="utf-8", errors="replace") as file:
            yield from file
