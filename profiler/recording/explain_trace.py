"""Tracing one part with dynamo, as `torch._dynamo.explain` does: graphs, ops, guards, breaks and recompiles of one call."""

from __future__ import annotations

import contextlib
import io
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from profiler.recording.explain_breaks import Break, collect_breaks

Call = Callable[..., Any]
Kwargs = dict[str, Any]


@dataclass
class Traced:
    """What dynamo made of one call; `error` is what stopped it, if anything did."""

    graphs: int = 0
    op_count: int = 0
    guards: int = 0
    breaks: list[Break] = field(default_factory=list)
    recompiles: list[dict[str, Any]] = field(default_factory=list)
    error: Exception | None = None


def trace(call: Call, args: tuple[Any, ...], kwargs: Kwargs) -> Traced:
    """Trace one call, and count how often each break is run into.

    `torch._dynamo.explain` knows only the breaks that end a graph, and throws away what it found when the call raises.
    """
    import torch

    torch._dynamo.reset()
    traced = Traced()
    before = compiles_so_far()
    with collect_breaks() as found:
        compiled = _compiled(call, traced)
        traced.error = _run(compiled, args, kwargs)
    traced.breaks = list(found.values())
    traced.recompiles = [{"vary": "call", **each} for each in recompiles_since(before)]
    if traced.breaks and traced.error is None:
        _count(traced.breaks, compiled, args, kwargs)
    torch._dynamo.reset()
    return traced


def _compiled(call: Call, traced: Traced) -> Call:
    import torch

    def backend(module: Any, _inputs: Any) -> Any:
        traced.graphs += 1
        traced.op_count += sum(1 for node in module.graph.nodes if node.op == "call_function")
        return module.forward

    def note(guards: Any) -> None:
        traced.guards += sum(1 for _ in guards)

    return torch._dynamo.optimize(backend, nopython=False, guard_export_fn=note)(call)  # type: ignore[no-any-return]


def _run(compiled: Call, args: tuple[Any, ...], kwargs: Kwargs) -> Exception | None:
    try:
        call_quietly(compiled, args, kwargs)
    except Exception as error:  # noqa: BLE001 - whatever the user's model raises is a result
        return error
    return None


def call_quietly(call: Call, args: tuple[Any, ...], kwargs: Kwargs) -> None:
    """One call without gradients, as pipelines make it; what the model prints is thrown away."""
    import torch

    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        call(*args, **kwargs)


def _count(breaks: list[Break], compiled: Call, args: tuple[Any, ...], kwargs: Kwargs) -> None:
    """Set how often each break's function ran in a second call: a function that breaks is never inlined into another."""
    wanted = {(each.file, each.function) for each in breaks}
    ran: Counter[tuple[str, str]] = Counter()

    def watch(frame: FrameType, event: str, _value: Any) -> None:
        if event == "call" and (frame.f_code.co_filename, frame.f_code.co_name) in wanted:
            ran[frame.f_code.co_filename, frame.f_code.co_name] += 1

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        _run(compiled, args, kwargs)
    finally:
        sys.setprofile(before)
    for each in breaks:
        each.count = max(1, ran[each.file, each.function])


def compiles_so_far() -> int:
    """How many compilations dynamo has kept metrics of."""
    from torch._dynamo.utils import get_compilation_metrics

    return len(get_compilation_metrics())


def recompiles_since(count: int) -> list[dict[str, Any]]:
    """Functions recompiled after the first `count` compilations, each with the first guard that failed and how often.

    Where a function was compiled more than once, the later reasons only say how its other versions did not fit either.
    """
    from torch._dynamo.utils import get_compilation_metrics

    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for each in get_compilation_metrics()[count:]:
        if each.recompile_reason:
            guard = each.recompile_reason.partition(": ")[2].strip() or each.recompile_reason
            place = {"function": each.co_name, "file": each.co_filename, "line": each.co_firstlineno}
            row = found.setdefault(tuple(place.values()), {"guard": guard, **place, "count": 0})
            row["count"] += 1
    return list(found.values())
