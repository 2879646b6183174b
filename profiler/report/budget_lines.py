"""Every line that a budget may hold, by its key in the file."""

from __future__ import annotations

from profiler.metrics.quality import TENSORS
from profiler.report import budget_compile, budget_memory, budget_quality, budget_scaling, budget_time
from profiler.report.budget_measure import TIME, Line

SQNR = "sqnr_db"
"""The one key that has a limit for each tensor: `sqnr_db.last_latents`."""

MEMORY, COMPILE, QUALITY = "memory", "compile", "quality"


def _peak(title: str, measure: budget_memory.Measure) -> Line:
    return Line(about=MEMORY, title=title, unit="GiB", measure=measure)


LINES: dict[str, Line] = {
    "inference_peak_gib": _peak("inference peak", budget_memory.inference_peak),
    "load_peak_gib": _peak("load peak, quantizing included", budget_memory.load_peak),
    "quantize_peak_gib": _peak("quantize peak", budget_memory.quantize_peak),
    "since_start_peak_gib": _peak("peak since start", budget_memory.since_start_peak),
    "model_gib": _peak("model memory", budget_memory.model),
    "step_growth_mib": Line(about=MEMORY, title="growth a step", unit="MiB", measure=budget_memory.step_growth),
    "call_ms": Line(about=TIME, title="time a call", unit="ms", measure=budget_time.call, whole_run=True),
    "time_ratio": Line(about=TIME, title="time a call over the base's", unit="x", measure=budget_time.ratio, whole_run=True),
    "floor_ratio": Line(about=TIME, title="time a step over its floor", unit="x", measure=budget_time.floor_ratio),
    "unexplained_share": Line(
        about=TIME, title="unexplained share of a step", unit="share", measure=budget_time.unexplained, most=1.0
    ),
    "exposed_communication_share": Line(
        about=TIME, title="exposed communication, share of a step", unit="share", measure=budget_scaling.exposed, most=1.0
    ),
    "waiting_share": Line(
        about=TIME, title="waiting for a slower rank, share of a step", unit="share", measure=budget_scaling.waiting, most=1.0
    ),
    "scaling_efficiency": Line(
        about=TIME,
        title="speed-up over the base by ranks",
        unit="share",
        measure=budget_scaling.efficiency,
        least=True,
        whole_run=True,
    ),
    "host_syncs_in_step": Line(about=TIME, title="host syncs in a step", unit="", measure=budget_time.host_syncs, whole=True),
    "graph_breaks": Line(about=COMPILE, title="graph breaks", unit="", measure=budget_compile.breaks, whole=True),
    "recompiles": Line(about=COMPILE, title="recompiles", unit="", measure=budget_compile.all_recompiles, whole=True),
    "recompiles_in_step": Line(
        about=COMPILE, title="recompiles in a step", unit="", measure=budget_compile.recompiles_in_steps, whole=True
    ),
    **{
        f"{SQNR}.{tensor}": Line(
            about=QUALITY,
            title=f"SQNR, {tensor.replace('_', ' ')}",
            unit="dB",
            measure=budget_quality.sqnr_of(tensor),
            least=True,
            whole_run=True,
        )
        for tensor in TENSORS
    },
    "psnr_db": Line(
        about=QUALITY, title="PSNR of the picture", unit="dB", measure=budget_quality.picture, least=True, whole_run=True
    ),
}
