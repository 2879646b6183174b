"""The file that `diffuscope plan` writes: never one that was made by others, there before the long part begins; and its use."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from profiler.core.errors import EXIT_INTERRUPTED, DiffuscopeError, UsageError
from profiler.core.spec import RunSpec
from profiler.models.base import find_model
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
        from profiler.tune.progress import Progress

        self.write(content)
        number = len(content["whole_steps"]["failed"])
        # On a terminal in the place of the bar that single Linears have left.
        Progress(1).tell(f"{self.path} is written; whole steps of {number} assignments may still change it")

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

    def interrupted(self) -> int:
        """Say what Ctrl-C has left; the exit code."""
        left = f"{self.path} holds the plan of single Linears" if self.written else "no plan was written"
        print(f"interrupted: {left}", file=sys.stderr)
        return EXIT_INTERRUPTED

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


def record_command(plan: dict[str, Any], path: Path) -> str:
    """The command line that records what the plan was made for: its compile mode and its sizes, where they are no defaults."""
    spec = RunSpec.from_dict(plan["spec"])
    return shlex.join(["diffuscope", "record", spec.model, "--scheme", str(path), *_options(spec, _defaults(spec.model))])


def _defaults(model: str) -> RunSpec:
    asked = RunSpec(model=model)
    try:
        return find_model(model).resolve(asked)
    except DiffuscopeError:
        # A model of a later version.
        return asked


def _options(spec: RunSpec, default: RunSpec) -> list[str]:
    given = [name for name in ("compile", "batch", "frames", "guidance", "weights", "device") if _other(name, spec, default)]
    options = [part for name in given for part in (f"--{name}", f"{getattr(spec, name)}")]
    if spec.height is not None and (_other("height", spec, default) or _other("width", spec, default)):
        options += ["--size", str(spec.height) if spec.height == spec.width else f"{spec.height}x{spec.width}"]
    return options + (["--fuse-qkv"] if spec.fuse_qkv else [])


def _other(name: str, spec: RunSpec, default: RunSpec) -> bool:
    return getattr(spec, name) not in (None, getattr(default, name))


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
