"""The shapes of a compile log's headers and payloads, as far as any table needs them; other fields are skipped."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field


class StackFrame(Struct, gc=False):
    """A frame of `dynamo_start`; `filename` is a number of the log's string table."""

    line: int = 0
    name: str = ""
    filename: int = -1


class Start(Struct, gc=False):
    """A `dynamo_start` header."""

    stack: list[StackFrame] = field(default_factory=list)


class Metrics(Struct, gc=False):
    """A `compilation_metrics` header (also of a backward or a run-time one). Names end in the unit that torch gives them in."""

    compile_id: str | None = None
    co_name: str | None = None
    co_filename: str | None = None
    co_firstlineno: int | None = None
    cache_size: int | None = None
    guard_count: int | None = None
    guard_latency_us: int | None = None
    graph_op_count: int | None = None
    start_time: float | None = None
    start_time_us: int | None = None
    end_time_us: int | None = None
    duration_us: int | None = None
    entire_frame_compile_time_s: float | None = None
    backend_compile_time_s: float | None = None
    inductor_compile_time_s: float | None = None
    code_gen_time_s: float | None = None
    triton_compile_time_us: int | None = None
    dynamo_time_before_restart_s: float | None = None
    recompile_reason: str | None = None
    fail_type: str | None = None
    fail_reason: str | None = None
    has_guarded_code: bool | None = None
    cudagraph_skip_reason: str | None = None
    pytorch_version: str | None = None

    @property
    def start_ns(self) -> int | None:
        """Epoch nanoseconds."""
        if self.start_time_us is not None:
            return self.start_time_us * 1000
        return None if self.start_time is None else int(self.start_time * 1e6) * 1000

    @property
    def dur_ns(self) -> int | None:
        """Nanoseconds."""
        if self.duration_us is not None:
            return self.duration_us * 1000
        return seconds(self.entire_frame_compile_time_s)

    @property
    def end_ns(self) -> int | None:
        """Epoch nanoseconds."""
        if self.end_time_us is not None:
            return self.end_time_us * 1000
        return None if self.start_ns is None or self.dur_ns is None else self.start_ns + self.dur_ns


def seconds(value: float | None) -> int | None:
    """Seconds as nanoseconds."""
    return None if value is None else round(value * 1e9)


def microseconds(value: float) -> int:
    """Microseconds as nanoseconds. Whole and fraction apart: an epoch time times 1000 no longer fits a float's 53 bits."""
    if not abs(value) < 1 << 53:
        return 0
    whole = int(value)
    return whole * 1000 + round((value - whole) * 1000)


class SpanArgs(Struct, gc=False):
    """Arguments of a chromium event."""

    compile_id: str | None = None
    kernel_name: str | None = None


class Span(Struct, gc=False):
    """A `chromium_event`: B and E enclose a phase, X is one, i is a mark; `ts` and `dur` are epoch microseconds."""

    name: str = ""
    ph: str = ""
    ts: float = 0.0
    dur: float | None = None
    tid: int | str = 0
    pid: int | str = 0
    args: SpanArgs = field(default_factory=SpanArgs)


class CacheInfo(Struct, gc=False):
    """What an FX graph cache record tells."""

    key: str | None = None
    cache_bypass_reason: str | None = None


class KernelInfo(Struct, gc=False):
    """One kernel of `triton_kernel_info`."""

    compile_time_us: int | None = None
    autotune_cache_state: str | None = None
    num_configs: int | None = None


start = msgspec.json.Decoder(Start, strict=False)
metrics = msgspec.json.Decoder(Metrics, strict=False)
span = msgspec.json.Decoder(Span, strict=False)
cache_info = msgspec.json.Decoder(CacheInfo, strict=False)
kernel_infos = msgspec.json.Decoder(dict[str, KernelInfo], strict=False)
texts = msgspec.json.Decoder(list[str])
text_lists = msgspec.json.Decoder(dict[str, list[str]])
anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
