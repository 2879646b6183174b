"""The manifest: `run.json` as typed records. All times are epoch nanoseconds, all sizes bytes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from profiler.rundir.layout import SCHEMA_VERSION

T = TypeVar("T")


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
    """Everything `run.json` says."""

    schema_version: int = SCHEMA_VERSION
    kind: str = "record"
    status: str = "running"
    command: str = ""
    created_ns: int = 0
    process: dict[str, Any] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    spec_hash: str = ""
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
    def from_dict(cls, raw: dict[str, Any]) -> Manifest:
        """Read a mapping, leaving out fields of a later version; raises TypeError or KeyError on a wrong shape."""
        known = _known(cls, raw)
        known["phases"] = [Phase(**_known(Phase, each)) for each in raw.get("phases", [])]
        known["lost"] = [Lost(**_known(Lost, each)) for each in raw.get("lost", [])]
        failure = raw.get("failure")
        known["failure"] = Failure(**_known(Failure, failure)) if failure else None
        return cls(**known)

    def phase(self, name: str) -> Phase | None:
        """The last phase called `name`, or None."""
        return next((each for each in reversed(self.phases) if each.name == name), None)

    def lose(self, what: str, why: str, count: int = 1) -> None:
        """Note that something was not recorded."""
        self.lost.append(Lost(what=what, why=why, count=count))


def _known(kind: type[Any], raw: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    return {key: value for key, value in raw.items() if key in names}
