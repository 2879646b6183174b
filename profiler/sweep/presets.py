"""Presets: sweeps with a name. The seed's are its rows, as combinations of today's options."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from typing import Any, Protocol

from profiler.core.errors import UsageError
from profiler.core.plan_file import names_plan
from profiler.core.spec import RunSpec
from profiler.sweep.grid import Grid
from profiler.sweep.preload import visible_capabilities

# What the seed calls a quantization, where we call it otherwise. Its `fp8` of CogVideoX runs faster than its bf16, as only
# dynamic schemes do, and holds less than its row-wise rows: one scale a tensor.
SEED_NAMES = {"None": "bf16", "fp8": "fp8dq", "fp6": "fp6_e3m2"}
# The CogVideoX rows hold a quantized T5 too; a plan of autoquant names the transformer's layers alone.
AUTOQUANT = "autoquant"
_TEXT_LEFT = ("bf16", "fp16", AUTOQUANT)


class Group(Protocol):
    """Which cells of a preset come first on a kind of GPU: the lowest number."""

    def __call__(self, spec: RunSpec, /, gpu: str) -> int: ...


_OFF, _BOTH = (False,), (False, True)
_A100 = (8, 0)


@dataclass(frozen=True)
class _Rows:
    """Rows of the seed that are every combination of these values."""

    schemes: str
    batch: Sequence[int] = (1,)
    compiled: Sequence[bool] = _BOTH
    compile_vae: Sequence[bool] = _OFF
    fuse_qkv: Sequence[bool] = _BOTH


# FLUX.1-dev on the H100: 77 rows. `sparsify` is the seed's int8dq with 2:4 sparsity.
_FLUX = (
    _Rows("bf16", (1, 4, 8), fuse_qkv=_OFF),
    _Rows("bf16", (16,), _OFF, fuse_qkv=_OFF),
    _Rows("fp8dq int8dq fp8wo int8wo", (1, 4, 8)),
    _Rows("fp8dqrow", (1, 4), (True,), _BOTH),
    _Rows("fp8dq", (16,), (True,)),
    _Rows("fp8dq", (16,), (True,), (True,), _OFF),
    _Rows("fp8dqrow", (16,), (True,), _BOTH, _OFF),
    _Rows("fp6_e3m2", (16,), (True,)),
    _Rows("fp6_e3m2", (16,), (True,), (True,), _OFF),
    _Rows("fp4_e2m1", (16,), (True,), fuse_qkv=(True,)),
    _Rows("fp4_e2m1", (16,), (True,), (True,), _OFF),
    _Rows("sparsify", (16,), (True,), _BOTH),
)
_SMALL = "fp6_e3m2 fp5_e2m2 fp4_e2m1"
_COG = {
    ("cogvideox-5b", "H100"): (
        _Rows("bf16 fp16 fp8dq int8wo int4dq", fuse_qkv=(True,)),
        _Rows("fp8dqrow"),
        _Rows("int8dq", compiled=(True,), fuse_qkv=(True,)),
        _Rows("int4wo", compiled=_OFF, fuse_qkv=(True,)),
    ),
    ("cogvideox-5b", "A100"): (
        _Rows(f"bf16 fp16 int8wo int8dq int4wo int4dq autoquant {_SMALL}"),
        _Rows("sparsify", compiled=_OFF),
    ),
    ("cogvideox-2b", "A100"): (
        _Rows("bf16 fp16 int8wo int8dq int4wo int4dq autoquant fp6_e3m2"),
        _Rows("sparsify", compiled=_OFF),
    ),
}


@dataclass(frozen=True)
class Preset:
    """A sweep with a name.

    Attributes:
        model: what it is a sweep of, where the user names none.
        specs: (base spec, compile modes asked for or none) -> the cells' specs.
        defaults: of the options that all cells share, those that are not as they are without the preset.
        group: what comes first on this machine's kind of GPU; None where the order alone decides.
    """

    name: str
    summary: str
    model: str
    specs: Callable[[RunSpec, Sequence[str]], list[RunSpec]]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    group: Group | None = None


def _expand(rows: Iterable[_Rows], base: RunSpec, modes: Sequence[str]) -> list[RunSpec]:
    """Rows as specs; a compiled row stands for each of the compile modes."""
    made = []
    for each in rows:
        for scheme, batch, compiled, vae, fused in product(
            each.schemes.split(), each.batch, each.compiled, each.compile_vae, each.fuse_qkv
        ):
            row = replace(base, scheme=scheme, batch=batch, compile_vae=vae, fuse_qkv=fused)
            made += [replace(row, compile=mode) for mode in (modes if compiled else ("none",))]
    return list(dict.fromkeys(made))


def _modes(asked: Sequence[str]) -> Sequence[str]:
    """What a compiled row stands for; nothing where eager rows alone are asked for."""
    return [each for each in asked or ["regional"] if each != "none"]


def _flux(base: RunSpec, asked: Sequence[str]) -> list[RunSpec]:
    return _expand(_FLUX, base, _modes(asked))


def _cogvideox(base: RunSpec, asked: Sequence[str]) -> list[RunSpec]:
    """The H100's rows of a model, and what the seed only measured on an A100."""
    found = [rows for gpu in ("H100", "A100") for rows in _COG.get((base.model, gpu), ())]
    if not found:
        models = sorted({model for model, _ in _COG})
        raise UsageError(f"the seed has no rows of {base.model}", f"the preset is for: {', '.join(models)}")
    specs = _expand(found, base, _modes(asked))
    return [replace(each, quantize_text_encoder=each.scheme not in _TEXT_LEFT) for each in specs]


def _cogvideox_group(spec: RunSpec, /, gpu: str) -> int:
    """The rows that the seed has from this kind of GPU first: there is a time to hold theirs against."""
    rows = _expand(_COG.get((spec.model, gpu), ()), RunSpec(model=spec.model), ("regional",))
    return int(_row(spec) not in map(_row, rows))


def _row(spec: RunSpec) -> tuple[Any, ...]:
    scheme = AUTOQUANT if names_plan(spec.scheme) else spec.scheme
    return scheme, spec.compile != "none", spec.compile_vae, spec.fuse_qkv, spec.batch


@cache
def gpu_here() -> str:
    """Which of the seed's GPUs this machine's is most like: A100, or H100 where it is another, or none."""
    try:
        found = set(visible_capabilities())
    except (OSError, subprocess.SubprocessError, ValueError):
        found = set()
    return "A100" if found == {_A100} else "H100"


def _quick(base: RunSpec, asked: Sequence[str]) -> list[RunSpec]:
    return Grid(schemes=("bf16", "int8wo", "int8dq"), compile=asked or ("none",), switches=("fuse_qkv",)).specs(base)


_QUICK = {"steps": 2, "height": 64, "width": 64, "trace_steps": 1, "warmup": 0}
PRESETS = {
    each.name: each
    for each in (
        Preset("seed-flux", "the seed's 77 rows of FLUX.1-dev", "flux-dev", _flux),
        Preset(
            "seed-cogvideox",
            "the seed's rows of CogVideoX-5b or 2b",
            "cogvideox-5b",
            _cogvideox,
            group=_cogvideox_group,
        ),
        Preset("quick", "six eager cells, seconds each on a CPU", "flux-tiny", _quick, _QUICK),
    )
}


def with_plans(specs: Iterable[RunSpec], plans: Sequence[str]) -> list[RunSpec]:
    """Rows of autoquant with plans in its place, where there are any: what the seed's autoquant chose is gone."""
    made = []
    for each in specs:
        stand_in = plans if plans and each.scheme == AUTOQUANT else [each.scheme]
        made += [replace(each, scheme=name) for name in stand_in]
    return made


def with_defaults(preset: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given (None: not given), and the preset's own of the others: fields of a spec.

    Raises:
        UsageError: there is no such preset.
    """
    own = find_preset(preset).defaults if preset else {}
    return {**own, **{name: value for name, value in given.items() if value is not None}}


def find_preset(name: str) -> Preset:
    """A preset by name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"no preset is called {name!r}", f"choose from: {', '.join(PRESETS)}")
    return PRESETS[name]
