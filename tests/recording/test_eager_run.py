"""A whole recording of the tiny Flux: every phase, every artifact, every value that can be known beforehand."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from processes import HEAVY_TO_READ, Recorded

from profiler.core.spec import RunSpec
from profiler.models.base import MODELS

PHASES = ["load", "quantize", "warmup", "timed", "untraced", "traced", "places", "memory"]
ARTIFACTS = ["output.npz", "output.png"] + [
    f"rank0/{name}" for name in ("memory.json.gz", "places.json.gz", "sources.json", "trace.json.gz", "weights.json")
]
MODEL = MODELS.get("flux-tiny")


def test_it_ended_well(eager_run: Recorded):
    assert eager_run.done.returncode == 0, eager_run.done.stderr
    manifest = eager_run.manifest
    assert (manifest["status"], manifest["failure"], manifest["lost"], manifest["process"]) == ("ok", None, [], {})
    assert manifest["kind"] == "record"
    assert manifest["command"].startswith("diffuscope record flux-tiny --device cpu --size 64")


def test_neither_process_imported_the_analysis_side(eager_run: Recorded):
    assert len(eager_run.processes) == 2
    for process in eager_run.processes:
        assert HEAVY_TO_READ & process.modules == set()
        assert not any(name.startswith(("profiler.tables", "profiler.metrics", "profiler.report")) for name in process.modules)
    (parent,) = (each for each in eager_run.processes if "profiler record" in each.command)
    (child,) = (each for each in eager_run.processes if "profiler.recording" in each.command)
    assert "torch" in child
    assert "torch" not in parent


def test_phases_follow_each_other(eager_run: Recorded):
    phases = eager_run.manifest["phases"]
    assert [each["name"] for each in phases] == PHASES
    assert all(each["start_ns"] < each["end_ns"] for each in phases)
    assert all(one["end_ns"] <= other["start_ns"] for one, other in pairwise(phases))
    assert eager_run.manifest["created_ns"] <= phases[0]["start_ns"]
    assert all(each["peak_bytes"] is None for each in phases), "a CPU has no allocator counters"


def test_calls_are_as_many_and_as_long_as_asked(eager_run: Recorded):
    manifest = eager_run.manifest
    assert (len(manifest["timed"]["iterations_ns"]), manifest["timed"]["steps"]) == (2, 3)
    assert (len(manifest["untraced"]["calls_ns"]), manifest["untraced"]["steps"]) == (5, 2)
    assert manifest["untraced"]["dur_ns"] == sorted(manifest["untraced"]["calls_ns"])[2]
    assert manifest["traced"]["steps"] == 2
    warmup = eager_run.phase("warmup")["detail"]
    assert (len(warmup["calls_ns"]), warmup["steps"]) == (2, 2)
    assert warmup["first_call_ns"] == warmup["calls_ns"][0]
    for name, inside in (("timed", manifest["timed"]["iterations_ns"]), ("traced", [manifest["traced"]["dur_ns"]])):
        phase = eager_run.phase(name)
        assert 0 < sum(inside) <= phase["end_ns"] - phase["start_ns"]


def test_every_file_is_indexed_with_its_size_and_hash(eager_run: Recorded):
    # What a reader derived lies in cache/: other tests read this run too.
    found = {
        str(path.relative_to(eager_run.path)): {
            "size_bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in eager_run.path.rglob("*")
        if path.is_file() and path.name != "run.json" and eager_run.path / "cache" not in path.parents
    }
    assert sorted(found) == ARTIFACTS
    assert eager_run.manifest["artifacts"] == found


def test_what_was_asked_and_what_was_applied(eager_run: Recorded):
    manifest = eager_run.manifest
    spec = RunSpec.from_dict(manifest["spec"])
    assert (spec.height, spec.width, spec.steps, spec.trace_steps, spec.guidance) == (64, 64, 3, 2, 3.5)
    assert manifest["spec_hash"] == spec.hash
    applied = manifest["applied"]
    assert len(applied["linears"]) == 50
    assert {(each["scheme"], each["reason"]) for each in applied["linears"]} == {("left", "bf16 quantizes nothing")}
    assert (applied["compiled"], applied["graphs"], applied["base_dtype"]) == ([], 0, "bfloat16")
    assert applied["output"] == {"finite": True, "steps": 2}


def test_the_environment_names_what_decides_the_numbers(eager_run: Recorded):
    environment = eager_run.manifest["environment"]
    assert environment["device"] == "cpu"
    assert environment["gpu"] is None
    assert environment["versions"]["torch"] == torch.__version__
    assert {"torchao", "diffusers", "transformers", "diffuscope"} <= set(environment["versions"])
    assert environment["variables"]["OMP_NUM_THREADS"] == "1"
    assert environment["switches"]["threads"] == 1
    assert environment["switches"]["inductor_changed"] == {}
    assert environment["cpu"]["cores"] >= 1


def events(run: Recorded, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.json(f"rank0/{name}")["traceEvents"]
    return found


def marks(run: Recorded, name: str) -> list[dict[str, Any]]:
    found = [each for each in events(run, name) if each["name"].startswith("diffuscope/")]
    found = [each for each in found if not each["name"].startswith("diffuscope/module/")]
    return sorted(found, key=lambda each: each["ts"])


@pytest.mark.parametrize(("name", "steps"), [("trace.json.gz", 2), ("places.json.gz", 1), ("memory.json.gz", 2)])
def test_marks_divide_the_call(eager_run: Recorded, name: str, steps: int):
    call, *inner = marks(eager_run, name)
    names = ["text", *(f"step/{index}" for index in range(steps)), "decode"]
    assert call["name"] == "diffuscope/call"
    assert [each["name"] for each in inner] == [f"diffuscope/{each}" for each in names]
    assert all(one["ts"] + one["dur"] <= other["ts"] for one, other in pairwise(inner))
    assert call["ts"] <= inner[0]["ts"]
    assert inner[-1]["ts"] + inner[-1]["dur"] <= call["ts"] + call["dur"]


def test_the_work_lies_inside_the_marks(eager_run: Recorded):
    inner = marks(eager_run, "trace.json.gz")[1:]
    matmuls = [each["ts"] for each in events(eager_run, "trace.json.gz") if each["name"] == "aten::addmm"]
    counts = {mark["name"]: sum(mark["ts"] <= ts < mark["ts"] + mark["dur"] for ts in matmuls) for mark in inner}
    assert counts["diffuscope/step/0"] == counts["diffuscope/step/1"] >= 48
    assert sum(counts.values()) == len(matmuls)


def test_the_trace_happened_in_its_phase(eager_run: Recorded):
    base = eager_run.json("rank0/trace.json.gz")["baseTimeNanoseconds"]
    call, phase = marks(eager_run, "trace.json.gz")[0], eager_run.phase("traced")
    start = base + call["ts"] * 1000
    assert phase["start_ns"] <= start
    assert start + call["dur"] * 1000 <= phase["end_ns"]


def test_the_priced_trace_has_shapes_and_no_stacks(eager_run: Recorded):
    priced, places = events(eager_run, "trace.json.gz"), events(eager_run, "places.json.gz")
    assert not any(each.get("cat") == "python_function" for each in priced)
    assert any(each.get("args", {}).get("Input Dims") == [[64], [1, 32], [32, 64], [], []] for each in priced)
    assert not any("Input Dims" in each.get("args", {}) for each in places)
    functions = [each["name"] for each in places if each.get("cat") == "python_function"]
    assert any("transformer_flux.py(" in name for name in functions)


def test_memory_events_on_a_cpu_come_from_the_profiler(eager_run: Recorded):
    found = [each["args"] for each in events(eager_run, "memory.json.gz") if each["name"] == "[memory]"]
    assert len(found) > 500
    assert any(each["Bytes"] > 0 for each in found)
    assert any(each["Bytes"] < 0 for each in found)
    assert not any(each["name"] == "[memory]" for each in events(eager_run, "trace.json.gz"))


def test_sources_show_the_lines_as_they_are(eager_run: Recorded):
    import diffusers.models.transformers.transformer_flux as module

    sources = eager_run.json("rank0/sources.json")
    (shown,) = (lines for file, lines in sources.items() if file.endswith("diffusers/models/transformers/transformer_flux.py"))
    with open(module.__file__) as file:  # noqa: PTH123
        true = file.read().splitlines()
    assert len(shown) >= 5
    for line, (first, text) in shown.items():
        assert first <= int(line) < first + len(text)
        assert text == true[first - 1 : first - 1 + len(text)]
    heads = {file.partition("/")[0] for file in sources}
    assert heads.isdisjoint({"torch", "contextlib.py", "functools.py"})


def test_weights_are_all_there_with_their_bytes(eager_run: Recorded):
    rows = eager_run.json("rank0/weights.json")
    pipe = MODEL.build("cpu", torch.bfloat16, 0)
    true = {}
    for part in ("transformer", "vae", "text_encoder", "text_encoder_2"):
        module = getattr(pipe, part)
        for name, each in [*module.named_parameters(), *module.named_buffers()]:
            true[part, name] = (each.numel() * each.element_size(), list(each.shape), str(each.dtype).removeprefix("torch."))
    assert {(each["component"], each["name"]): (each["bytes"], each["shape"], each["dtype"]) for each in rows} == true
    assert len(rows) == len(true)
    totals = eager_run.manifest["applied"]["weight_bytes"]
    assert sum(totals.values()) == sum(size for size, *_ in true.values())
    storages = {each["address"]: each["storage_bytes"] for each in rows}
    assert all(each["bytes"] <= storages[each["address"]] for each in rows)
    assert 0 not in storages


def run_here(steps: int, output_type: str) -> Any:
    pipe = MODEL.build("cpu", torch.bfloat16, 0)
    pipe.set_progress_bar_config(disable=True)
    spec = MODEL.resolve(RunSpec(model="flux-tiny", height=64, width=64))
    with torch.no_grad():
        kwargs = MODEL.call_kwargs(spec, steps) | {"generator": torch.Generator().manual_seed(0)}
        return pipe(**kwargs, output_type=output_type).images


def test_output_tensors_are_those_of_the_call(eager_run: Recorded, one_thread: None):
    saved = np.load(eager_run.path / "output.npz")
    assert sorted(saved) == ["first_latents", "first_transformer_output", "last_latents", "last_transformer_output", "steps"]
    assert int(saved["steps"]) == 2
    assert saved["first_latents"].shape == saved["last_transformer_output"].shape == (1, 16, 64)
    assert all(np.isfinite(saved[name]).all() for name in saved)
    assert not np.array_equal(saved["first_latents"], saved["last_latents"])
    assert np.array_equal(saved["last_latents"], run_here(2, "latent").float().numpy())


def test_the_picture_is_the_timed_calls(eager_run: Recorded, one_thread: None):
    saved = np.asarray(Image.open(eager_run.path / "output.png"))
    assert saved.shape == (64, 64, 3)
    assert saved.std() > 1
    assert np.array_equal(saved, np.asarray(run_here(3, "pil")[0]))
