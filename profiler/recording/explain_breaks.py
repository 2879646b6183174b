"""Distinct graph breaks, read from what torch logs of each: its text names the cause, its registry id and the user's stack."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

# The logger of torch's structured log; it holds breaks of skipped frames too, which no graph knows of.
_LOGGER = "torch.__trace"
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)
_RESUMED = re.compile(r"^torch_dynamo_resume_in_(.+)_at_\d+$")
_LINK = re.compile(r"/gb/gb(\d{4})\.html")


@dataclass
class Break:
    """One distinct cause of graph breaks.

    Attributes:
        id: torch's own id of this kind of break (GB0124); empty where its registry does not know it.
        reason: the kind of break, one line.
        file, line, function: the innermost frame of the user's stack that is not torch's.
        count: how often the function that holds it ran in one call.
    """

    id: str
    reason: str
    explanation: str
    context: str
    file: str
    line: int
    function: str
    hint: str
    count: int = 1

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes two breaks the same cause."""
        return (self.id or self.reason, self.file, self.line)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class _Handler(logging.Handler):
    def __init__(self, found: dict[tuple[str, str, int], Break]) -> None:
        super().__init__()
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        artifact = getattr(record, "metadata", {}).get("artifact")
        if isinstance(artifact, dict) and artifact.get("name") == "dynamo_graph_break_reason":
            each = parse_break(str(getattr(record, "payload", "")))
            self._found.setdefault(each.key, each)


@contextmanager
def collect_breaks() -> Iterator[dict[tuple[str, str, int], Break]]:
    """The distinct breaks of everything that dynamo traces inside, by their key.

    Dynamo logs a break in an inlined function once for each frame that it then gives up: these are one cause.
    """
    found: dict[tuple[str, str, int], Break] = {}
    handler = _Handler(found)
    logger = logging.getLogger(_LOGGER)
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


def parse_break(text: str) -> Break:
    """One logged graph break. The first cause in the text counts; what it led to is named after it and left out."""
    reason, _, rest = text.partition("User code traceback:")
    reason = reason.partition("Graph Break Reason:")[2].partition("*** While handling")[0].partition("Stack variable source")[0]
    lines = [line.strip() for line in reason.splitlines() if line.strip()]
    kind = _kind(lines)
    link = _LINK.search(reason)
    file, line, function = _place(text, rest.partition("\nTraceback (most recent call last):")[0])
    identity = f"GB{link.group(1)}" if link else _ids().get(kind, "")
    return Break(
        id=identity,
        reason=kind,
        explanation=_after("Explanation: ", lines),
        context=_after("Developer debug context: ", lines),
        file=file,
        line=line,
        function=function,
        hint=" ".join(each[6:] for each in lines if each.startswith("Hint: ")) or _registered_hint(identity),
    )


def _kind(lines: list[str]) -> str:
    """The line before the explanation; errors of the user's own program have none, and begin with what they say."""
    for before, line in pairwise(lines):
        if line.startswith("Explanation: "):
            return before
    return next((line for line in lines if not line.startswith(("Failed to handle", "Encountered graph break"))), "graph break")


def _after(label: str, lines: list[str]) -> str:
    return next((line.removeprefix(label) for line in lines if line.startswith(label)), "")


def _place(text: str, stack: str) -> tuple[str, int, str]:
    """File, line and function of the innermost frame outside torch, or of the innermost one where all are torch's."""
    frames = [(each["file"], int(each["line"]), each["function"]) for each in _FRAME.finditer(stack)]
    outside = [each for each in frames if not each[0].startswith((_torch_folder(), "<"))] or frames
    if not outside:
        header = re.match(r"Graph break in user code at (.+):(\d+)", text)
        return (header.group(1), int(header.group(2)), "") if header else ("", 0, "")
    file, line, function = outside[-1]
    resumed = _RESUMED.match(function)
    return file, line, resumed.group(1) if resumed else function


@cache
def _torch_folder() -> str:
    import torch

    return str(Path(torch.__file__).parent)


@cache
def _registry() -> dict[str, list[dict[str, Any]]]:
    path = Path(_torch_folder()) / "_dynamo" / "graph_break_registry.json"
    return json.loads(path.read_text()) if path.is_file() else {}


@cache
def _ids() -> dict[str, str]:
    return {version["Gb_type"]: name for name, versions in _registry().items() for version in reversed(versions)}


def _registered_hint(identity: str) -> str:
    versions = _registry().get(identity, [])
    return " ".join(hint.strip() for hint in versions[0]["Hints"]) if versions else ""
