"""What is to be tuned, and what may win."""

from __future__ import annotations

from pathlib import Path

from profiler.core.errors import Refused
from profiler.core.spec import RunSpec
from profiler.kernels import blocks
from profiler.kernels.candidate import Candidate
from profiler.schemes.base import Hardware
from profiler.tune.rows import TORCHAO_SPACE
from profiler.tune.shapes import Wanted, shapes_of_model, sort
from profiler.tune.torchao_file import Saved


def wanted_shapes(asked: RunSpec | None, shapes: list[Wanted], imported: list[Saved]) -> tuple[list[Wanted], RunSpec | None]:
    """Those of the model, then those named by hand or found in torchao's file; and the model's spec filled in.

    Beside a model, shapes that it does not multiply are in no step: their count is 0.
    """
    of_model, spec = shapes_of_model(asked) if asked else ([], None)
    known = {each.shape for each in of_model}
    named = dict.fromkeys([*(each.shape for each in shapes), *(each.shape for each in imported)])
    return [*of_model, *sort(Wanted(shape, 0 if asked else 1) for shape in named if shape not in known)], spec


def offered_for(wanted: list[Wanted], imported: list[Saved], hardware: Hardware) -> dict[Wanted, list[Candidate]]:
    """The candidates of each shape, right configurations of torchao's file among them.

    Raises:
        Refused: no shape has any.
    """
    from profiler.kernels.int_scaled_matmul import candidates

    offered = {}
    for each in wanted:
        more = [_candidate(one) for one in imported if one.shape == each.shape and _right(one, hardware)]
        offered[each] = list(dict.fromkeys([*candidates(each.shape, hardware), *more]))
    if not any(offered.values()):
        raise Refused(
            f"no kernel fits {', '.join(str(each.shape) for each in wanted)} on {hardware.name or hardware.device}",
            "on a GPU of compute capability 8.0 or newer most shapes with more than 16 rows fit some",
        )
    return offered


def _candidate(saved: Saved) -> Candidate:
    return blocks.candidate(TORCHAO_SPACE, saved.config)


def _right(saved: Saved, hardware: Hardware) -> bool:
    """Whether a configuration of torchao's file can run here, and is none of those whose block reads past K."""
    from profiler.kernels.int_scaled_matmul_torchao import right

    return hardware.device == "cuda" and "group" not in saved.config and right(saved.shape, saved.config)


def note_imported(path: Path, imported: list[Saved], offered: dict[Wanted, list[Candidate]]) -> str:
    """How many of a file's configurations are tried: torchao's own tuner never checked one."""
    known = {(each.shape, *sorted(one.config.items())) for each, found in offered.items() for one in found}
    tried = sum((one.shape, *sorted(one.config.items())) in known for one in imported)
    left = f"{len(imported) - tried} of them no candidate here (wrong for their shape, or not for this device)"
    return f"{path}: {len(imported)} configurations, {left}"
