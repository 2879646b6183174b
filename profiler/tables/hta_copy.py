"""A trace as Holistic Trace Analysis (HTA) can read it: some programs write ids as text, which HTA compares with numbers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

# Of an event's `args`. HTA makes columns of these and takes them for whole numbers.
_NUMBERS = ("correlation", "stream", "device", "context", "External id", "external id", "Ev Idx", "bytes")


def numbered(trace: Path, target: Path) -> int:
    """Write `trace` (gzipped JSON) to `target` with numbers where ids were text, without events that say no time.

    Returns:
        how many events changed or were left out; 0: `target` is not written, it would be the same.

    Raises:
        OSError, EOFError, ValueError: the trace cannot be read.
    """
    with gzip.open(trace, "rb") as file:
        whole = json.load(file)
    events = whole.get("traceEvents") if isinstance(whole, dict) else None
    if not isinstance(events, list):
        return 0
    kept = [event for event in events if isinstance(event, dict) and _timed(event)]
    changed = len(events) - len(kept) + sum(_number(event) for event in kept)
    if changed:
        with gzip.open(target, "wt", encoding="utf-8", compresslevel=1) as out:
            json.dump(whole | {"traceEvents": kept}, out)
    return changed


def _timed(event: dict[str, Any]) -> bool:
    return event.get("ph") != "X" or all(isinstance(event.get(name), int | float) for name in ("ts", "dur"))


def _number(event: dict[str, Any]) -> bool:
    """Make whole numbers of the ids of one event; whether any was text."""
    args = event.get("args")
    texts = {name: args[name] for name in _NUMBERS if isinstance(args.get(name), str)} if isinstance(args, dict) else {}
    found = {name: int(text) for name, text in texts.items() if text.lstrip("-").isdecimal()}
    if found:
        event["args"] = args | found  # type: ignore[operator]
    return bool(found)
