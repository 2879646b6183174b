"""The command line that records one cell by itself: in its run's manifest, and for who wants to look closer."""

from __future__ import annotations

import shlex
from dataclasses import fields

from profiler.core.spec import RunSpec


def record_command(spec: RunSpec) -> str:
    """`diffuscope record ...` with every option that is not the default."""
    words = ["diffuscope", "record", spec.model]
    for field in fields(RunSpec):
        value = getattr(spec, field.name)
        if field.name in ("model", "height", "width") or value == field.default:
            continue
        option = f"--{field.name.replace('_', '-')}"
        words += [option] if value is True else [option, str(value)]
    if spec.height is not None and spec.width is not None:
        words += ["--size", f"{spec.height}x{spec.width}"]
    return shlex.join(words)
