"""What a model is, and the registry of models. No torch at import."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from profiler.core.errors import UsageError
from profiler.core.registry import Registry
from profiler.core.spec import RunSpec

MODELS: Registry[Model] = Registry("model", "profiler.models")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A pipeline that diffuscope can build and call.

    Attributes:
        build: (device, dtype, seed) -> a pipeline with random weights, a function of the model and the seed alone.
        load: (directory or repository, dtype) -> the pipeline with real weights, on the CPU.
        call_kwargs: (spec, steps) -> keyword arguments of one pipeline call.
        rows: (spec, pipeline) -> M of every Linear by component and name, found on the meta device.
        inputs: (spec, part, component, text tokens or None) -> keyword arguments of one call of that part (of the VAE: of
            its `decode`), on torch's default device and dtype; None where the component's class is not known.
        defaults: values of the spec fields that the user left open.
        size_multiple: height and width must be multiples of it.
        frames_multiple: a video must have a multiple of it frames, and one.
        context_parallel: whether diffusers can spread its transformer over several ranks (`--parallel`).
        parameters: number of parameters by component, checked by the tests on the meta device.
        components: (dtype) -> the components with random or no weights, made on the current default device.
    """

    name: str
    summary: str
    build: Callable[[str, Any, int], Any]
    load: Callable[[str, Any], Any] | None
    call_kwargs: Callable[[RunSpec, int], dict[str, Any]]
    rows: Callable[[RunSpec, Any], dict[str, dict[str, int]]]
    inputs: Callable[[RunSpec, str, Any, int | None], dict[str, Any] | None]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    size_multiple: int = 16
    frames_multiple: int = 4
    makes_video: bool = False
    context_parallel: bool = False
    parameters: Mapping[str, int] = field(default_factory=dict)
    components: Callable[[], dict[str, Any]] | None = None

    def resolve(self, spec: RunSpec) -> RunSpec:
        """Fill what the user left open; refuse what this model cannot do.

        Raises:
            UsageError: a size or frame count that the model cannot take.
        """
        if spec.frames is not None and not self.makes_video:
            raise UsageError(f"{self.name} makes images, and --frames {spec.frames} was asked", "leave --frames out")
        open_fields = {name: value for name, value in self.defaults.items() if getattr(spec, name) is None}
        resolved = replace(spec, **open_fields)
        for name in ("height", "width"):
            pixels = getattr(resolved, name)
            if pixels is not None and pixels % self.size_multiple:
                raise UsageError(
                    f"{self.name} needs sizes in multiples of {self.size_multiple} pixels, and {name} is {pixels}",
                    f"the nearest is {max(1, round(pixels / self.size_multiple)) * self.size_multiple}",
                )
        if resolved.frames is not None and (resolved.frames - 1) % self.frames_multiple:
            raise UsageError(
                f"{self.name} needs {self.frames_multiple} n + 1 frames, and {resolved.frames} were asked", "for example 9 or 49"
            )
        return resolved


def find_model(name: str) -> Model:
    """A registered model, or the user's own `module:function`."""
    if ":" in name:
        from profiler.models.user import user_model

        return user_model(name)
    return MODELS.get(name)
