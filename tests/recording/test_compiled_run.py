"""A recording of blocks compiled by Inductor in int8wo: the compile log, and what joins it to the trace."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from typing import Any

import pytest
from processes import Recorded, show

BLOCKS = [f"transformer.{kind}.{index}" for kind in ("transformer_blocks", "single_transformer_blocks") for index in (0, 1)]


@pytest.fixture(scope="module")
def manifest(compiled_run: Recorded) -> dict[str, Any]:
    assert compiled_run.done.returncode == 0, compiled_run.done.stderr
    return compiled_run.manifest


@pytest.fixture(scope="module")
def log(compiled_run: Recorded) -> list[dict[str, Any]]:
    """The records of the structured log: header objects, each with its payload under `payload`."""
    (path,) = (compiled_run.path / "rank0" / "compile_log").iterdir()
    records: list[dict[str, Any]] = []
    for line in gzip.decompress(path.read_bytes()).decode().removesuffix("\n").split("\n"):
        if line.startswith("\t"):
            records[-1]["payload"] = records[-1].get("payload", "") + line[1:] + "\n"
        else:
            records.append(json.loads(line[line.index("] {") + 2 :]))
    return records


def test_what_was_applied_is_listed(manifest: dict[str, Any]):
    applied = manifest["applied"]
    assert applied["compiled"] == BLOCKS
    # Two kinds of blocks, each compiled once for all of its members; one more graph where a guard failed.
    assert applied["graphs"] == 2 + applied["recompiles"]
    assert applied["graph_breaks"] == 0
    assert [(each["scheme"], each["reason"]) for each in applied["linears"]] == [("int8wo", "")] * 50
    assert len({each["module"] for each in applied["linears"]}) == 50


def test_the_rows_are_those_of_this_size(manifest: dict[str, Any]):
    rows = {each["module"]: each["rows"] for each in manifest["applied"]["linears"]}
    assert rows["transformer.single_transformer_blocks.0.attn.to_q"] == 64 + 16
    assert rows["transformer.x_embedder"] == 16
    assert rows["transformer.norm_out.linear"] == 1


def test_the_compile_log_is_whole(log: list[dict[str, Any]]):
    kinds = {key for record in log for key in record}
    assert {"dynamo_start", "dynamo_output_graph", "dynamo_cpp_guards_str", "compilation_metrics", "chromium_event"} <= kinds
    for record in log:
        if "has_payload" in record:
            assert hashlib.md5(record["payload"].removesuffix("\n").encode()).hexdigest() == record["has_payload"]


def test_the_logs_string_table_is_complete(log: list[dict[str, Any]]):
    table = {record["str"][1] for record in log if "str" in record}
    stacks = [frame for record in log for frame in record.get("dynamo_start", {}).get("stack", [])]
    assert len(stacks) > 20
    assert {frame["filename"] for frame in stacks} <= table


def test_graph_keys_join_manifest_log_and_trace(compiled_run: Recorded, manifest: dict[str, Any], log: list[dict[str, Any]]):
    caches = ("fx_graph_cache_miss", "fx_graph_cache_hit")
    records = [record for record in log if record.get("artifact", {}).get("name") in caches]
    logged = [json.loads(record["payload"])["key"] for record in records]
    assert manifest["fx_graph_keys"] == list(dict.fromkeys(logged))
    assert len(logged) == manifest["applied"]["graphs"]
    trace = compiled_run.json("rank0/trace.json.gz")["traceEvents"]
    called = {match[1] for each in trace if (match := re.fullmatch(r"## Call CompiledFxGraph (\w+) ##", each["name"]))}
    assert len(called) == 2
    assert called <= set(logged)


def test_nothing_compiled_after_the_warm_up(compiled_run: Recorded, log: list[dict[str, Any]]):
    phase = compiled_run.phase("warmup")
    metrics = [
        json.loads(r["payload"]) if "payload" in r else r["compilation_metrics"] for r in log if "compilation_metrics" in r
    ]
    starts = [each["start_time_us"] * 1000 for each in metrics if each.get("start_time_us")]
    assert len(starts) == compiled_run.manifest["applied"]["graphs"]
    assert all(phase["start_ns"] <= start <= phase["end_ns"] for start in starts)


def test_quantized_data_is_one_byte_a_parameter(compiled_run: Recorded, manifest: dict[str, Any]):
    rows = [each for each in compiled_run.json("rank0/weights.json") if each["role"] == "quantized data"]
    linears = manifest["applied"]["linears"]
    parameters = sum(each["in_features"] * each["out_features"] for each in linears)
    assert {each["dtype"] for each in rows} == {"int8"}
    assert sum(each["bytes"] for each in rows) == sum(each["storage_bytes"] for each in rows) == parameters
    assert manifest["applied"]["weight_bytes"]["transformer/quantized data/int8"] == parameters
    scales = [each for each in compiled_run.json("rank0/weights.json") if each["role"] == "scale"]
    assert sum(each["bytes"] for each in scales) == 4 * sum(each["out_features"] for each in linears)


def test_the_graph_break_registry_is_kept(compiled_run: Recorded):
    registry = compiled_run.json("rank0/graph_break_registry.json.gz")
    assert len(registry) > 400
    assert all(key.startswith("GB") for key in registry)


def test_inductors_switches_are_as_torch_has_them(manifest: dict[str, Any]):
    assert "coordinate_descent_tuning" not in manifest["environment"]["switches"]["inductor_changed"]


def test_compiling_cost_nothing_later_than_the_first_call(manifest: dict[str, Any]):
    (warmup,) = (each for each in manifest["phases"] if each["name"] == "warmup")
    assert warmup["detail"]["first_call_ns"] == warmup["detail"]["calls_ns"][0]
    assert warmup["detail"]["first_call_ns"] > max(manifest["timed"]["iterations_ns"])


def test_show_reads_it(compiled_run: Recorded):
    shown = show(compiled_run.path)
    assert (shown["status"], shown["failure"]) == ("ok", None)
    assert [each["name"] for each in shown["phases"]][:3] == ["load", "quantize", "warmup"]
    assert shown["trace"]["source"] != "none"
    assert sum(each["share"] for each in shown["classes"]) == pytest.approx(1, abs=1e-6)
