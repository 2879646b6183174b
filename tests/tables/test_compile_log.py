"""The tables of a compile log: small logs with exact rows, and the real ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from compile_logs import CLOCK_NS, artifact, fx_cache, graph_break, ids, metrics, record, span, start, string, write

from profiler.tables import compile_log, compile_log_schema
from profiler.tables.compile_log import open_compile_log

MODEL = string(0, "model.py")
ONE = (
    MODEL,
    span("dynamo", "B", 0.0, "0/0"),
    start("0/0"),
    span("inductor_compile", "B", 100.5, "0/0"),
    fx_cache("miss", "fkey", "0/0"),
    span("inductor_compile", "E", 400.5, "0/0"),
    metrics("0/0", 0, aot=1, backend_compile_time_s=0.25, inductor_compile_time_s=0.125, pytorch_version="2.13.0"),
    span("dynamo", "E", 500.0, "0/0"),
)


@pytest.fixture
def read(tmp_path):
    def tables(*records: str):
        return open_compile_log(write(tmp_path / "log", *records), tmp_path / "cache")

    return tables


def test_every_table_has_its_columns_even_without_a_row(read):
    log = read(MODEL)
    for name, table in compile_log_schema.TABLES.items():
        assert log.frame(name).schema == pl.Schema(table.dtypes)
        assert all(column.doc for column in table.columns)


def test_one_compile(read):
    (row,) = read(*ONE).frame("compiles").to_dicts()
    assert (row["generation"], row["compile_id"], row["attempts"], row["fx_keys"]) == (0, "0/0", 1, ["fkey"])
    assert (row["function"], row["file"], row["line"], row["called_from"]) == ("forward", "model.py", 10, ["model.py:3 <module>"])
    assert (row["start_ns"], row["dur_ns"], row["end_ns"]) == (CLOCK_NS, 500_000_000, CLOCK_NS + 500_000_000)
    assert (row["dynamo_ns"], row["aot_ns"], row["inductor_ns"]) == (500_000_000, 250_000_000, 125_000_000)
    assert (row["cache"], row["has_graph"], row["skipped"], row["is_recompile"]) == ("miss", True, False, False)
    assert (row["guard_count"], row["torch_version"], row["rank"]) == (7, "2.13.0", 0)


def test_spans_have_epoch_times(read):
    rows = read(*ONE).frame("spans").select("name", "start_ns", "dur_ns").rows()
    assert rows == [("dynamo", CLOCK_NS, 500_000), ("inductor_compile", CLOCK_NS + 100_500, 300_000)]


def test_a_span_without_end_and_a_compile_that_died_in_it(read):
    log = read(MODEL, span("dynamo", "B", 5.0, "0/0"), start("0/0"))
    assert log.frame("spans")["dur_ns"].to_list() == [None]
    assert log.frame("compiles").select("start_ns", "end_ns", "function").row(0) == (CLOCK_NS + 5_000, None, "forward")


def test_ids_that_start_again_are_another_generation(read):
    again = (span("dynamo", "B", 9.0, "0/0"), start("0/0", "other"), metrics("0/0", 9, co_name="other"))
    rows = read(*ONE, start("1/0"), *again, start("1/0")).frame("compiles").select("generation", "compile_id", "function").rows()
    assert rows == [(0, "0/0", "forward"), (0, "1/0", "forward"), (1, "0/0", "other"), (1, "1/0", "forward")]


def test_a_log_that_began_late_still_sees_a_reset(read):
    rows = read(MODEL, start("4/0"), start("4/1"), start("0/0")).frame("compiles").select("generation", "compile_id").rows()
    assert rows == [(0, "4/0"), (0, "4/1"), (1, "0/0")]


def test_each_file_has_its_own_names_and_generation(tmp_path):
    folder = write(tmp_path / "log", MODEL, start("0/0"), name="a.log")
    packed = "".join((string(0, "other.py"), start("0/0"))).encode()
    (folder / "b.log.gz").write_bytes(gzip.compress(packed, mtime=0))
    rows = open_compile_log(folder, tmp_path / "cache").frame("compiles").select("log", "generation", "file").rows()
    assert rows == [("a.log", 0, "model.py"), ("b.log.gz", 1, "other.py")]


def test_a_recompile_and_the_limit(read):
    hit = {"fail_type": "Unsupported", "has_guarded_code": None, "graph_op_count": None, "co_name": None, "co_filename": None}
    hit["fail_reason"] = "Dynamo recompile limit exceeded, exceeding the recompile_limit cache size limit (currently set to 1)."
    guards = [
        "0/1: tensor 'x' size mismatch at index 0. expected 4, actual 5",
        "0/0: tensor 'x' size mismatch at index 0. expected 3, actual 5",
    ]
    log = read(
        *ONE,
        artifact("recompile_reasons", "0/0: tensor 'x' size mismatch at index 0. expected 3, actual 4", "0/1"),
        start("0/1"),
        metrics("0/1", 600_000),
        artifact("recompile_reasons", json.dumps(guards, indent=0), "0/2"),
        metrics("0/2", 700_000, recompile_reason=guards[0], **hit),
    )
    rows = log.frame("recompiles").select("compile_id", "before", "now", pl.col("guards").list.len()).rows()
    assert rows == [("0/1", "3", "4", 1), ("0/2", "4", "5", 2)]
    assert log.frame("limits").select("compile_id", "limit", "value").rows() == [("0/2", "recompile_limit", 1)]
    last = log.frame("compiles").row(2, named=True)
    assert (last["function"], last["file"], last["skipped"], last["is_recompile"]) == ("forward", "model.py", True, True)


def test_a_graph_break(read):
    log = read(
        MODEL, start("0/0"), graph_break("0/0"), graph_break("0/0", preamble="Skipping the function and falling back to eager.\n")
    )
    first, second = log.frame("breaks").to_dicts()
    assert (first["gb_id"], first["title"], first["explanation"]) == (
        "GB0124",
        "Unsupported Tensor.item() call",
        "Dynamo does not trace it.",
    )
    assert (first["hints"], first["context"]) == (["Capture scalars.", "Or move it out."], "call_method item")
    assert (first["stack_files"], first["stack_lines"], first["stack_functions"]) == (
        ["run.py", "model.py"],
        [3, 13],
        ["<module>", "forward"],
    )
    assert first["stack_code"] == ["main()", "if x.item() > 1:"]
    assert (first["skips_frame"], second["skips_frame"]) == (False, True)


def test_cudagraph_skips_of_all_kinds_of_metrics(read):
    late = {"compile_id": "0/0", "cudagraph_skip_reason": "skipping cudagraphs due to cpu device"}
    log = read(
        *ONE, record("compilation_metrics_runtime", late, **ids("0/0")), record("bwd_compilation_metrics", late, **ids("0/0"))
    )
    assert log.frame("cudagraph_skips")["reason"].to_list() == [late["cudagraph_skip_reason"]] * 2


def test_the_worst_of_a_compiles_caches_counts(read):
    log = read(*ONE, fx_cache("hit", "other", "0/0"), fx_cache("bypass", "third", "0/0"))
    assert log.frame("compiles").select("cache", "fx_keys").row(0) == ("bypass", ["fkey", "other", "third"])


def test_guards_and_kernels(read):
    tree = (
        "\nTREE_GUARD_MANAGER:\n+- RootGuardManager\n"
        "| +- GLOBAL_STATE: ___check()\n| | +- TENSOR_MATCH: check_tensor(L['x'])  # x\n"
    )
    info = {"triton_poi_0": {"compile_time_us": 12, "autotune_cache_state": "miss", "num_configs": 2}}
    log = read(
        *ONE, record("dynamo_cpp_guards_str", {}, tree, **ids("0/0")), artifact("triton_kernel_info", json.dumps(info), "0/0")
    )
    assert log.frame("guards").select("kind", "text").rows() == [
        ("GLOBAL_STATE", "___check()"),
        ("TENSOR_MATCH", "check_tensor(L['x'])  # x"),
    ]
    assert log.frame("kernels").select("kernel", "compile_ns", "autotune", "configs").rows() == [
        ("triton_poi_0", 12_000, "miss", 2)
    ]


GRAPH = """class GraphModule(torch.nn.Module):
    def forward(self, L_x_: "f32[4]"):
        l_x_ = L_x_

        # File: model.py:12 in forward, code: y = x.sin()
        sin: "f32[4]" = l_x_.sin();  l_x_ = None

        # File: model.py:13 in forward, code: return y + 1
        add: "f32[4]" = sin + 1;  sin = None
"""
CODE = """# Topologically Sorted Source Nodes: [sin, add], Original ATen: [aten.sin, aten.add]
# Source node to ATen node mapping:
triton_poi_fused_add_sin_0 = async_compile.triton('triton_poi_fused_add_sin_0', '''
"""


def test_provenance_from_the_comments_of_the_code(read):
    log = read(
        *ONE, record("dynamo_output_graph", {}, GRAPH, **ids("0/0")), record("inductor_output_code", {}, CODE, **ids("0/0"))
    )
    (row,) = log.frame("provenance").to_dicts()
    assert (row["kernel"], row["nodes"], row["source"]) == ("triton_poi_fused_add_sin_0", ["sin", "add"], "code")
    assert row["places"] == ["model.py:12 forward", "model.py:13 forward"]


def test_torchs_own_provenance_comes_first(read):
    mapping = {"cppCodeToPost": {"triton_poi_fused_add_sin_0:1": ["s"]}, "postToPre": {"s": ["sin"]}, "version": 2.0}
    stacks = {"triton_poi_fused_add_sin_0:1": ['  File "model.py", line 12, in forward\n    y = x.sin()\n']}
    log = read(
        *ONE,
        record("inductor_output_code", {}, CODE, **ids("0/0")),
        artifact("inductor_provenance_tracking_node_mappings", json.dumps(mapping), "0/0"),
        artifact("inductor_provenance_tracking_kernel_stack_traces", json.dumps(stacks), "0/0"),
    )
    rows = log.frame("provenance").select("kernel", "nodes", "places", "source").rows()
    assert rows == [("triton_poi_fused_add_sin_0", ["sin"], ["model.py:12 forward"], "tracking")]


def test_a_log_is_read_once_and_again_when_it_changes(tmp_path, monkeypatch):
    folder = write(tmp_path / "log", *ONE)
    reads = []
    real = compile_log.write_tables
    monkeypatch.setattr(compile_log, "write_tables", lambda *args: reads.append(1) or real(*args))
    first, second = (open_compile_log(folder, tmp_path / "cache") for _ in range(2))
    assert (first, len(reads)) == (second, 1)
    write(folder, *ONE, start("1/0"))
    assert open_compile_log(folder, tmp_path / "cache").frame("compiles").height == 2
    assert len(reads) == 2


def test_the_shared_log(shared: Path, tmp_path):
    import tarfile

    with tarfile.open(shared / "h100" / "flux_small_item_breaks.compile_log.tgz") as archive:
        archive.extractall(tmp_path / "log", filter="data")
    log = open_compile_log(tmp_path / "log", tmp_path / "cache")
    assert (log.records, log.lost) == (5105, {})
    heights = {name: log.frame(name).height for name in compile_log_schema.TABLES}
    assert heights == {
        "compiles": 29,
        "breaks": 10,
        "recompiles": 8,
        "limits": 0,
        "cudagraph_skips": 0,
        "spans": 876,
        "guards": 4617,
        "kernels": 90,
        "provenance": 103,
        "code": 13,
    }
    counts = log.frame("compiles").group_by("generation").len().sort("generation")["len"].to_list()
    assert counts == [11, 17, 1]
    assert log.frame("compiles")["torch_version"].unique().to_list() == ["2.11.0+cu130"]
