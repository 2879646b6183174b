"""Structured compile logs made on the spot, as torch writes them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

CLOCK_NS = 1_795_000_000_000_000_000


def record(kind: str, value: Any, payload: str | None = None, **header: Any) -> str:
    """One record: its header line and, indented, its payload."""
    fields = {kind: value, **header}
    if payload is not None:
        fields["has_payload"] = hashlib.md5(payload.encode(), usedforsecurity=False).hexdigest()
    line = f"V1122 13:45:39.030000 407 torch/_dynamo/some.py:17] {json.dumps(fields)}\n"
    return line if payload is None else line + "".join(f"\t{each}\n" for each in payload.split("\n"))


def ids(compile_id: str, attempt: int = 0) -> dict[str, int]:
    frame, number = compile_id.split("/")
    return {"frame_id": int(frame), "frame_compile_id": int(number), "attempt": attempt}


def artifact(name: str, payload: str, compile_id: str, attempt: int = 0) -> str:
    return record("artifact", {"name": name, "encoding": "string"}, payload, **ids(compile_id, attempt))


def string(number: int, text: str) -> str:
    return record("str", [text, number])


def start(compile_id: str, function: str = "forward", line: int = 10, filename: int = 0) -> str:
    stack = [{"line": 3, "name": "<module>", "filename": filename}, {"line": line, "name": function, "filename": filename}]
    return record("dynamo_start", {"stack": stack}, **ids(compile_id))


def span(name: str, phase: str, at_us: float, compile_id: str) -> str:
    event = {"name": name, "ph": phase, "ts": CLOCK_NS / 1000 + at_us, "args": {"compile_id": compile_id}, "tid": 0, "pid": 0}
    return record("chromium_event", {}, json.dumps(event, indent=0), **ids(compile_id))


def metrics(compile_id: str, at_us: int, dur_us: int = 500_000, **more: Any) -> str:
    """`compilation_metrics`; `at_us` counts from CLOCK_NS."""
    start_us = CLOCK_NS // 1000 + at_us
    fixed = {
        "compile_id": compile_id,
        "co_name": "forward",
        "co_filename": "model.py",
        "co_firstlineno": 10,
        "start_time_us": start_us,
        "end_time_us": start_us + dur_us,
        "duration_us": dur_us,
        "entire_frame_compile_time_s": dur_us / 1e6,
        "graph_op_count": 5,
        "guard_count": 7,
        "has_guarded_code": True,
    }
    return record("compilation_metrics", fixed | more, **ids(compile_id))


def fx_cache(state: str, key: str, compile_id: str) -> str:
    return artifact(f"fx_graph_cache_{state}", json.dumps({"key": key, "components": ["x" * 50]}), compile_id)


def graph_break(compile_id: str, line: int = 13, function: str = "forward", preamble: str = "", gb_id: str = "0124") -> str:
    """A break of one attempt, in the words of torch 2.11 and 2.13."""
    preamble = preamble or "Encountered graph break when attempting to trace CALL: a function call, e.g. f(x, y):\n"
    reason = (
        f"Graph break in user code at model.py:{line}\nGraph Break Reason: {preamble}\nUnsupported Tensor.item() call\n"
        "  Explanation: Dynamo does not trace it.\n  Hint: Capture scalars.\n  Hint: Or move it out.\n\n"
        "  Developer debug context: call_method item\n\n"
        f" For more details about this graph break, please visit: https://example.org/gb/gb{gb_id}.html\n\n"
        f'User code traceback:\n  File "run.py", line 3, in <module>\n    main()\n'
        f'  File "model.py", line {line}, in {function}\n    if x.item() > 1:\n\nTraceback (most recent call last):\n'
        '  File "torch/_dynamo/x.py", line 1, in step\n'
    )
    return artifact("dynamo_graph_break_reason", reason, compile_id)


def write(folder: Path, *records: str, name: str = "dedicated_log_torch_trace_a.log") -> Path:
    """A log folder with one file of these records."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(records), encoding="utf-8")
    return folder
