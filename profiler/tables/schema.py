"""Every table of a trace and every column in it: name, dtype, meaning. Times are integer nanoseconds on the trace's own clock;
`epoch_ns = base_ns + ts_ns`, with `base_ns` from `TraceTables.base_ns`."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

# Raised when a table gains, loses or changes a column: caches of another version are rebuilt.
CACHE_VERSION = 2

# Categories that keep a GPU busy: the kernel breakdown is about these.
KERNEL, MEMCPY, MEMSET = "kernel", "gpu_memcpy", "gpu_memset"
GPU_BUSY = (KERNEL, MEMCPY, MEMSET)
CPU_OP, USER_ANNOTATION = "cpu_op", "user_annotation"


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        source: where the value lies in an event, dotted; empty for what the reader derives.
    """

    name: str
    dtype: pl.DataType | type[pl.DataType]
    source: str
    doc: str


@dataclass(frozen=True)
class Table:
    """One table of a trace: its name, the event categories it takes, its columns in order."""

    name: str
    doc: str
    categories: frozenset[str]
    columns: tuple[Column, ...]

    @property
    def dtypes(self) -> dict[str, pl.DataType | type[pl.DataType]]:
        """Column name to dtype, with the `rank` that every table ends with."""
        return {each.name: each.dtype for each in self.columns} | {"rank": pl.Int32}


_NAME = Column("name", pl.String, "name", "the event's name")
_CAT = Column("cat", pl.String, "cat", "Kineto's category")
_PID = Column("pid", pl.Int64, "pid", "process id (device index on GPU tracks); a text id is a negative number, see `tracks`")
_TID = Column("tid", pl.Int64, "tid", "thread id (stream on GPU tracks); a text id is a negative number, see `tracks`")
_TS = Column("ts_ns", pl.Int64, "ts", "start")
_DUR = Column("dur_ns", pl.Int64, "dur", "duration, >= 0")
_SPAN = (_NAME, _CAT, _PID, _TID, _TS, _DUR)
_CORRELATION = Column(
    "correlation",
    pl.Int64,
    "args.correlation",
    "joins a launch in `runtime` to what ran in `gpu`; kernels of one graph launch share it",
)
_EXTERNAL = Column("external_id", pl.Int64, "args.external_id", "joins `gpu` and `runtime` to the op in `host` that issued them")

GPU = Table(
    "gpu",
    "what ran on a GPU: kernels, copies, memsets, GPU-side annotations and synchronisation",
    frozenset({*GPU_BUSY, "gpu_user_annotation", "cuda_sync"}),
    (
        *_SPAN,
        _CORRELATION,
        _EXTERNAL,
        Column("device", pl.Int64, "args.device", "device index"),
        Column("stream", pl.Int64, "args.stream", "stream id"),
        Column("size_bytes", pl.Int64, "args.bytes", "bytes moved or set (copies and memsets)"),
        Column("bandwidth_gbs", pl.Float64, "args.bandwidth", "10^9 bytes a second (copies and memsets)"),
        Column("grid", pl.String, "args.grid", "launch grid, JSON list"),
        Column("block", pl.String, "args.block", "thread block, JSON list"),
        Column("registers", pl.Int64, "args.registers", "registers a thread"),
        Column("shared_bytes", pl.Int64, "args.shared_memory", "shared memory a block"),
        Column("occupancy_percent", pl.Float64, "args.occupancy", "estimated achieved occupancy"),
        Column("sync_kind", pl.String, "args.sync_kind", "kind of a `cuda_sync` event"),
        Column("collective", pl.String, "args.collective", "the collective of an NCCL kernel, `allreduce`"),
        Column("process_group", pl.String, "args.group", "its process group, JSON"),
        Column("group_ranks", pl.String, "args.group_ranks", "ranks of that group, JSON"),
        Column("collective_number", pl.Int64, "args.collective_number", "its number within the group"),
    ),
)

HOST = Table(
    "host",
    "operators, annotations and every other span on the host that no other table takes",
    frozenset(),
    (
        *_SPAN,
        _EXTERNAL,
        Column("sequence", pl.Int64, "args.sequence", "autograd sequence number"),
        Column("input_dims", pl.String, "args.input_dims", "shape of each input, JSON"),
        Column("input_types", pl.String, "args.input_types", "dtype of each input, JSON"),
        Column("input_strides", pl.String, "args.input_strides", "strides of each input, JSON"),
        Column("concrete_inputs", pl.String, "args.concrete_inputs", "value of each scalar input, JSON"),
        Column("kernel_file", pl.String, "args.kernel_file", "source file of a Triton launch"),
    ),
)

RUNTIME = Table(
    "runtime",
    "calls of the CUDA runtime and driver",
    frozenset({"cuda_runtime", "cuda_driver", "hip_runtime", "xpu_runtime", "privateuse1_runtime", "privateuse1_driver"}),
    (*_SPAN, _CORRELATION, _EXTERNAL),
)

PYTHON = Table(
    "python",
    "Python frames (`with_stack`)",
    frozenset({"python_function"}),
    (
        *_SPAN,
        Column("python_id", pl.Int64, "args.python_id", "this frame"),
        Column("python_parent_id", pl.Int64, "args.python_parent_id", "the frame that called it"),
        Column("python_module_id", pl.Int64, "args.python_module_id", "instance number of an nn.Module frame"),
    ),
)

MEMORY = Table(
    "memory",
    "allocations and frees (`[memory]` instants of `profile_memory`)",
    frozenset(),
    (
        _PID,
        _TID,
        _TS,
        Column("address", pl.UInt64, "args.address", "address of the block"),
        Column("size_bytes", pl.Int64, "args.memory_bytes", "bytes allocated; negative for a free"),
        Column("allocated_bytes", pl.Int64, "args.total_allocated", "live bytes on the device after it"),
        Column("reserved_bytes", pl.Int64, "args.total_reserved", "reserved bytes on the device after it"),
        Column("device_type", pl.Int64, "args.device_type", "0 CPU, 1 CUDA"),
        Column("device", pl.Int64, "args.device_id", "device index; -1 for the CPU"),
    ),
)

INSTANTS = Table("instants", "other marks of no duration", frozenset(), (_NAME, _CAT, _PID, _TID, _TS))

TRACKS = Table(
    "tracks",
    "names of processes and threads, as the trace gives them",
    frozenset(),
    (
        Column("kind", pl.String, "name", "process_name, process_labels, thread_name, ..."),
        _PID,
        _TID,
        Column("value", pl.String, "", "the name, label or sort index"),
        Column("pid_text", pl.String, "", "the process id as written"),
        Column("tid_text", pl.String, "", "the thread id as written"),
    ),
)

TABLES = {each.name: each for each in (GPU, HOST, RUNTIME, PYTHON, MEMORY, INSTANTS, TRACKS)}
