"""Every table of a compile log and every column in it. Times are integer epoch nanoseconds, durations nanoseconds.

A compile is named by `generation` and `compile_id` together: `torch._dynamo.reset()` and `explain()` start the ids again at 0/0.
"""

from __future__ import annotations

import polars as pl

from profiler.tables.schema import Column, Table

# Raised when a table gains, loses or changes a column, or the reading changes: caches of another version are rebuilt.
VERSION = 2

_Type = pl.DataType | type[pl.DataType]


def _column(name: str, dtype: _Type, doc: str) -> Column:
    return Column(name, dtype, "", doc)


def _table(name: str, doc: str, *columns: Column) -> Table:
    return Table(name, doc, frozenset(), columns)


TEXTS = pl.List(pl.String)
_LOG = _column("log", pl.String, "the log file, relative to the log's folder")
_GENERATION = _column("generation", pl.Int64, "counts up whenever compile ids start again (reset, explain, another process)")
_COMPILE_ID = _column("compile_id", pl.String, "frame/compile, as in `Torch-Compiled Region: 6/1`")
_COMPILE = (_GENERATION, _COMPILE_ID)
_FUNCTION = _column("function", pl.String, "the compiled function's name")
_FILE = _column("file", pl.String, "the compiled function's file, as torch saw it")
_LINE = _column("line", pl.Int64, "the compiled function's first line")

COMPILES = _table(
    "compiles",
    "each compilation of a frame",
    _LOG,
    *_COMPILE,
    _FUNCTION,
    _FILE,
    _LINE,
    _column("attempts", pl.Int64, "how often dynamo traced the frame; each graph break costs one more"),
    _column("start_ns", pl.Int64, "start of the compilation"),
    _column("end_ns", pl.Int64, "its end; null where the log ends inside"),
    _column("dur_ns", pl.Int64, "all of it; the phases below lie inside one another: dynamo > aot > inductor > codegen"),
    _column("dynamo_ns", pl.Int64, "tracing and everything below it"),
    _column("aot_ns", pl.Int64, "AOTAutograd and everything below it"),
    _column("inductor_ns", pl.Int64, "Inductor and everything below it"),
    _column("codegen_ns", pl.Int64, "Inductor's code generation and loading"),
    _column("triton_ns", pl.Int64, "compiling kernels (Triton, or C++ on a CPU), inside codegen"),
    _column("backward_ns", pl.Int64, "compiling the backward graph, outside `dur_ns`; null where none was compiled"),
    _column("before_restart_ns", pl.Int64, "tracing thrown away by restarts (graph breaks)"),
    _column("fx_keys", TEXTS, "FX graph keys: they stand in the trace's `## Call CompiledFxGraph <key> ##`"),
    _column("cache", pl.String, "FX graph cache, worst of its graphs: bypass, miss or hit; null where Inductor did not run"),
    _column("cache_reason", pl.String, "why the cache was bypassed"),
    _column("aot_cache", pl.String, "AOTAutograd cache: bypass, miss or hit"),
    _column("is_recompile", pl.Boolean, "whether a guard of an earlier compile of the frame failed"),
    _column("recompile_reason", pl.String, "the guard that failed, as torch tells it"),
    _column("has_graph", pl.Boolean, "whether a graph came of it; without one the frame runs eagerly, unseen in a trace"),
    _column("op_count", pl.Int64, "operators in its graph"),
    _column("guard_count", pl.Int64, "guards checked at every call"),
    _column("guard_ns", pl.Int64, "time of one check of all guards, as torch measured it right after compiling"),
    _column("cache_size", pl.Int64, "compiles of the same code that were there before"),
    _column("fail_type", pl.String, "exception that ended it"),
    _column("fail_reason", pl.String, "its message"),
    _column("skipped", pl.Boolean, "whether the frame runs eagerly from now on"),
    _column("resumes", pl.String, "the function that broke, where this one is its rest after a graph break"),
    _column("resume_line", pl.Int64, "the line at which it resumes"),
    _column("called_from", TEXTS, "`file:line function` of the callers, outermost first"),
    _column("torch_version", pl.String, "the torch that wrote the log"),
)

BREAKS = _table(
    "breaks",
    "each record of a graph break; `graph_breaks` in metrics tells which are distinct",
    *_COMPILE,
    _column("attempt", pl.Int64, "the attempt that broke"),
    _column("gb_id", pl.String, "id in torch's graph-break registry, like GB0124"),
    _column("title", pl.String, "what kind of break, one line"),
    _column("reason", pl.String, "torch's whole reason, without stacks"),
    _column("explanation", pl.String, "torch's explanation"),
    _column("context", pl.String, "torch's developer context"),
    _column("hints", TEXTS, "torch's hints"),
    _column("skips_frame", pl.Boolean, "whether the frame could not be split, so that all of it runs eagerly"),
    _column("skip_id", pl.String, "registry id of the reason for which it could not be split"),
    _column("skip_title", pl.String, "that reason, one line"),
    _column("stack_files", TEXTS, "user stack, outermost first"),
    _column("stack_lines", pl.List(pl.Int64), "its lines"),
    _column("stack_functions", TEXTS, "its functions"),
    _column("stack_code", TEXTS, "its source lines"),
)

RECOMPILES = _table(
    "recompiles",
    "each call that no compiled version of its frame was valid for",
    *_COMPILE,
    _column("guards", TEXTS, "the guard that failed, of each compiled version tried, latest version first; as torch tells it"),
    _column("guard", pl.String, "the first of them, without the values"),
    _column("before", pl.String, "the value that the guard wanted; null where the text does not tell"),
    _column("now", pl.String, "the value that came; null where the text does not tell"),
    _column("hint", pl.String, "torch's hint"),
    _column("guard_file", pl.String, "where the guard was made, where torch tells"),
    _column("guard_line", pl.Int64, "its line"),
)

LIMITS = _table(
    "limits",
    "each time the recompile limit was hit: the frame runs eagerly from then on, without a word",
    *_COMPILE,
    _column("limit", pl.String, "the option, like recompile_limit"),
    _column("value", pl.Int64, "what it is set to"),
    _column("reason", pl.String, "torch's message"),
    _column("at_ns", pl.Int64, "when"),
)

CUDAGRAPH_SKIPS = _table(
    "cudagraph_skips",
    "each graph that CUDA graphs were asked for and not used for",
    *_COMPILE,
    _column("reason", pl.String, "torch's reason"),
    _column("at_ns", pl.Int64, "when"),
)

SPANS = _table(
    "spans",
    "phases of compilations (chromium events)",
    *_COMPILE,
    _column("name", pl.String, "the phase, like dynamo, inductor_compile, async_compile.wait"),
    _column("kernel", pl.String, "the kernel it is about (autotuning)"),
    _column("start_ns", pl.Int64, "start"),
    _column("dur_ns", pl.Int64, "duration, 0 for a mark; null where the log ends inside"),
)

GUARDS = _table(
    "guards",
    "each guard of each compile",
    *_COMPILE,
    _column("kind", pl.String, "like TENSOR_MATCH"),
    _column("text", pl.String, "the guard and where it comes from"),
)

KERNELS = _table(
    "kernels",
    "each kernel that Inductor compiled with Triton",
    *_COMPILE,
    _column("kernel", pl.String, "its name, as in the trace"),
    _column("compile_ns", pl.Int64, "time to compile it"),
    _column("autotune", pl.String, "state of its autotune cache: hit, miss, only 1 config"),
    _column("configs", pl.Int64, "configurations tried"),
)

PROVENANCE = _table(
    "provenance",
    "what each generated kernel computes",
    *_COMPILE,
    _column("kernel", pl.String, "its name, as in the trace"),
    _column("nodes", TEXTS, "nodes of the traced graph that it computes"),
    _column("places", TEXTS, "`file:line function` of the source lines that it computes"),
    _column("source", pl.String, "`tracking` (torch's provenance records) or `code` (comments in the generated code)"),
)

CODE = _table(
    "code",
    "each file of code that Inductor generated, in the order of the log; one a graph that it compiled",
    *_COMPILE,
    _column("text", pl.String, "the file"),
)

_ALL = (COMPILES, BREAKS, RECOMPILES, LIMITS, CUDAGRAPH_SKIPS, SPANS, GUARDS, KERNELS, PROVENANCE, CODE)
TABLES = {each.name: each for each in _ALL}
