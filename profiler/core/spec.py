"""RunSpec: what the user asked for, resolved, and its hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.core.plan_file import content_hash, names_plan

QUANTIZE_ON = ("device", "cpu", "per-layer")
INDUCTOR_DEFAULTS = ("torch", "torchao")
DEVICES = ("auto", "cuda", "cpu")
# Where tuned kernels come from, beside a file.
TUNED = ("auto", "off")
# How one call is spread over several ranks: what diffusers' context parallelism can do.
PARALLEL = ("ulysses", "ring")
# What is recorded after the warm-up; "traced" brings the untraced calls that price it.
PHASES = ("timed", "traced", "places", "memory")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run as asked for. None means "the model's own default" until the model resolves it.

    Sizes are pixels (height, width), `frames` video frames, `steps` denoising steps of a timed call,
    `trace_steps` those of the untraced, traced and memory calls; `phases` is "all" or a comma-separated choice of PHASES;
    `tuned` says where int8dq takes tuned kernels from: "auto", "off", or a file that `tune` wrote;
    `parallel` is {"kind": one of PARALLEL, "degree": ranks}, or None for one process.
    """

    model: str
    scheme: str = "bf16"
    compile: str = "none"
    compile_vae: bool = False
    fuse_qkv: bool = False
    channels_last: bool = False
    quantize_vae: bool = False
    quantize_text_encoder: bool = False
    quantize_on: str = "device"
    batch: int = 1
    steps: int | None = None
    trace_steps: int = 4
    height: int | None = None
    width: int | None = None
    frames: int | None = None
    seed: int = 0
    guidance: float | None = None
    prompt: str = "an astronaut on the moon"
    warmup: int = 1
    repeats: int = 3
    weights: str | None = None
    inductor_defaults: str = "torch"
    device: str = "auto"
    offload: str = "none"
    vae_tiling: bool = False
    vae_slicing: bool = False
    phases: str = "all"
    tuned: str = "auto"
    parallel: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping of every field."""
        return asdict(self)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> RunSpec:
        """The inverse of `to_dict`; unknown fields (of a later version) are left out."""
        known = {field.name for field in fields(cls)}
        if "model" not in raw:
            raise UnreadableInput("a run spec names no model", "write it with `diffuscope record`")
        return cls(**{key: value for key, value in raw.items() if key in known})

    @property
    def wanted_phases(self) -> tuple[str, ...]:
        """The phases after the warm-up that were asked for, in the order in which they run."""
        asked = PHASES if self.phases == "all" else self.phases.split(",")
        return tuple(each for each in PHASES if each in asked)

    @property
    def hash(self) -> str:
        """Twelve hex digits that change with any field, and with a plan's content: two runs of one hash were asked the same."""
        content = {"plan": content_hash(self.scheme)} if names_plan(self.scheme) else {}
        asked = self.to_dict() | content
        if self.parallel is None:
            # As it was before there were ranks: a sweep goes on with the cells that it has.
            del asked["parallel"]
        canonical = json.dumps(asked, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]
