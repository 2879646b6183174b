"""The file that `diffuscope plan` writes: never one that was made by others, and there before the long part begins."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from profiler.core.errors import UsageError
from profiler.rundir.writer import write_atomic


class PlanFile:
    """A plan's file, written once or more.

    Attributes:
        path: where it is; another name than the asked one where that was taken while the plan was made.
        written: whether a plan is in it.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.written = path, False

    def keep(self, content: dict[str, Any]) -> None:
        """Write the plan of single Linears, and say so: whole steps take minutes, and may be ended by a signal."""
        self.write(content)
        number = len(content["whole_steps"]["failed"])
        print(f"{self.path} is written; whole steps of {number} assignments may still change it", file=sys.stderr)

    def write(self, content: dict[str, Any]) -> None:
        """Write a plan, over an earlier one of this object's own alone.

        Raises:
            UsageError: the disk does not take it.
        """
        try:
            if not self.written:
                self.path = _claimed(self.path)
            self._fill(json.dumps(content, indent=1))
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}", "name another file with -o") from None

    def _fill(self, text: str) -> None:
        try:
            write_atomic(self.path, text)
            self.written = True
        finally:
            if not self.written:
                self.path.unlink(missing_ok=True)


def free_path(path: Path) -> Path:
    """This path, or with the first number that makes it one that is not there."""
    found, number = path, 2
    # A link that leads nowhere is there too.
    while os.path.lexists(found):
        found, number = path.with_name(f"{path.stem}-{number}{path.suffix}"), number + 1
    return found


def _claimed(asked: Path) -> Path:
    """An empty file that is ours: the asked one, or one beside it."""
    asked.parent.mkdir(parents=True, exist_ok=True)
    path = asked
    while True:
        try:
            path.open("x").close()
        except FileExistsError:
            path = free_path(asked)
        else:
            break
    if path != asked:
        print(f"{asked} was made by others meanwhile: the plan is {path}", file=sys.stderr)
    return path
