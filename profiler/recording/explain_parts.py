"""The parts of a pipeline that are worth compiling, and one call's inputs of each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from profiler.core.errors import DiffuscopeError, RecordedProgramFailed, UsageError
from profiler.core.spec import RunSpec
from profiler.models.base import Model
from profiler.models.random_weights import empty_weights
from profiler.models.user import accepted_kwargs, family_of

# A pipeline of unknown parts is called once at this size to see their inputs.
_TINY_PIXELS = 64


class _AllSeen(BaseException):
    """Ends the tiny call once the wanted inputs are known; no `except Exception` of a pipeline stops it."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A component as explain calls it.

    Attributes:
        inputs: (spec, text tokens or None) -> args and kwargs of one call, on the part's own device.
        remade: its inputs are made for any device; those of an unknown class are as its pipeline made them.
    """

    name: str
    module: Any
    inputs: Callable[[RunSpec, int | None], tuple[tuple[Any, ...], dict[str, Any]]]
    remade: bool = True

    @property
    def call(self) -> Any:
        """What a user compiles: the module, or `decode` of a VAE."""
        return self.module.decode if self.name.startswith("vae") else self.module

    @property
    def device(self) -> str:
        return str(next((each.device for each in self.module.parameters()), "cpu"))


def find_parts(model: Model, spec: RunSpec) -> tuple[list[Part], RunSpec, Model]:
    """The parts of a model, the spec with every open field filled, and the model whose limits hold.

    Registered models are built on the meta device: no weights, no memory.

    Raises:
        UsageError: the spec asks for what the model cannot do.
        RecordedProgramFailed: the user's function raised.
    """
    import torch

    if model.components is not None:
        with empty_weights("meta", torch.bfloat16):
            modules = model.components()
        return [_known(model, name, modules[name]) for name in _order(modules)], model.resolve(spec), model
    pipe = _build(model, "meta", spec.seed)
    family = family_of(pipe)
    limits = family or replace(model, size_multiple=16, frames_multiple=8)
    if family is None:
        spec = replace(spec, height=spec.height or _TINY_PIXELS, width=spec.width or _TINY_PIXELS)
    modules = {name: each for name, each in _components(pipe).items() if isinstance(each, torch.nn.Module)}
    real = cache(lambda: _real(model, pipe, modules, spec.seed))
    filled = limits.resolve(spec)
    return [_user_part(model, name, modules[name], filled, real) for name in _order(modules)], filled, limits


def _user_part(model: Model, name: str, module: Any, spec: RunSpec, real: Callable[[], Any]) -> Part:
    if model.inputs(spec, name, module, 1) is not None:
        return _known(model, name, module)
    return Part(name=name, module=_components(real())[name], inputs=partial(_captured, model, real, name), remade=False)


def _known(model: Model, name: str, module: Any) -> Part:
    return Part(name=name, module=module, inputs=partial(_made, model, name, module))


def _made(model: Model, name: str, module: Any, spec: RunSpec, tokens: int | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    first = next(each for each in module.parameters() if each.is_floating_point())
    with empty_weights(str(first.device), first.dtype):
        return (), model.inputs(spec, name, module, tokens) or {}


def _order(modules: dict[str, Any]) -> list[str]:
    """The denoiser first: most of the time is spent there."""
    wanted = [name for name in modules if name.startswith(("transformer", "unet", "vae", "text_encoder"))]
    return sorted(wanted, key=lambda name: (name.startswith("text_encoder"), name.startswith("vae"), name))


def select(parts: list[Part], asked: list[str]) -> list[Part]:
    """The asked parts, all where none was named.

    Raises:
        UsageError: a name that no part has.
    """
    known = [each.name for each in parts]
    unknown = [name for name in asked if name not in known]
    if unknown or not parts:
        raise UsageError(f"the pipeline has no part called {', '.join(unknown) or 'transformer'}", f"it has: {', '.join(known)}")
    return [each for each in parts if not asked or each.name in asked]


def _build(model: Model, device: str, seed: int) -> Any:
    """The user's pipeline; on the CPU where its function cannot build on the meta device."""
    import torch

    try:
        return model.build(device, torch.bfloat16, seed)
    except DiffuscopeError:
        raise
    except Exception as error:
        if device != "meta":
            raise RecordedProgramFailed(f"{model.name} raised {type(error).__name__}: {error}") from error
        return _build(model, "cpu", seed)


def _components(pipe: Any) -> dict[str, Any]:
    found = getattr(pipe, "components", None)
    raw = found if isinstance(found, dict) else vars(pipe)
    # A part that the user compiles already is explained as the module it was.
    return {name: getattr(each, "_orig_mod", each) for name, each in raw.items()}


def _real(model: Model, pipe: Any, modules: dict[str, Any], seed: int) -> Any:
    """The pipeline where it can run: built again on the CPU if it is on the meta device."""
    on_meta = any(each.is_meta for module in modules.values() for each in module.parameters())
    return _build(model, "cpu", seed) if on_meta else pipe


def _captured(model: Model, real: Callable[[], Any], name: str, spec: RunSpec, _tokens: int | None) -> Any:
    """Args and kwargs that one tiny pipeline call gives to a part."""
    pipe = real()
    module = _components(pipe)[name]
    owner, method = (module, "decode") if name.startswith("vae") else (module, "forward")
    inner, seen = getattr(owner, method), []

    def watch(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, kwargs))
        raise _AllSeen

    setattr(owner, method, watch)
    try:
        pipe(**_tiny_kwargs(model, pipe, spec))
    except _AllSeen:
        pass
    finally:
        if inspect.ismethod(inner) and inner.__self__ is owner:
            delattr(owner, method)
        else:
            setattr(owner, method, inner)
    if not seen:
        raise RecordedProgramFailed(f"the pipeline's call never reached {name}")
    return seen[0]


def _tiny_kwargs(model: Model, pipe: Any, spec: RunSpec) -> dict[str, Any]:
    if hasattr(pipe, "set_progress_bar_config"):
        pipe.set_progress_bar_config(disable=True)
    kwargs = model.call_kwargs(spec, 1)
    if spec.batch > 1:
        kwargs |= {"num_images_per_prompt": spec.batch, "num_videos_per_prompt": spec.batch}
    return accepted_kwargs(pipe, kwargs)
