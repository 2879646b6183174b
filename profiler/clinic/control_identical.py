"""A control: the same pipeline again."""

from __future__ import annotations

from profiler.clinic.base import Fault, harmless, here, register

register(
    Fault(
        name="control-identical",
        summary="control: a second identical pipeline",
        plant=harmless,
        file=here(),
        expects=(),
        fix="nothing to fix",
        spec={"compile": "regional"},
        placed=False,
    ),
)
