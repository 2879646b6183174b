"""Recording a pipeline that the user built: `with profiler.record(pipe, out=...) as session: pipe(...)`."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from profiler.core.errors import UsageError
from profiler.core.spec import RunSpec
from profiler.recording import phases
from profiler.recording.calls import PipelineCall
from profiler.recording.ceilings import measure_ceilings
from profiler.recording.device import find_hardware
from profiler.recording.environment import describe_environment, describe_switches
from profiler.recording.quiet import set_quiet_environment
from profiler.recording.runner import save_graph_break_registry, start_manifest
from profiler.recording.sparse_products import note_sparse_products
from profiler.recording.stage import Stage
from profiler.rundir import layout
from profiler.rundir.writer import RunWriter

_STEPS = "num_inference_steps"


class record:
    """Record what a pipeline's call does.

    Calls made inside the `with` run as they are (they are the warm-up: what compiles, compiles there, and the compile
    log hears it). On leaving, the last of them is made again, with the same arguments and the same random numbers,
    for the timed, untraced, traced, places and memory phases.

    Args:
        pipe: a diffusers pipeline, on the device where it runs, quantized and compiled as the user likes.
        out: the run directory to create; refused if it exists.
        trace_steps: denoising steps of the untraced, traced and memory calls, where the call takes a number of steps.
        repeats: timed calls.

    Raises:
        UsageError: `out` exists, or `pipe` cannot be called.
    """

    def __init__(self, pipe: Any, *, out: str | Path, trace_steps: int = 4, repeats: int = 1) -> None:
        if not callable(pipe):
            raise UsageError(f"a {type(pipe).__name__} cannot be called", "give profiler.record the pipeline itself")
        self.pipe = pipe
        self.path = Path(out)
        self.status = "running"
        self._trace_steps, self._repeats = trace_steps, repeats
        self._calls: list[tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]] = []
        self._durations: list[int] = []

    def __enter__(self) -> record:
        # Read by the profiler at its first use; what the libraries said at their import is said.
        set_quiet_environment()
        hardware = find_hardware(_device_of(self.pipe))
        spec = RunSpec(model=type(self.pipe).__name__, scheme="as built", compile="as built", trace_steps=self._trace_steps)
        writer = RunWriter(self.path, start_manifest(spec, "profiler.record"))
        writer.manifest.environment = describe_environment(hardware)
        writer.manifest.lose("load and quantize phases", "the pipeline was built before recording began", 2)
        self._stage = Stage(writer, hardware.device)
        self._stage.history.start()
        self._stage.compile_log.attach()
        self._watch()
        self._warmup = self._stage.phase(layout.WARMUP)
        self._phase = self._warmup.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._unwatch()
        failed = error
        try:
            # Closing the warm-up phase with the user's error leaves it open in the manifest: that is where it died.
            if error is not None:
                self._leave_failed(error)
            else:
                self._warmup.__exit__(None, None, None)
                self._replay()
        except BaseException as caught:
            failed = caught
            raise
        finally:
            self.status = self._stage.close(failed)

    def _leave_failed(self, error: BaseException) -> None:
        try:
            self._warmup.__exit__(type(error), error, error.__traceback__)
        except type(error):
            return

    def _watch(self) -> None:
        """Note every call of the pipeline: Python looks `__call__` up on the class, so the object gets one of its own."""
        session, original = self, type(self.pipe)

        def call(pipe: Any, *args: Any, **kwargs: Any) -> Any:
            return session._note(original, pipe, args, kwargs)

        self._original = original
        self.pipe.__class__ = type(original.__name__, (original,), {"__call__": call, "__module__": original.__module__})

    def _unwatch(self) -> None:
        self.pipe.__class__ = self._original

    def _note(self, original: Any, pipe: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        import time

        from profiler.recording.device import synchronize

        self._calls.append((args, dict(kwargs), _generator_states(kwargs)))
        start = time.perf_counter_ns()
        output = original.__call__(pipe, *args, **kwargs)
        synchronize(self._stage.device)
        self._durations.append(time.perf_counter_ns() - start)
        return output

    def _replay(self) -> None:
        stage = self._stage
        if not self._calls:
            raise UsageError("nothing was recorded: the pipeline was not called", "call it inside the `with` block")
        first = self._durations[0]
        self._phase.detail = {"calls_ns": self._durations, "first_call_ns": first}
        args, kwargs, states = self._calls[-1]
        steps = kwargs.get(_STEPS)
        if steps is None:
            stage.manifest.lose("short calls", f"the call gives no {_STEPS}: every phase makes the whole call")
        call = _ReplayedCall(self.pipe, args, kwargs, states, stage.device)
        stage.manifest.spec["steps"] = steps
        stage.manifest.applied["compiled"] = compiled_modules(self.pipe)
        phases.after_warm_up(stage, None)
        phases.note_weights(stage, self.pipe)
        stage.save(layout.GRAPH_BREAK_REGISTRY, save_graph_break_registry)
        short = min(self._trace_steps, steps) if isinstance(steps, int) else 0
        phases.run_measured(stage, call, trace_steps=short, repeats=self._repeats)
        stage.manifest.environment["switches"] = describe_switches()
        note_sparse_products(stage.manifest)
        measure_ceilings(stage.device).note(stage.manifest)


class _ReplayedCall(PipelineCall):
    """The user's call, again: positional arguments kept, generators set back to where they stood."""

    def __init__(self, pipe: Any, args: tuple[Any, ...], kwargs: dict[str, Any], states: dict[str, Any], device: str) -> None:
        super().__init__(pipe, self._again, int(kwargs.get(_STEPS) or 0), device)
        self._args, self._kwargs, self._states = args, kwargs, states

    def _again(self, steps: int) -> dict[str, Any]:
        for name, saved in self._states.items():
            given = self._kwargs[name]
            for generator, state in zip(given if isinstance(given, list) else [given], saved, strict=True):
                generator.set_state(state)
        return self._kwargs | ({_STEPS: steps} if _STEPS in self._kwargs and steps else {})

    def positional(self) -> tuple[Any, ...]:
        return self._args


def _generator_states(kwargs: dict[str, Any]) -> dict[str, Any]:
    import torch

    found = {}
    for name, value in kwargs.items():
        many = value if isinstance(value, list) else [value]
        if many and all(isinstance(each, torch.Generator) for each in many):
            found[name] = [each.get_state() for each in many]
    return found


def _device_of(pipe: Any) -> str:
    # Under an offload the weights lie on the CPU and run elsewhere: diffusers knows where.
    device = getattr(pipe, "_execution_device", None) or getattr(pipe, "device", None)
    return "cuda" if getattr(device, "type", "") == "cuda" else "cpu"


def compiled_modules(pipe: Any) -> list[str]:
    """Names of the modules of a pipeline that `torch.compile` was applied to, in place or as a wrapper."""
    import torch

    from profiler.recording.weights import components

    names = []
    for part, component in components(pipe).items():
        for name, module in component.named_modules():
            wrapped = isinstance(module, torch._dynamo.eval_frame.OptimizedModule)
            if wrapped or getattr(module, "_compiled_call_impl", None) is not None:
                names.append(f"{part}.{name}".rstrip("."))
    return names
