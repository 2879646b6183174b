"""Whether two runs can be compared, and in what they differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.rundir.manifest import Manifest
from profiler.tables.run import Run

TIME, CALL_TIME, MEMORY = "time", "call time", "memory"
"""What a difference can spoil: times of all windows, the time of a whole call alone, bytes."""

WORK, MACHINE, OPTION, OUTPUT, MEASURING = "work", "machine", "option", "output", "measuring"
"""What kind of difference it is: other work, another machine or version, an optimization, another output, how it was measured."""

RANKS, PARALLEL = "ranks", "parallel"
"""Differences of runs of several ranks: how many, and how one call is spread over them. Options: both make the same picture."""

_BOTH = (TIME, CALL_TIME, MEMORY)
# What must be the same, and what cannot be compared where it is not.
_MUST = {
    "model": (WORK, _BOTH),
    "batch": (WORK, _BOTH),
    "height": (WORK, _BOTH),
    "width": (WORK, _BOTH),
    "frames": (WORK, _BOTH),
    "steps": (WORK, (CALL_TIME,)),
    "device": (MACHINE, _BOTH),
    "GPU": (MACHINE, _BOTH),
    "CPU": (MACHINE, (TIME, CALL_TIME)),
    "torch": (MACHINE, _BOTH),
}
# What may differ, and is said where it does.
_MAY = dict.fromkeys(("seed", "prompt", "weights", "guidance"), OUTPUT)
_MAY |= dict.fromkeys(("trace_steps", "warmup", "repeats"), MEASURING)
_MAY |= dict.fromkeys(("driver", "CUDA", "cuDNN", "torchao", "diffusers", "transformers", "triton"), MACHINE)
_OTHER_KINDS = ("sweep", "tune", "explain")
# Above this, a pipeline with classifier-free guidance runs its transformer on twice the batch.
_NO_GUIDANCE = 1.0


@dataclass(frozen=True)
class Difference:
    """One thing in which two runs differ.

    Args:
        what: its name, for example `batch`, `GPU`, `torch`, `scheme`.
        base, new: the values of both.
        kind: `work`, `machine`, `option` (what a comparison is for), `output` or `measuring`.
        spoils: what cannot be compared because of it, of `time`, `call time`, `memory`; empty where everything can.
    """

    what: str
    base: Any
    new: Any
    kind: str
    spoils: tuple[str, ...] = ()


def refuse_other_kinds(run: Run) -> None:
    """Refuse what holds no calls of a pipeline.

    Raises:
        UsageError: the run of a sweep, a tuning or the like.
    """
    kind = run.manifest.kind
    if kind not in _OTHER_KINDS:
        return
    hint = f"name its cells: {run.path}/CELL, or see them side by side: " if kind == "sweep" else "see it with "
    raise UsageError(f"{run.path} is of kind {kind}: it holds no call of a pipeline", f"{hint}diffuscope show {run.path}")


def differences(run: Run, base: Run) -> list[Difference]:
    """Everything in which a run differs from its base, what spoils the comparison first.

    What only one of them says is no difference: `unknown` names it.
    """
    mine, theirs = _facts(run.manifest), _facts(base.manifest)
    found = [_difference(name, theirs[name], mine[name]) for name in theirs if name in mine and theirs[name] != mine[name]]
    if _same_pipeline(run.manifest, base.manifest):
        found = [replace(each, kind=OPTION, spoils=()) if each.what == "model" else each for each in found]
    return sorted(found, key=lambda each: not each.spoils)


def shared(run: Run, base: Run) -> dict[str, Any]:
    """What must be the same and is, with its value: model, batch, size, steps, GPU, torch."""
    mine, theirs = _facts(run.manifest), _facts(base.manifest)
    return {name: mine[name] for name in _MUST if name in mine and name in theirs and mine[name] == theirs[name]}


def obstacles(run: Run, base: Run, what: str = TIME) -> list[Difference]:
    """The differences that spoil `time`, `call time` or `memory` of two runs; none where they can be compared."""
    return [each for each in differences(run, base) if what in each.spoils]


def unknown(run: Run, base: Run) -> list[str]:
    """What must be the same and at least one of the runs does not say: an import says little."""
    mine, theirs = _facts(run.manifest), _facts(base.manifest)
    devices = {mine.get("device"), theirs.get("device")}
    # A run on a GPU does not say its CPU, nor the other way round; only videos have frames.
    beside = {"frames"} | ({"GPU"} if "cpu" in devices else set()) | ({"CPU"} if devices != {"cpu"} else set())
    return [name for name in _MUST if not (name in mine and name in theirs) and name not in beside]


def _difference(name: str, base: Any, new: Any) -> Difference:
    if name in _MUST:
        kind, spoils = _MUST[name]
        return Difference(name, base, new, kind, spoils)
    return Difference(
        name, base, new, _MAY.get(name, OPTION), _BOTH if name == "guidance" and _guided(base) != _guided(new) else ()
    )


def _same_pipeline(mine: Manifest, theirs: Manifest) -> bool:
    """Whether two functions of the user's own build the same transformer: before and after a change, say."""
    names = [str(each.spec.get("model") or "") for each in (mine, theirs)]
    shapes = [sorted(map(_shape, each.applied.get("linears") or [])) for each in (mine, theirs)]
    return all(":" in name for name in names) and bool(shapes[0]) and shapes[0] == shapes[1]


def _shape(linear: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(linear.get(name)) for name in ("module", "in_features", "out_features"))


def _guided(scale: Any) -> bool:
    return isinstance(scale, int | float) and scale > _NO_GUIDANCE


def _facts(manifest: Manifest) -> dict[str, Any]:
    """What a run says about itself, by name; what it does not say is not in it."""
    environment = manifest.environment
    gpu, versions = environment.get("gpu") or {}, environment.get("versions") or {}
    device = environment.get("device") or ("cuda" if gpu else None)
    machine = {"device": device, "driver": gpu.get("driver"), "CUDA": gpu.get("cuda"), "cuDNN": gpu.get("cudnn")}
    machine |= {name: versions.get(name) for name in ("torch", "torchao", "diffusers", "transformers", "triton")}
    machine |= {"CPU": (environment.get("cpu") or {}).get("model")} if device == "cpu" else {"GPU": gpu.get("name")}
    # An import of one trace says nothing of how many ranks there were.
    machine |= {RANKS: manifest.world_size} if manifest.spec.get("model") or manifest.world_size > 1 else {}
    return _spec_facts(manifest.spec) | {name: value for name, value in machine.items() if value is not None}


def _spec_facts(spec: dict[str, Any]) -> dict[str, Any]:
    if not spec.get("model"):
        return {}
    if spec.get("scheme") == "as built":  # the user's own call: most of the spec was never asked for
        return {name: spec[name] for name in ("model", "steps", "trace_steps") if spec.get(name) is not None}
    # A run of an earlier version lacks later fields: they were at their defaults. The device is the environment's to say.
    facts = RunSpec.from_dict(spec).to_dict()
    # How many ranks there are is said beside it.
    facts[PARALLEL] = (facts.get(PARALLEL) or {}).get("kind") or "none"
    return {name: value for name, value in facts.items() if name != "device"}
