"""Idle time with a cause of its own: allocator, pageable copies, Python between steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from profiler.core.finding import Finding, Saving
from profiler.metrics.host_states import ALLOCATION, PAGEABLE_COPY
from profiler.metrics.ledger_segments import PYTHON_BETWEEN_STEPS
from profiler.metrics.places import Calls
from profiler.rules.base import GPU_TRACE, RULES, Rule
from profiler.rules.context import STEP, Context
from profiler.rules.host_sync import places

_LEAST_IN_A_CALL = 0.005


@dataclass(frozen=True)
class _Cause:
    name: str
    label: str
    title: str
    change: str
    calls: frozenset[str]
    least: float
    # Busy rows that are of the same cause, by their kernel.
    kernels: str = ""


_CAUSES = (
    _Cause(
        "allocator-in-step",
        ALLOCATION,
        "the allocator asks the driver for memory inside a",
        "PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True, a warm-up call of the same shapes, or less memory",
        frozenset({"cudaMalloc", "cudaFree"}),
        0.0,
    ),
    _Cause(
        "pageable-copy",
        PAGEABLE_COPY,
        "a copy from pageable memory inside a",
        "make the tensor on the GPU, or pin it (pin_memory()) and copy with non_blocking=True",
        frozenset({"cudaMemcpyAsync"}),
        # Any call copies its prompt, latents and timesteps before the first step.
        0.01,
        "Memcpy HtoD (Pageable",
    ),
    _Cause(
        "idle-between-steps",
        PYTHON_BETWEEN_STEPS,
        "the GPU idles for the Python before a",
        "make the callback or scheduler work between steps smaller, or move it after the loop",
        frozenset(),
        0.01,
    ),
)


def _check(cause: _Cause, context: Context) -> Iterable[Finding]:
    window = context.main
    rows = context.select(window, lambda row: row.kind == "idle" and row.label == cause.label)
    copies = context.select(window, lambda row: row.kind == "busy" and bool(cause.kernels) and cause.kernels in row.detail)
    cost = sum(row.priced_ns for row in (*rows, *copies))
    # A whole call copies its prompt and latents once, and may allocate: only there, little is no fault.
    least = cause.least if window == STEP else max(cause.least, _LEAST_IN_A_CALL)
    if rows and cost >= least * context.duration_ns(window):
        traced = sum(row.total_ns for row in rows) / 1e3
        yield Finding(
            rule=cause.name,
            title=f"{cause.title} {window}",
            window=window,
            claims=tuple(row.id for row in (*rows, *copies)),
            saving=Saving(share_low=0.7, share_high=1.1),
            where=places(context.callers(Calls(cause.calls, window))) if cause.calls else (),
            count=max(1, round(sum(row.count for row in rows))),
            evidence=(
                f"{traced:,.0f} us idle a {window} as traced: {', '.join(sorted({row.detail for row in rows if row.detail}))}",
                *(f"{row.count:.0f} x {row.detail}: {row.total_ns / 1e3:,.0f} us a {window}" for row in copies),
            ),
            change=cause.change,
        )


def _register(cause: _Cause) -> None:
    def check(context: Context) -> Iterable[Finding]:
        return _check(cause, context)

    RULES.add(cause.name, Rule(name=cause.name, summary=f"{cause.title} step", check=check, needs=(GPU_TRACE,), priority=15))


for _cause in _CAUSES:
    _register(_cause)
