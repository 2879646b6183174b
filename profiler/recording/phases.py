"""The phases after the pipeline stands: warm-up, timed, untraced, traced, places, memory."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from functools import partial
from typing import Any

from profiler.core.spec import PHASES
from profiler.recording import trace
from profiler.recording.calls import PipelineCall, show_progress
from profiler.recording.compile_counts import count_caches, count_compiles
from profiler.recording.marks import marked
from profiler.recording.memory_workspaces import free_workspaces
from profiler.recording.module_marks import marked_modules, module_mark
from profiler.recording.outputs import Capture, first_result, save_arrays, save_image, save_video
from profiler.recording.sources import save_sources
from profiler.recording.stage import Stage
from profiler.recording.weights import describe_weights, save_weights
from profiler.rundir import layout

# Calls whose median stands for the untraced time of the traced call: a host that is busy elsewhere slows single ones down.
_UNTRACED_CALLS = 5


def run_phases(
    stage: Stage, call: PipelineCall, *, trace_steps: int, warmup: int, repeats: int, wanted: Collection[str] = PHASES
) -> None:
    """Run every phase of a pipeline that is loaded, quantized and compiled (lazily); after the warm-up those `wanted`."""
    warm_up(stage, call, trace_steps, warmup)
    run_measured(stage, call, trace_steps=trace_steps, repeats=repeats, wanted=wanted)


def run_measured(stage: Stage, call: PipelineCall, *, trace_steps: int, repeats: int, wanted: Collection[str] = PHASES) -> None:
    """Every wanted phase after the warm-up; `trace_steps` 0 makes every call a whole one."""
    if repeats and layout.TIMED in wanted:
        time_calls(stage, call, repeats)
    if layout.TRACED in wanted:
        measure_untraced(stage, call, trace_steps)
        record_trace(stage, call, trace_steps)
    if layout.PLACES_PHASE in wanted:
        record_places(stage, call)
    if layout.MEMORY_PHASE in wanted:
        record_memory(stage, call, trace_steps)
    # Offloading and compiling move weights: the addresses that count are those of the memory phase.
    stage.save(layout.WEIGHTS, partial(save_weights, call.pipe))
    note_workspaces(stage)
    stage.save(layout.SOURCES, partial(save_sources, stage.folder))


def warm_up(stage: Stage, call: PipelineCall, steps: int, warmup: int) -> None:
    """Compile and warm every cache; the last call's latents are kept for quality comparisons."""
    capture = Capture()
    show_progress(call.pipe, stage.rank == 0)
    with stage.phase(layout.WARMUP) as phase:
        durations = [call.timed(steps)[0] for _ in range(warmup)]
        with capture.watching(call.pipe):
            durations.append(call.timed(steps)[0])
        phase.detail = {"calls_ns": durations, "steps": steps, "first_call_ns": durations[0]}
    show_progress(call.pipe, False)
    after_warm_up(stage, capture)


def after_warm_up(stage: Stage, capture: Capture | None) -> None:
    """Keep what the warm-up showed: compile counts, captured tensors, the memory history so far."""
    stage.manifest.applied |= count_compiles() | {"caches": count_caches()}
    if capture is not None and capture.arrays() and stage.rank == 0:
        stage.manifest.applied["output"] = {"finite": capture.finite, "steps": capture.steps}
        stage.writer.try_artifact(layout.OUTPUT_TENSORS, partial(save_arrays, capture.arrays()))
    if stage.history.on:
        # Switching the history off empties it: what it knows of load and quantize is saved first.
        stage.save_history(layout.MEMORY_LOAD)


def time_calls(stage: Stage, call: PipelineCall, repeats: int) -> None:
    """The timed phase: full calls with nothing recorded."""
    output: Any = None
    with stage.phase(layout.TIMED), stage.nothing_recorded():
        durations = []
        for _ in range(repeats):
            stage.line_up()
            duration, output = call.timed()
            durations.append(duration)
    stage.manifest.timed = {"iterations_ns": durations, "steps": call.steps}
    if stage.rank == 0:
        _save_result(stage, output)


def measure_untraced(stage: Stage, call: PipelineCall, steps: int) -> None:
    """Calls as long as the traced one with nothing recorded: what a trace's times are scaled to."""
    with stage.phase(layout.UNTRACED), stage.nothing_recorded():
        durations = sorted(_lined_up(stage, call, steps) for _ in range(_UNTRACED_CALLS))
    stage.manifest.untraced = {"dur_ns": durations[len(durations) // 2], "calls_ns": durations, "steps": steps}


def record_trace(stage: Stage, call: PipelineCall, steps: int) -> None:
    """The priced trace: shapes, no stacks, marks for text encoding, steps and decoding."""
    trace.warm_up_profiler(stage.device)
    with stage.history.paused(), stage.phase(layout.TRACED), trace.tracing(stage.device) as profiler:
        stage.line_up()
        with marked(call.pipe):
            duration, _ = call.timed(steps)
    stage.manifest.traced = {"dur_ns": duration, "steps": steps}
    stage.save(layout.TRACE, partial(trace.save_trace, profiler))


def record_places(stage: Stage, call: PipelineCall) -> None:
    """One step with Python stacks: where in the source each launch comes from."""
    paused, phase = stage.history.paused(), stage.phase(layout.PLACES_PHASE)
    with paused, phase, trace.tracing(stage.device, stacks=True) as profiler:
        stage.line_up()
        with marked(call.pipe):
            call(1)
    stage.save(layout.PLACES, partial(trace.save_trace, profiler))


def record_memory(stage: Stage, call: PipelineCall, steps: int) -> None:
    """One short call with the module of every allocation: CUDA history with stacks; on a CPU the profiler's memory events."""
    graphs = count_compiles()["graphs"]
    if stage.device != "cuda":
        with stage.phase(layout.MEMORY_PHASE) as phase, trace.tracing(stage.device, memory=True) as profiler:
            _call_marked(stage, call, steps)
        stage.save(layout.MEMORY_TRACE, partial(trace.save_trace, profiler))
    else:
        stage.history.start()
        with stage.phase(layout.MEMORY_PHASE) as phase:
            _call_marked(stage, call, steps)
        stage.save_history(layout.MEMORY)
        stage.history.stop()
    # The marks must not make dynamo compile anything: what is not 0 here is a fault of this recording.
    phase.detail["compiled_graphs"] = count_compiles()["graphs"] - graphs


def _lined_up(stage: Stage, call: PipelineCall, steps: int) -> int:
    stage.line_up()
    return call.timed(steps)[0]


def _call_marked(stage: Stage, call: PipelineCall, steps: int) -> None:
    mark = module_mark(stage.device)
    if mark is None:
        stage.manifest.lose("modules of allocations", "this torch has no torch.cuda.memory._set_memory_metadata")
    stage.line_up()
    with nullcontext() if mark is None else marked_modules(call.pipe, mark), marked(call.pipe):
        call(steps)


def note_workspaces(stage: Stage) -> None:
    """What the cuBLAS libraries hold of the memory, into the memory phase's detail. It frees them: the last thing to do."""
    phase = stage.manifest.phase(layout.MEMORY_PHASE)
    if stage.device == "cuda" and phase is not None:
        phase.detail |= free_workspaces()


def note_weights(stage: Stage, pipe: Any) -> None:
    """Bytes of the weights by component, role and dtype into the manifest: true sizes, not bf16 ones."""
    totals: dict[str, int] = {}
    for row in describe_weights(pipe):
        key = f"{row['component']}/{row['role']}/{row['dtype']}"
        totals[key] = totals.get(key, 0) + row["bytes"]
    stage.manifest.applied["weight_bytes"] = totals


def _save_result(stage: Stage, output: Any) -> None:
    result = first_result(output)
    if result is None:
        stage.manifest.lose("output picture", "the pipeline's output holds no images and no frames")
        return
    kind, content = result
    if kind == "video" and stage.writer.try_artifact(layout.OUTPUT_VIDEO, partial(save_video, content)):
        return
    stage.writer.try_artifact(layout.OUTPUT_IMAGE, partial(save_image, content[0] if kind == "video" else content))
