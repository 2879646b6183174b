"""What dynamo says in prose, taken apart: reasons of graph breaks, guards that failed, user stacks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_GB_ID = re.compile(r"/gb/gb(\d+)\.html", re.IGNORECASE)
_FRAME = re.compile(r'^ *File "(.+)", line (\d+), in (.+)$(?:\n +(\S.*))?', re.MULTILINE)
_PLACE = re.compile(r"Graph break in user code at (.+):(\d+)$", re.MULTILINE)
_FIELD = re.compile(r"^  (Explanation|Hint|Developer debug context): ?", re.MULTILINE)
_STACK_HEAD = re.compile(r"^(?:User code traceback:|The graph break occurred in the following user code:)$", re.MULTILINE)
_TRACEBACK = "Traceback (most recent call last):"
_ANOTHER = "*** While handling this graph break, another graph break occurred: ***"
_HEADLINE = re.compile(r"^(?:Graph Break )?Reason: ?", re.MULTILINE)
_PREAMBLE = re.compile(r"(?:Failed to handle graph break gracefully|Encountered graph break when attempting)[^\n]*\n")
_SKIPS = ("Skipping the function and falling back to eager", "torch.compile will skip tracing the frame")
_UNTIL = "For more details about this graph break"

_EXPECTED = re.compile(r"^(?P<guard>.*?)[.,:]? expected (?P<before>.+?)(?:[,;]? (?:actual|got) (?P<now>.+))?$", re.DOTALL)
_EQUALS = re.compile(r"^(?P<guard>.+?) == (?P<before>.+)$", re.DOTALL)
_VERSION = re.compile(r"^!?[\d/]+: ")
_COMMENT = re.compile(r"\s{2,}#.*", re.DOTALL)
_HINT = re.compile(r"\(HINT: (.*?)\)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Frame:
    """One frame of a stack; `code` is its source line, empty where torch has none."""

    file: str
    line: int
    function: str
    code: str = ""


@dataclass(frozen=True)
class Reason:
    """One reason of torch's, in its own words."""

    gb_id: str | None = None
    title: str = ""
    explanation: str = ""
    context: str = ""
    hints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Break:
    """A graph break: its cause; whether the whole frame is skipped for it, and why it could not be split; the user stack."""

    cause: Reason
    text: str
    skips_frame: bool
    skip: Reason | None
    stack: list[Frame]


@dataclass(frozen=True)
class Guard:
    """A guard that failed; what the text does not tell is None."""

    guard: str
    before: str | None = None
    now: str | None = None
    hint: str | None = None
    place: Frame | None = None


def parse_break(payload: str) -> Break:
    """A `dynamo_graph_break_reason` of any torch since 2.3; an unknown text gives one with its first line as title."""
    said, _, traceback = payload.partition(_TRACEBACK)
    head = _STACK_HEAD.search(said)
    reason, stack_text = (said[: head.start()], said[head.end() :]) if head else (said, "")
    stack = frames(stack_text) or _only_place(reason)
    body = _without_headline(reason)
    cause, _, other = body.partition(_ANOTHER)
    if head and head[0].startswith("The graph"):
        # The form of a skipped frame: the reason itself stands only in the exception below.
        cause = traceback.rpartition("Unsupported: ")[2].partition(_UNTIL)[0] or cause
    text = body.strip() if not head or head[0].startswith("User") else cause.strip()
    skips = any(each in reason for each in _SKIPS)
    return Break(parse_reason(cause), text, skips, parse_reason(other) if other.strip() else None, stack)


def _without_headline(reason: str) -> str:
    found = _HEADLINE.search(reason)
    return _PREAMBLE.sub("", reason[found.end() :] if found else reason)


def _only_place(reason: str) -> list[Frame]:
    found = _PLACE.search(reason)
    return [Frame(found[1], int(found[2]), "")] if found else []


def parse_reason(text: str) -> Reason:
    """Title, explanation, hints, context and registry id of one reason."""
    found = _GB_ID.search(text)
    pieces = _FIELD.split(text.partition(_UNTIL)[0].strip())
    fields: dict[str, list[str]] = {}
    for name, value in zip(pieces[1::2], pieces[2::2], strict=True):
        fields.setdefault(name, []).append(" ".join(value.split()))
    return Reason(
        gb_id=f"GB{int(found[1]):04d}" if found else None,
        title=next((line.strip() for line in pieces[0].splitlines() if line.strip()), ""),
        explanation=" ".join(fields.get("Explanation", [])),
        context=" ".join(fields.get("Developer debug context", [])),
        hints=fields.get("Hint", []),
    )


def frames(text: str) -> list[Frame]:
    """Frames of a printed stack, outermost first."""
    return [Frame(found[1], int(found[2]), found[3], _code(found[4])) for found in _FRAME.finditer(text)]


def _code(line: str | None) -> str:
    return line.strip() if line and not line.lstrip().startswith(('File "', "^", "~")) else ""


def parse_guard(text: str) -> Guard:
    """A guard that failed, from `6/0: tensor 'x' size mismatch at index 1. expected 4096, actual 2304`."""
    said, _, stack_text = _VERSION.sub("", text).partition("User stack trace:")
    hint = _HINT.search(said)
    guard = _COMMENT.sub("", said).strip() or said.strip()
    stack = frames(stack_text)
    place = stack[-1] if stack else None
    found = _EXPECTED.match(guard) or _EQUALS.match(guard)
    if found is None:
        return Guard(guard, hint=hint[1] if hint else None, place=place)
    parts = found.groupdict()
    return Guard(parts["guard"], parts["before"], parts.get("now"), hint[1] if hint else None, place)
