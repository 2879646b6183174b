"""Which tuned kernel each int8dq Linear of a recorded pipeline gets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from profiler.core.errors import Refused, UnreadableInput
from profiler.core.plan_file import names_plan
from profiler.core.spec import RunSpec
from profiler.kernels.candidate import Shape
from profiler.kernels.tuned import Entry, TableKey, find_entries
from profiler.recording.environment import describe_environment
from profiler.schemes.base import Hardware, LinearPlan
from profiler.schemes.tuned import SCHEME, kernel_of, use_tuned_forward


@dataclass(frozen=True)
class Tuned:
    """What was applied: the kernel of each tuned Linear by its name, the tables it came from, and what was left and why."""

    kernels: dict[str, str] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
    from profiler.kernels.int_scaled_matmul import SPACES

    entries, tables = find_entries(spec.tuned, current_key(hardware))
    for shape, entry in entries.items():
        if entry.kernel.partition(":")[0] not in SPACES[hardware.device]:
            what = (
                f"{' or '.join(tables)} names {entry.kernel[:80]!r} for {shape}, which is no kernel of a {hardware.device} device"
            )
            raise UnreadableInput(what, "tune again with `diffuscope tune`, or use --tuned off")
    return entries, tables


def apply_tuned(spec: RunSpec, hardware: Hardware, pipe: Any, plans: list[LinearPlan]) -> Tuned:
    """Give every quantized Linear whose shape has an entry its kernel, in place."""
    if not _wanted(spec):
        return Tuned()
    entries, tables = _entries(spec, hardware)
    kernels = {}
    for plan in plans:
        kernel = kernel_of(plan, entries)
        if kernel is not None:
            part, _, name = plan.module.partition(".")
            use_tuned_forward(getattr(pipe, part).get_submodule(name), kernel)
            kernels[plan.module] = kernel
    return Tuned(kernels, tables, _notes(plans, kernels, tables))


def _notes(plans: list[LinearPlan], kernels: dict[str, str], tables: list[str]) -> list[str]:
    int8 = [each for each in plans if each.scheme == SCHEME]
    if not int8:
        return []
    if not tables:
        return ["no table of tuned kernels fits this device and these versions: int8dq runs torchao's own; see `diffuscope tune`"]
    left = {(each.rows, each.in_features, each.out_features) for each in int8 if each.module not in kernels}
    note = f"{len(kernels)} of {len(int8)} int8dq Linears run tuned kernels"
    why = "; without one (not tuned, or no gain): " + ", ".join("x".join(map(str, each)) for each in sorted(left))
    return [note + (why if left else "")]


def _wanted(spec: RunSpec) -> bool:
    return (spec.scheme == SCHEME or names_plan(spec.scheme)) and spec.tuned != "off"
