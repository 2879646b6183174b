"""The process that runs Holistic Trace Analysis: the only module that imports it, with pandas and a hundred packages behind it.

It reads one rank after the other and tells each result as soon as there is one; it may fail, run out of memory or be ended,
and takes nobody with it. `hta` starts it and hears it.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from profiler.rundir import layout
from profiler.tables.hta_answer import (
    CRITICAL_PATH,
    IDLE,
    LATE_KERNEL_US,
    LAUNCHES,
    OVERLAP,
    QUEUE,
    SLOW_CALL_US,
    TEMPORAL,
)
from profiler.tables.hta_copy import numbered

_NO_GPU = "the trace holds no GPU event, and HTA analyses those alone"
# Of the trace format; our own table of them would bring polars with it.
_ANNOTATION, _BUSY = "user_annotation", ("kernel", "gpu_memcpy", "gpu_memset")
# The second half of a warning: an address for who writes traces.
_UNSAID = "Please see this PR"
_WHY_CHARS, _NOTE_CHARS, _NOTES = 300, 160, 8
_ANSWER_BYTES = 1 << 28
_QUANTILES = {"min": "least", "25%": "q25", "50%": "median", "75%": "q75", "max": "most"}
Row = dict[str, Any]


class NothingFound(Exception):
    """An analysis that ran and gave nothing; the message says why, as far as HTA does."""


def main(request: Path, answer: Path) -> None:
    """Run what `request` asks for; `answer` takes a JSON object a line."""
    asked = json.loads(request.read_text(encoding="utf-8"))
    _limit(asked["memory_bytes"], asked["cpu_s"])
    with answer.open("a", encoding="utf-8") as out:

        def tell(**fact: Any) -> None:
            out.write(json.dumps(fact, allow_nan=False) + "\n")
            out.flush()

        for each in asked["ranks"]:
            _rank(each["rank"], each["trace"], each["analyses"], tell)


def _limit(memory_bytes: int, cpu_s: int) -> None:
    """From here on this process takes no more than that, and writes no file larger than its answer may be."""
    limits = {
        resource.RLIMIT_DATA: memory_bytes,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: _ANSWER_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _rank(rank: int, trace: str, analyses: list[str], tell: Callable[..., None]) -> None:
    """Read one rank's trace, and run what is asked of it."""
    tell(begins=[rank, None])
    try:
        loaded, copied = _load(rank, Path(trace))
    except Exception as error:  # noqa: BLE001 - whatever HTA raises is the reason why this rank is left out
        tell(rank=rank, analysis=None, why=_why(error))
        return
    about = copied + _strays(loaded, rank)
    for name in analyses:
        tell(begins=[rank, name])
        began = time.monotonic()
        with _warnings() as notes:
            try:
                result: Row = {"rows": _RUN[name](loaded, rank)}
            except Exception as error:  # noqa: BLE001 - the other analyses still come
                result = {"why": _why(error), "lasting": not isinstance(error, MemoryError)}
        tell(rank=rank, analysis=name, notes=[*notes, *about], seconds=round(time.monotonic() - began, 3), **result)


def _load(rank: int, trace: Path) -> tuple[Any, list[str]]:
    """HTA's view of one rank, and what had to be changed for that."""
    try:
        return _read(rank, trace), []
    except (TypeError, ValueError, LookupError) as error:
        copy = Path(f"rank{rank}.json.gz").absolute()
        try:
            changed = numbered(trace, copy)
        except (OSError, EOFError, ValueError):
            changed = 0
        if not changed:
            raise
        why = f"HTA cannot read the trace as it is ({_why(error)}): it was given a copy with {changed} events mended"
        return _read(rank, copy), [why]


def _read(rank: int, trace: Path) -> Any:
    """The rank is ours to give: HTA would take it from `distributedInfo`, and 0 where there is none."""
    from hta.trace_analysis import TraceAnalysis

    loaded = TraceAnalysis(trace_files={rank: str(trace)}, include_last_profiler_step=True)
    if rank not in loaded.t.traces:
        raise NothingFound("HTA finds no event in it that it can analyse")
    return loaded


def _strays(loaded: Any, rank: int) -> list[str]:
    """What HTA takes for kernels because it carries a stream: host operators (every launch by Triton does so), waits, ..."""
    events, names = loaded.t.traces[rank], loaded.t.symbol_table.get_sym_table()
    if "stream" not in events:
        return []
    counts = events[events["stream"].ne(-1)]["cat"].value_counts()
    strays = {names[number]: int(count) for number, count in counts.items() if names[number] not in _BUSY}
    what = ", ".join(f"{count} {name}" for name, count in sorted(strays.items()))
    return [f"HTA takes events that carry a stream and are no kernel for kernels: {what}"] if strays else []


def _temporal(loaded: Any, rank: int) -> list[Row]:
    (row,) = _records(_on_gpu(loaded, rank).get_temporal_breakdown(visualize=False))
    parts = ("compute", "non_compute", "idle")
    return [{"span_us": row["kernel_time(us)"]} | {f"{name}_us": row[f"{name}_time(us)"] for name in parts}]


def _overlap(loaded: Any, rank: int) -> list[Row]:
    (row,) = _records(_on_gpu(loaded, rank).get_comm_comp_overlap(visualize=False))
    percent = row["comp_comm_overlap_pctg"]
    return [{"overlap_share": None if percent is None else percent / 100}]


def _idle(loaded: Any, rank: int) -> list[Row]:
    found, _ = _on_gpu(loaded, rank).get_idle_time_breakdown(ranks=[rank], visualize=False)
    whole = found.groupby("stream")["idle_time"].transform("sum")
    # Its own ratio is rounded to whole percent.
    found = found.assign(share=(found["idle_time"] / whole).where(whole > 0))
    names = {"stream": "stream", "idle_category": "category", "idle_time": "idle_us", "share": "share"}
    return _records(found[list(names)].rename(columns=names))


def _launches(loaded: Any, rank: int) -> list[Row]:
    """One row: how many launches, what they take, and HTA's three kinds of outliers among them."""
    found = _on_gpu(loaded, rank).get_cuda_kernel_launch_stats(ranks=[rank], visualize=False)[rank]
    if found.empty:
        raise NothingFound("HTA finds no kernel whose launch the trace holds")
    call, kernel, delay = found["cpu_duration"], found["gpu_duration"], found["launch_delay"]
    row: Row = {"launches": len(found)}
    for name, column in (("call", call), ("kernel", kernel), ("delay", delay)):
        row |= {f"{name}_mean_us": float(column.mean()), f"{name}_median_us": float(column.median())}
    row |= {
        "short_kernels": int((kernel < call).sum()),
        "slow_calls": int((call > SLOW_CALL_US).sum()),
        "late_kernels": int((delay > LATE_KERNEL_US).sum()),
    }
    return [row]


def _queue(loaded: Any, rank: int) -> list[Row]:
    found = _on_gpu(loaded, rank).get_queue_length_summary(ranks=[rank])
    if found is None:
        raise NothingFound("HTA finds no launch to count")
    found = found["queue_length"].reset_index().rename(columns=_QUANTILES | {"count": "samples"})
    names = ("stream", "samples", "mean", "std", *_QUANTILES.values())
    return [{name: row[name] for name in names} for row in _records(found)]


def _critical_path(loaded: Any, rank: int) -> list[Row]:
    """One row a bound: how much of the path it is, and the event with most of it."""
    window, annotation, instance = _window(_on_gpu(loaded, rank), rank)
    found = loaded.critical_path_analysis(rank, annotation, instance)
    if found is None or not found[1]:
        raise NothingFound("HTA finds no path from begin to end")
    edges = found[0].get_critical_path_breakdown()
    if edges is None:
        raise NothingFound("HTA's critical path is empty")
    whole = float(edges["duration"].sum())
    rows = []
    for bound, of in edges[edges["duration"] > 0].groupby("bound_by"):
        names = of.groupby("s_name")["duration"].sum().sort_values(ascending=False)
        dur_us = float(of["duration"].sum())
        row = {"window": window, "bound_by": str(bound) or "other", "count": len(of), "dur_us": dur_us, "share": dur_us / whole}
        rows.append(row | ({"longest": str(names.index[0]), "longest_us": float(names.iloc[0])} if len(names) else {}))
    return sorted(rows, key=lambda row: -row["dur_us"])


def _window(loaded: Any, rank: int) -> tuple[str, str, int]:
    """What the critical path is of: the second step where the trace marks several (the first lacks what came before it), else the
    only one, else all of it. HTA wants a part of a name, and which of the spans whose names hold it."""
    events, symbols = loaded.t.traces[rank], loaded.t.symbol_table.get_sym_id_map()
    for prefix in (layout.MARK_STEP, "ProfilerStep#"):
        ids = {number: name for name, number in symbols.items() if prefix in name}
        spans = events[events["name"].isin(ids)]
        # The device has spans of the same names, later ones.
        on_host = spans[spans["cat"].eq(symbols.get(_ANNOTATION, -1))].sort_values("ts")
        if len(on_host):
            chosen = on_host.index[min(1, len(on_host) - 1)]
            return ids[on_host.loc[chosen, "name"]], prefix, list(spans.index).index(chosen)
    return "whole trace", "", 0


def _on_gpu(loaded: Any, rank: int) -> Any:
    """The same, where there is anything on a GPU."""
    events = loaded.t.traces[rank]
    if "stream" not in events or not events["stream"].ge(0).any():
        raise NothingFound(_NO_GPU)
    return loaded


def _records(frame: Any) -> list[Row]:
    """A frame's rows, numbers as Python's own; what is no number becomes None."""
    found: list[Row] = json.loads(frame.to_json(orient="records", double_precision=6))
    return found


_RUN: dict[str, Callable[[Any, int], list[Row]]] = {
    TEMPORAL: _temporal,
    OVERLAP: _overlap,
    IDLE: _idle,
    LAUNCHES: _launches,
    QUEUE: _queue,
    CRITICAL_PATH: _critical_path,
}


def _why(error: Exception) -> str:
    """One line; HTA's own errors are those of pandas, and say little without their type."""
    lines = str(error).strip().splitlines()
    text = " ".join(lines[0].split())[:_WHY_CHARS] if lines else ""
    if isinstance(error, NothingFound):
        return text
    if isinstance(error, MemoryError):
        return "it takes more memory than it may"
    return f"HTA raised {type(error).__name__}" + (f": {text}" if text else "")


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """What HTA logs as a warning or an error, once each."""
    heard: list[str] = []
    handler = logging.Handler(logging.WARNING)

    def keep(record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())[:_NOTE_CHARS]
        if text not in heard and len(heard) < _NOTES and not text.startswith(_UNSAID):
            heard.append(text)

    handler.emit = keep  # type: ignore[method-assign]
    logger = logging.getLogger("hta")
    logger.addHandler(handler)
    try:
        yield heard
    finally:
        logger.removeHandler(handler)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    # Frames and graphs of millions of objects would be freed one by one.
    sys.stderr.flush()
    os._exit(0)
