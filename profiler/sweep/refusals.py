"""Which cells cannot be, as far as that is known without a device: their reasons are results like any other."""

from __future__ import annotations

from profiler.compilers.base import COMPILERS
from profiler.core.combinations import refuse_combination
from profiler.core.errors import DiffuscopeError
from profiler.core.spec import RunSpec
from profiler.models.base import find_model
from profiler.placement.base import OFFLOADS
from profiler.schemes.plan import find_scheme, refuse_other_model
from profiler.sweep.cells import QUEUED, REFUSED, Cell
from profiler.sweep.presets import AUTOQUANT


def refuse_cells(cells: list[Cell]) -> None:
    """Mark queued cells that contradict themselves, or name what there is not."""
    for each in cells:
        if each.status == QUEUED:
            refuse(each, obstacle(each.spec))


def refuse(cell: Cell, why: str | None) -> None:
    """Mark one cell as refused, where there is a reason."""
    if why:
        cell.status, cell.reason, cell.run = REFUSED, why, None


def obstacle(spec: RunSpec) -> str | None:
    """Why no machine could run this spec, in one line, or None."""
    if spec.scheme == AUTOQUANT:
        return "autoquant is gone from torchao: make a plan with `diffuscope plan`, and name its file among the --schemes"
    try:
        COMPILERS.get(spec.compile)
        OFFLOADS.get(spec.offload)
        scheme = find_scheme(spec.scheme)
        refuse_other_model(scheme, spec.model)
        refuse_combination(spec, quantizes=scheme.quantizes)
        find_model(spec.model).resolve(spec)
    except DiffuscopeError as error:
        return error.message
    return None
