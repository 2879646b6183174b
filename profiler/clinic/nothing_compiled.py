"""`torch.compile(block)` whose result is thrown away: everything stays eager."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register


def plant(pipe: Any) -> None:
    import torch

    for module in pipe.transformer.modules():
        module.compile = partial(torch.compile, module)


register(
    Fault(
        name="nothing-compiled",
        summary="torch.compile(block) whose result is dropped",
        plant=plant,
        file=here(),
        expects=("nothing-compiled",),
        fix="block.compile() compiles in place; torch.compile returns the compiled one",
        spec={"compile": "regional"},
        placed=False,
    ),
)
