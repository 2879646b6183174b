"""A check for people: the verdict first, then one line a limit, then what a reader should know of them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from profiler.core.printable import one_line
from profiler.report.check import FAIL, NOT_CHECKED, PASS, STATUS
from profiler.report.names import shorten
from profiler.report.render import MAX_WIDTH, MIN_WIDTH, table

_WORDS = {PASS: "pass", FAIL: "FAIL", NOT_CHECKED: "NOT CHECKED"}
# A limit that the budget calls optional may stay unchecked.
_SKIPPED = "skipped"
_DECIMALS = {"GiB": 3, "MiB": 3, "ms": 1, "x": 3, "dB": 2, "share": 4, "": 0}
_SIGNS = {"<=": "≤", ">=": "≥"}
_MOST_DECIMALS = 9
_HEADERS = ("line", "measured", "limit", "margin", "verdict")
# Blanks between two columns of a table; titles are cut before numbers, down to this.
_GAP, _LEAST_TITLE = 3, 12
# What has no number in dB: outputs that are equal to the bit, or not finite.
_NO_NUMBER = {PASS: "identical", FAIL: "broken", NOT_CHECKED: "-"}


def check_text(data: dict[str, Any], width: int = 100) -> str:
    """The text of `check_data`'s result, at most `width` columns (80 to 120)."""
    width = max(MIN_WIDTH, min(MAX_WIDTH, width))
    return "\n\n".join(
        part for part in (_head(data, width), _table(data["checks"], width), _notes(data["checks"], width)) if part
    )


def word(check: dict[str, Any]) -> str:
    """The verdict on a line: pass, FAIL, NOT CHECKED, skipped."""
    return _SKIPPED if check["status"] == NOT_CHECKED and check["ok"] else _WORDS[check["status"]]


def sentence(check: dict[str, Any]) -> str:
    """One line without its table: `inference peak: 22.777 GiB, limit <= 24 GiB, 1.223 left; of the traced call`."""
    parts = []
    if check["measured"] is not None:
        parts.append(_with_unit(_value(check["measured"], check), check))
    if check["limit"] is not None:
        parts.append(f"limit {check['relation']} {_limit(check)}")
    if check["margin"] is not None:
        parts.append(_margin(check))
    said = ", ".join(parts)
    return f"{check['title']}: {'; '.join(each for each in (said, check['note']) if each) or 'ok'}"


def _head(data: dict[str, Any], width: int) -> str:
    lines = [_verdict(data)]
    if data["base"]:
        lines.append(f"against {one_line(data['base'])}")
    for each in data["checks"]:
        if each["status"] == FAIL:
            lines += _wrapped(f"  {_WORDS[FAIL]}: ", sentence(each), width)
    return "\n".join([*lines, *_unchecked(data["checks"], width)])


def _unchecked(checks: Sequence[dict[str, Any]], width: int) -> list[str]:
    """Required lines that could not be checked; a reason once, however many lines it holds for."""
    reasons: dict[str, list[str]] = {}
    for each in checks:
        if each["status"] == NOT_CHECKED and not each["ok"]:
            reasons.setdefault(each["note"], []).append(each["title"])
    label = f"  {_WORDS[NOT_CHECKED]}: "
    return [line for why, titles in reasons.items() for line in _wrapped(label, f"{'; '.join(titles)}: {why}", width)]


def _verdict(data: dict[str, Any]) -> str:
    total, run, budget = len(data["checks"]), one_line(data["run"]), one_line(data["budget"])
    failed = data["counts"]["fail"]
    skipped = sum(word(each) == _SKIPPED for each in data["checks"])
    missing = data["counts"]["not_checked"] - skipped
    beside = f", {skipped} optional not checked" if skipped else ""
    if data["passed"]:
        return f"PASSED: {run} keeps {budget}: {total - skipped} of {total} lines hold{beside}"
    beside = (f", {missing} not checked" if missing else "") + beside
    return f"FAILED: {run} does not keep {budget}: {failed} of {total} lines fail{beside}"


def _table(checks: Sequence[dict[str, Any]], width: int) -> str:
    cells = [_cells(each) for each in checks]
    beside = sum(max(len(row[column]) for row in (_HEADERS, *cells)) + _GAP for column in range(1, len(_HEADERS)))
    rows = [(shorten(row[0], max(_LEAST_TITLE, width - beside)), *row[1:]) for row in cells]
    return table(_HEADERS, rows, width, left=(0, 2, 4))


def _cells(check: dict[str, Any]) -> tuple[str, str, str, str, str]:
    if check["name"] == STATUS:
        return check["title"], "", "", "", word(check)
    limit = f"{_SIGNS[check['relation']]} {_limit(check)}"
    measured = _NO_NUMBER[check["status"]] if check["measured"] is None else _value(check["measured"], check)
    margin = "" if check["margin"] is None else _margin(check)
    return check["title"], measured, limit, margin, word(check)


def _limit(check: dict[str, Any]) -> str:
    """As the budget has it."""
    return _with_unit(f"{check['limit']:.10g}", check)


def _with_unit(text: str, check: dict[str, Any]) -> str:
    """A share has no unit: it is of 1."""
    return f"{text} {check['unit']}" if check["unit"] not in ("", "share") else text


def _value(value: float, check: dict[str, Any]) -> str:
    """With as many decimals as it takes to tell the value from its limit."""
    decimals = _DECIMALS[check["unit"]]
    margin = abs(check["margin"] or 0.0)
    while margin and round(margin, decimals) == 0 and decimals < _MOST_DECIMALS:
        decimals += 1
    return f"{value:,.{decimals}f}"


def _margin(check: dict[str, Any]) -> str:
    margin = check["margin"]
    if margin == 0:
        return "none left"
    beyond = "left" if margin > 0 else "short" if check["relation"] == ">=" else "over"
    return f"{_value(abs(margin), check)} {beyond}"


def _notes(checks: Sequence[dict[str, Any]], width: int) -> str:
    """What is to be known of lines that hold; of the others it stands at the top."""
    noted = [each for each in checks if each["ok"] and each["note"]]
    return "\n".join(line for each in noted for line in _wrapped(f"{each['title']}: ", each["note"], width))


def _wrapped(label: str, text: str, width: int) -> list[str]:
    text = " ".join(text.split())
    return textwrap.wrap(
        text, width, initial_indent=label, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    ) or [label]
