"""What the process that reads a snapshot leaves beside the tables: facts about it, or why it could not be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FACTS, ERROR = "snapshot.json", "error.json"
FAILED = 2
_MOST_BYTES = 1 << 20


def leave(path: Path, answer: dict[str, Any]) -> None:
    """Write `FACTS` or `ERROR`."""
    path.write_text(json.dumps(answer), encoding="utf-8")


def take(path: Path) -> dict[str, Any]:
    """Read it and take it away."""
    with path.open("rb") as file:
        answer: dict[str, Any] = json.loads(file.read(_MOST_BYTES))
    path.unlink()
    return answer
