"""A boolean mask: the shape of what it selects depends on the data, so the graph ends and the host waits for the count."""

from __future__ import annotations

from functools import partial
from typing import Any

from profiler.clinic.base import Fault, here, register
from profiler.clinic.planting import in_blocks


def with_outliers(_block: Any, hidden: Any) -> Any:
    outliers = hidden[hidden.abs() > 1e30]  # planted
    return hidden + outliers.sum()


register(
    Fault(
        name="boolean-mask",
        summary="a boolean mask selects in a block",
        plant=partial(in_blocks, act=with_outliers),
        file=here(),
        expects=("graph-break", "host-sync"),
        fix="torch.where(mask, hidden, 0): the shape stays what it is",
        spec={"compile": "regional"},
    ),
)
