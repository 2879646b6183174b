"""A budget: the limits that a run must keep, from a TOML file. Whatever is wrong with the file is one error with its key."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.metrics.quality import LAST_LATENTS, TENSORS
from profiler.report.budget_lines import LINES, SQNR

_BASE = "base"
_LIMIT, _OPTIONAL = "limit", "optional"
_KEYS = (_BASE, SQNR, *(name for name in LINES if not name.startswith(f"{SQNR}.")))
_MAX_BYTES = 1 << 20
_MOST = 1e15
# Characters shown of what stands in a file.
_SHOWN = 40
_HINT = "docs/check.md has an example with every key"


@dataclass(frozen=True)
class Limit:
    """One limit of a budget.

    Args:
        name: a key of `budget_lines.LINES`.
        limit: in the line's unit; the most that is allowed, or the least where the line says so.
        optional: a run on which it cannot be checked still passes.
    """

    name: str
    limit: float
    optional: bool = False


@dataclass(frozen=True)
class Budget:
    """A budget file: its limits in the file's order, and the base run that it names, beside the file unless absolute."""

    path: Path
    limits: tuple[Limit, ...]
    base: Path | None = None


def read_budget(path: Path) -> Budget:
    """Read a budget file.

    Raises:
        UnreadableInput: no file, no TOML, an unknown key, a limit that is no sane number, or no limit at all.
    """
    raw = _parse(path)
    _check_keys(path, "", raw, _KEYS)
    base = raw.pop(_BASE, None)
    if base is not None and (not isinstance(base, str) or not base or "\0" in base):
        raise _wrong(path, _BASE, f"is {_shown(base)}, and must be the path of a run directory")
    limits = tuple(limit for name, value in raw.items() for limit in _limits(path, name, value))
    if not limits:
        raise UnreadableInput(f"{path} sets no limit: nothing would be checked", _HINT)
    return Budget(path, limits, None if base is None else path.parent / base)


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) > _MAX_BYTES:
            raise UnreadableInput(f"{path} is no budget: larger than {_MAX_BYTES >> 20} MiB", _HINT)
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise UnreadableInput(f"cannot read the budget {path}: {error.strerror or error}", _HINT) from None
    except (ValueError, RecursionError) as error:  # a TOMLDecodeError or a UnicodeDecodeError
        raise UnreadableInput(f"{path} is not TOML: {error}", _HINT) from None


def _limits(path: Path, name: str, value: Any) -> Iterable[Limit]:
    if name != SQNR:
        return [_limit(path, name, value)]
    if not isinstance(value, dict) or _LIMIT in value:
        return [_limit(path, f"{SQNR}.{LAST_LATENTS}", value)]
    if not value:
        raise _wrong(path, SQNR, "names no tensor")
    _check_keys(path, f"{SQNR}.", value, TENSORS)
    return [_limit(path, f"{SQNR}.{tensor}", each) for tensor, each in value.items()]


def _limit(path: Path, name: str, value: Any) -> Limit:
    if not isinstance(value, dict):
        return Limit(name, _number(path, name, name, value))
    _check_keys(path, f"{name}.", value, (_LIMIT, _OPTIONAL))
    optional = value.get(_OPTIONAL, False)
    if not isinstance(optional, bool):
        raise _wrong(path, f"{name}.{_OPTIONAL}", f"is {_shown(optional)}, and must be true or false")
    if _LIMIT not in value:
        raise _wrong(path, name, f"has no limit: write {name} = {{ limit = 1, optional = true }}")
    return Limit(name, _number(path, name, f"{name}.{_LIMIT}", value[_LIMIT]), optional)


def _number(path: Path, name: str, key: str, value: Any) -> float:
    line = LINES[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(path, key, f"is {_shown(value)}, and must be a number{f' of {line.unit}' if line.unit else ''}")
    if not (-math.inf < value < math.inf) or abs(value) > _MOST:
        raise _wrong(path, key, f"is {_shown(value)}, which is no limit")
    if value < 0:
        raise _wrong(path, key, f"is {_shown(value)}, and must not be negative")
    if line.whole and value != int(value):
        raise _wrong(path, key, f"is {_shown(value)}, and must be a whole number")
    if line.most is not None and value > line.most:
        raise _wrong(path, key, f"is {_shown(value)}, and must be a share of 1: 0.05 is 5 %")
    return float(value)


def _check_keys(path: Path, prefix: str, found: Mapping[str, Any], known: Iterable[str]) -> None:
    known = tuple(known)
    for key in found:
        if key not in known:
            near = difflib.get_close_matches(key[:_SHOWN], known, 1, cutoff=0.0)[0]
            what = _shown(prefix + key) if len(key) > _SHOWN or not key.isprintable() else prefix + key
            raise UnreadableInput(
                f"{path}: {what} is no key of a budget; the nearest is {prefix}{near}",
                f"known: {', '.join(prefix + each for each in known)}",
            )


def _wrong(path: Path, key: str, what: str) -> UnreadableInput:
    return UnreadableInput(f"{path}: {key} {what}", _HINT)


def _shown(value: Any) -> str:
    """A value as the file has it, at most so long."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python prints
        return "a giant number"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
