"""Lists as people type them, values with commas between, and as they are told: of one reason together."""

from __future__ import annotations

from collections.abc import Iterable

from profiler.core.errors import UsageError


def parse_list(option: str, text: str) -> list[str]:
    """The distinct values of a comma-separated list, in order.

    Raises:
        UsageError: an empty list, or an empty value in it.
    """
    values = [each.strip() for each in text.split(",")]
    if not all(values):
        raise UsageError(f"{option} {text!r} has an empty value", "separate values by single commas")
    return list(dict.fromkeys(values))


def parse_numbers(option: str, text: str) -> list[int]:
    """The same for whole numbers from 1.

    Raises:
        UsageError: a value that is none.
    """
    values = parse_list(option, text)
    for each in values:
        if not (each.isdecimal() and len(each) < 7 and int(each)):
            raise UsageError(f"{option} {text}: {each} is no number from 1", "for example 1,4")
    return list(dict.fromkeys(int(each) for each in values))


def by_reason(reasons: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Names by why, from (name, why), both in the order in which they come."""
    named: dict[str, list[str]] = {}
    for name, why in reasons:
        named.setdefault(why, []).append(name)
    return named
