"""The manifest: `run.json` as typed records. All times are epoch nanoseconds, all sizes bytes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, get_type_hints

from profiler.core.spec import RunSpec
from profiler.rundir.layout import MOST_RANKS, SCHEMA_VERSION
from profiler.rundir.shape import build, check_inside

_CALLS = {"dur_ns": float, "calls_ns": list[float], "iterations_ns": list[float], "steps": int}
# What readers rely on inside the free mappings, where it is there at all.
_INSIDE: dict[str, Any] = {
    "process": {"pid": int, "start_ticks": int},
    "spec": get_type_hints(RunSpec) | {"parallel": {"kind": str, "degree": int}},
    "applied": {
        "base_dtype": str,
        "noise_dtype": str,
        "linears": list[dict[str, Any]],
        "compiled": list[str],
        "notes": list[str],
        **dict.fromkeys(("graphs", "graph_breaks", "recompiles"), int),
        "weight_bytes": dict[str, int],
    },
    "environment": {
        "gpu": {"name": str, "capability": list[int], "count": int},
        "cpu": {"model": str},
        "versions": dict[str, str],
        "ceilings": dict[str, float],
        "ceiling_kernels": dict[str, str],
    },
    **dict.fromkeys(("timed", "untraced", "traced"), _CALLS),
}
_LINEAR = {"module": str, "scheme": str, "reason": str}
_DETAIL = {"first_call_ns": float, "calls_ns": list[float], "steps": int}


def check_mappings(record: Any, names: Iterable[str]) -> None:
    """Hold what a manifest's or a rank's free mappings say, and those of its phases; raises TypeError on a wrong shape."""
    for name in names:
        check_inside(_INSIDE[name], getattr(record, name), name)
    for index, phase in enumerate(record.phases):
        check_inside(_DETAIL, phase.detail, f"phases[{index}].detail")


@dataclass(kw_only=True)
class Phase:
    """One phase of a run. `end_ns` is None while the phase runs, or where it died.

    `alloc_bytes` is what was allocated at its end; the peaks are of this phase alone, `peak_bytes` as the
    allocator rounds and `peak_requested_bytes` as the program asked; None on a CPU.
    `gpu` is the device as sampled right after the phase: clocks (MHz), power (W), temperature, throttle reasons.
    """

    name: str
    start_ns: int
    end_ns: int | None = None
    alloc_bytes: int | None = None
    requested_bytes: int | None = None
    peak_bytes: int | None = None
    peak_requested_bytes: int | None = None
    reserved_bytes: int | None = None
    gpu: dict[str, Any] | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Lost:
    """Something that was not recorded: what, how many, and why."""

    what: str
    why: str
    count: int = 1


@dataclass(kw_only=True)
class Failure:
    """How a run ended before its end."""

    type: str
    message: str
    phase: str | None = None
    traceback: str = ""


@dataclass(kw_only=True)
class Manifest:
    """Everything `run.json` says.

    `run_id` names a run of several ranks (`world_size`) on all its hosts; a run of one process has none.
    """

    schema_version: int = SCHEMA_VERSION
    kind: str = "record"
    status: str = "running"
    command: str = ""
    created_ns: int = 0
    process: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    spec_hash: str = ""
    world_size: int = 1
    run_id: str = ""
    applied: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    phases: list[Phase] = field(default_factory=list)
    timed: dict[str, Any] = field(default_factory=dict)
    untraced: dict[str, Any] = field(default_factory=dict)
    traced: dict[str, Any] = field(default_factory=dict)
    fx_graph_keys: list[str] = field(default_factory=list)
    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    lost: list[Lost] = field(default_factory=list)
    failure: Failure | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: object) -> Manifest:
        """Read a mapping, leaving out fields of a later version; raises TypeError on a wrong shape."""
        manifest = build(cls, raw, "run")
        if not 0 < manifest.world_size <= MOST_RANKS:
            raise TypeError(f"run.world_size is {manifest.world_size}, and should be from 1 to {MOST_RANKS}")
        check_mappings(manifest, _INSIDE)
        for index, linear in enumerate(manifest.applied.get("linears") or []):
            check_inside(_LINEAR, linear, f"applied.linears[{index}]")
        return manifest

    def phase(self, name: str) -> Phase | None:
        """The last phase called `name`, or None."""
        return next((each for each in reversed(self.phases) if each.name == name), None)

    @property
    def open_phase(self) -> str | None:
        """The phase that never ended: where a run is, or where it died."""
        return next((each.name for each in reversed(self.phases) if each.end_ns is None), None)

    def lose(self, what: str, why: str, count: int = 1) -> None:
        """Note that something was not recorded."""
        self.lost.append(Lost(what=what, why=why, count=count))
