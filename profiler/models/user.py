"""The user's own pipeline: `module:function` names a function that returns it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from profiler.core.errors import DiffuscopeError, UsageError
from profiler.core.imports import uncollected
from profiler.core.spec import RunSpec
from profiler.models.base import MODELS, Model

# By class of the component: the registered model that calls one of this class as its pipeline does.
_FAMILIES = {"FluxTransformer2DModel": "flux-dev", "AutoencoderKL": "flux-dev", "CLIPTextModel": "flux-dev"}
_FAMILIES |= {
    "CogVideoXTransformer3DModel": "cogvideox-5b",
    "AutoencoderKLCogVideoX": "cogvideox-5b",
    "T5EncoderModel": "flux-dev",
}
# What pipelines call the number of results of one prompt.
_BATCH = ("num_images_per_prompt", "num_videos_per_prompt")


def user_model(name: str) -> Model:
    """A Model around the user's function; the function itself is imported when the recording process builds it.

    The function takes no arguments, or any of `device`, `dtype`, `seed`, and returns a diffusers pipeline.
    """
    return Model(
        name=name,
        summary="a pipeline of the user's own",
        build=partial(_build, name),
        load=None,
        call_kwargs=_call_kwargs,
        rows=_rows,
        inputs=_inputs,
        defaults={"steps": 28},
        makes_video=True,
        size_multiple=1,
    )


def _build(name: str, device: str, dtype: Any, seed: int) -> Any:
    function = _find(name)
    offered = {"device": device, "dtype": dtype, "seed": seed}
    wanted = inspect.signature(function).parameters
    return function(**{key: value for key, value in offered.items() if key in wanted})


def refuse_no_pipeline(name: str, made: Any) -> None:
    """Raise UsageError where what the user's function returned cannot be moved and called."""
    if not callable(made) or not callable(getattr(made, "to", None)):
        raise UsageError(f"{name} returned a {type(made).__name__}, which is no pipeline", "return a diffusers pipeline")


def refuse_absent(name: str) -> None:
    """Raise UsageError where the user's module is nowhere to be found; nothing of it is imported yet."""
    package = name.partition(":")[0].partition(".")[0]
    _look_here()
    try:
        found = importlib.util.find_spec(package) is not None
    except ValueError:
        found = False
    if not found:
        raise _absent(package)


def _absent(module: str) -> UsageError:
    return UsageError(f"no module is called {module!r}", f"run the command where {module} can be imported")


def _look_here() -> None:
    # The user's module usually lies where the command was typed.
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)


def _find(name: str) -> Callable[..., Any]:
    module_name, _, function_name = name.partition(":")
    _look_here()
    try:
        with uncollected():
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not module_name.startswith(error.name):
            raise
        raise _absent(module_name) from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UsageError(f"{module_name} has no function {function_name!r}", "name one that returns a pipeline: module:function")
    return function  # type: ignore[no-any-return]


def _call_kwargs(spec: RunSpec, steps: int) -> dict[str, Any]:
    wanted = {"height": spec.height, "width": spec.width, "num_frames": spec.frames, "guidance_scale": spec.guidance}
    wanted |= dict.fromkeys(_BATCH, spec.batch) if spec.batch != 1 else {}
    return {"prompt": spec.prompt, "num_inference_steps": steps} | {k: v for k, v in wanted.items() if v is not None}


def accepted_kwargs(pipe: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments that this pipeline's call knows; a pipeline of the user's own may lack some."""
    parameters = inspect.signature(type(pipe).__call__).parameters
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return kwargs
    return {key: value for key, value in kwargs.items() if key in parameters}


def refuse_batch(pipe: Any, asked: dict[str, Any], taken: dict[str, Any]) -> None:
    """Raise UsageError where a batch was asked for, and the pipeline's call makes one picture at a time."""
    if any(key in asked for key in _BATCH) and not any(key in taken for key in _BATCH):
        raise UsageError(f"--batch needs a pipeline that takes {' or '.join(_BATCH)}", f"{type(pipe).__name__} does not")


def family_of(pipe: Any) -> Model | None:
    """The family whose transformer class the pipeline has; None where no family knows it."""
    transformer = getattr(pipe, "transformer", None)
    # What torch.compile returns wraps the module.
    name = _FAMILIES.get(type(getattr(transformer, "_orig_mod", transformer)).__name__)
    return None if name is None else MODELS.get(name)


def _rows(spec: RunSpec, pipe: Any) -> dict[str, dict[str, int]]:
    """M by the family whose transformer class it is; nothing where no family knows it (the policy then plays safe)."""
    family = family_of(pipe)
    if family is None:
        return {}
    try:
        return family.rows(family.resolve(spec), pipe)
    except (DiffuscopeError, RuntimeError, TypeError, AttributeError):
        # A variant that the family's forward does not fit: rows stay unknown, which the policy names as the reason.
        return {}


def _inputs(spec: RunSpec, part: str, component: Any, tokens: int | None) -> dict[str, Any] | None:
    """A part's inputs by the family of its class, whatever pipeline it is a part of."""
    name = _FAMILIES.get(type(component).__name__)
    return None if name is None else MODELS.get(name).inputs(spec, part, component, tokens)
