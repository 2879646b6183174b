"""A table on the CPU, in pageable memory, copied to the GPU in every step."""

from __future__ import annotations

from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_steps


def plant(pipe: Any) -> None:
    import torch

    table = torch.zeros(1 << 24)

    def with_table(sample: Any) -> Any:
        return sample + table.to(sample.device)[0].to(sample.dtype)  # planted

    in_steps(pipe, with_table)


register(
    Fault(
        name="pageable-copy",
        summary="a table is copied from pageable memory in every step",
        plant=plant,
        file=here(),
        expects=("pageable-copy", "host-sync"),
        fix="copy it once, before the loop",
        spec={"compile": "regional"},
        needs_cuda=True,
    ),
)
