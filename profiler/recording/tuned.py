"""Which tuned kernel each int8dq Linear of a recorded pipeline gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from profiler.core.errors import Refused, UnreadableInput
from profiler.core.plan_file import names_plan
from profiler.core.spec import RunSpec
from profiler.kernels.candidate import Shape
from profiler.kernels.nearest import Nearest, find_nearest
from profiler.kernels.tuned import Entry, TableKey, find_entries
from profiler.recording.environment import describe_environment
from profiler.schemes.base import Hardware, LinearPlan
from profiler.schemes.tuned import SCHEME, kernel_of, use_tuned_forward


@dataclass(frozen=True)
class Tuned:
    """What was applied: the kernel of each tuned Linear by its name, the tables it came from, and what was left and why.

    `nearest` has the shape that the kernel was tuned for, MxKxN, of those Linears whose own shape no table holds.
    """

    kernels: dict[str, str] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nearest: dict[str, str] = field(default_factory=dict)


def current_key(hardware: Hardware) -> TableKey:
    """What a table must have been tuned for to hold here."""
    import torch

    return TableKey(device=_device(hardware), torch=str(torch.__version__), triton=triton_version())


def triton_version() -> str:
    """Triton's version; "" where there is none."""
    try:
        import triton
    except ImportError:
        return ""
    return str(triton.__version__)


def _device(hardware: Hardware) -> str:
    if hardware.device == "cuda":
        return hardware.name
    import torch

    model = describe_environment(hardware)["cpu"]["model"]
    threads = torch.get_num_threads()
    return f"{model}, {torch.backends.cpu.get_cpu_capability()}, {threads} thread{'' if threads == 1 else 's'}"


def refuse_tuned(spec: RunSpec, hardware: Hardware) -> None:
    """Refuse, before anything loads, a named table that does not fit or that nothing here can run.

    Raises:
        Refused, UsageError, UnreadableInput: as `find_entries` says; no Triton on a CUDA device.
    """
    if not _wanted(spec):
        return
    if hardware.device == "cuda" and spec.tuned != "auto" and not triton_version():
        raise Refused("--tuned needs Triton on a CUDA device, and there is none", "install triton, or use --tuned off")
    _entries(spec, hardware)


def _entries(spec: RunSpec, hardware: Hardware) -> tuple[dict[Shape, Entry], list[str]]:
    from profiler.kernels.int_scaled_matmul import unknown

    entries, tables = find_entries(spec.tuned, current_key(hardware))
    wrong = unknown((each.kernel for each in entries.values()), hardware) if entries else []
    for shape, kernel in ((shape, each.kernel) for shape, each in entries.items() if each.kernel in wrong):
        what = f"{' or '.join(tables)} names {kernel[:80]!r} for {shape}, which is no kernel of a {hardware.device} device"
        raise UnreadableInput(what, "tune again with `diffuscope tune`, or use --tuned off")
    return entries, tables


def tuned_entries(spec: RunSpec, hardware: Hardware, plans: Sequence[LinearPlan] = ()) -> dict[Shape, Entry]:
    """The tuned kernels that a recorded run of this spec would take, by shape; under `auto` for the plans also near ones."""
    if spec.tuned == "off":
        return {}
    entries = _entries(spec, hardware)[0]
    return entries | _of_near(_near(spec, hardware, plans, entries))


def apply_tuned(spec: RunSpec, hardware: Hardware, pipe: Any, plans: list[LinearPlan]) -> Tuned:
    """Give every quantized Linear whose shape has an entry its kernel, in place; under `auto` also those that have a near one."""
    if not _wanted(spec):
        return Tuned()
    entries, tables = _entries(spec, hardware)
    near = _near(spec, hardware, plans, entries)
    known = entries | _of_near(near)
    kernels, nearest = {}, {}
    for plan in plans:
        kernel = kernel_of(plan, known)
        if kernel is not None:
            part, _, name = plan.module.partition(".")
            use_tuned_forward(getattr(pipe, part).get_submodule(name), kernel)
            kernels[plan.module] = kernel
            if (shape := _shape(plan)) in near:
                nearest[plan.module] = str(near[shape][0])
    if kernels and hardware.device == "cuda":
        settle_kernel_cache()
    return Tuned(kernels, tables, _notes(hardware, plans, kernels, tables, near), nearest)


def settle_kernel_cache() -> None:
    """Keep Triton's compiled kernels where Inductor would; what the user has set stays.

    Inductor moves Triton's cache for the whole process, but only once it makes a kernel itself. A process that finds all its
    graphs compiled would look for the kernels launched beside them in another place, and compile them again.
    """
    if "TRITON_CACHE_DIR" not in os.environ:
        import torch
        from torch._inductor.runtime.cache_dir_utils import triton_cache_dir

        os.environ["TRITON_CACHE_DIR"] = triton_cache_dir(torch.cuda.current_device())


def _near(spec: RunSpec, hardware: Hardware, plans: Sequence[LinearPlan], entries: dict[Shape, Entry]) -> Nearest:
    wanted = dict.fromkeys(_shape(each) for each in plans if each.scheme == SCHEME and each.rows is not None)
    if spec.tuned != "auto" or not wanted:
        return {}
    from profiler.kernels.int_scaled_matmul import candidates

    return find_nearest(wanted, entries, lambda shape: {each.kernel for each in candidates(shape, hardware)})


def _of_near(near: Nearest) -> dict[Shape, Entry]:
    return {shape: entry for shape, (_, entry) in near.items()}


def _shape(plan: LinearPlan) -> Shape:
    return Shape(plan.rows or 0, plan.in_features, plan.out_features)


def _notes(hardware: Hardware, plans: list[LinearPlan], kernels: dict[str, str], tables: list[str], near: Nearest) -> list[str]:
    int8 = [each for each in plans if each.scheme == SCHEME]
    if not int8:
        return []
    if hardware.device == "cuda" and not triton_version():
        return ["there is no Triton, which tuned kernels need: int8dq runs torchao's own product"]
    if not tables:
        return ["no table of tuned kernels fits this device and these versions: int8dq runs torchao's own; see `diffuscope tune`"]
    left = {(each.rows, each.in_features, each.out_features) for each in int8 if each.module not in kernels}
    note = f"{len(kernels)} of {len(int8)} int8dq Linears run tuned kernels"
    why = "; without one (not tuned, or no gain): " + ", ".join("x".join(map(str, each)) for each in sorted(left))
    notes = [note + (why if left else "")]
    if near:
        pairs = ", ".join(f"{shape} that of {origin}" for shape, (origin, _) in sorted(near.items()))
        notes.append(
            f"no table holds these shapes, which take the kernel of the nearest one: {pairs}; `diffuscope tune` may find better"
        )
    return notes


def _wanted(spec: RunSpec) -> bool:
    return (spec.scheme == SCHEME or names_plan(spec.scheme)) and spec.tuned != "off"
