"""`with profiler.record(pipe, out=...)`: a pipeline of the user's own, in the user's own process."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pipelines
import pytest
import torch
from PIL import Image
from processes import environment

import profiler
from profiler.core.errors import UsageError
from profiler.rundir.reader import read_manifest

CALL: dict[str, Any] = {"prompt": "a cat", "num_inference_steps": 3, "height": 64, "width": 64, "max_sequence_length": 64}


@pytest.fixture
def pipe(one_thread: None) -> Any:
    made = pipelines.tiny()
    made.set_progress_bar_config(disable=True)
    return made


def patches(pipe: Any) -> dict[str, Any]:
    """Everything that recording may touch, as it is now."""
    return {
        "class": type(pipe),
        "pipe": {"__call__", "encode_prompt", "progress_bar"} & set(vars(pipe)),
        "vae": "decode" in vars(pipe.vae),
        "scheduler": "step" in vars(pipe.scheduler),
        "handlers": list(logging.getLogger("torch.__trace").handlers),
        "profiler": torch.autograd._profiler_enabled(),
    }


_SCRIPT = """
import sys, torch, profiler

class Plain:
    transformer = torch.nn.Linear(8, 8)

    def __call__(self, x):
        return self.transformer(x)

plain = Plain()
with profiler.record(plain, out=sys.argv[1]):
    plain(torch.ones(1, 8))
"""


def test_the_profiler_says_nothing_of_its_own(tmp_path: Path):
    """In a process of its own: what torch's profiler says is decided when it is first used."""
    script = [sys.executable, "-c", _SCRIPT, str(tmp_path / "run")]
    quiet = environment() | {"KINETO_LOG_LEVEL": ""}
    done = subprocess.run(script, env={k: v for k, v in quiet.items() if v}, capture_output=True, text=True, check=True)
    assert [line for line in done.stderr.splitlines() if "profiler_start" in line] == []
    assert read_manifest(tmp_path / "run").status == "ok"


def test_a_call_leaves_the_same_artifacts(pipe: Any, tmp_path: Path):
    before = patches(pipe)
    generator = torch.Generator().manual_seed(3)
    state = generator.get_state()
    with profiler.record(pipe, out=tmp_path / "run", trace_steps=2, repeats=2) as session:
        assert isinstance(pipe, before["class"])
        picture = pipe(**CALL, generator=generator).images[0]
    assert patches(pipe) == before
    assert session.status == "ok"
    manifest = read_manifest(tmp_path / "run")
    assert manifest.status == "ok"
    assert [each.name for each in manifest.phases] == ["warmup", "timed", "untraced", "traced", "places", "memory"]
    assert {
        "rank0/trace.json.gz",
        "rank0/places.json.gz",
        "rank0/memory.json.gz",
        "rank0/weights.json",
        "rank0/sources.json",
    } <= set(manifest.artifacts)
    assert [(each.what, each.count) for each in manifest.lost] == [("load and quantize phases", 2)]
    assert (manifest.timed["steps"], len(manifest.timed["iterations_ns"])) == (3, 2)
    assert (manifest.traced["steps"], manifest.untraced["steps"]) == (2, 2)
    assert (manifest.spec["model"], manifest.spec["scheme"], manifest.spec["steps"]) == ("FluxPipeline", "as built", 3)
    # The timed call, made again, drew the same random numbers: its picture is the user's.
    assert np.array_equal(np.asarray(Image.open(tmp_path / "run" / "output.png")), np.asarray(picture))
    generator.set_state(state)
    assert np.array_equal(np.asarray(pipe(**CALL, generator=generator).images[0]), np.asarray(picture))


def test_the_last_of_several_calls_is_made_again(pipe: Any, tmp_path: Path):
    with profiler.record(pipe, out=tmp_path / "run", trace_steps=1):
        pipe(**CALL | {"num_inference_steps": 1}, generator=torch.Generator().manual_seed(1))
        last = pipe(**CALL | {"num_inference_steps": 2}, generator=[torch.Generator().manual_seed(2)]).images[0]
    manifest = read_manifest(tmp_path / "run")
    (warmup,) = (each for each in manifest.phases if each.name == "warmup")
    assert len(warmup.detail["calls_ns"]) == 2
    assert manifest.timed["steps"] == 2
    assert np.array_equal(np.asarray(Image.open(tmp_path / "run" / "output.png")), np.asarray(last))


class Plain:
    """No diffusers pipeline: a call of one tensor, with a linear."""

    def __init__(self) -> None:
        self.transformer = torch.nn.Linear(8, 8)
        self.calls: list[float] = []

    def __call__(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        self.calls.append(float(x.sum()) * scale)
        result: torch.Tensor = self.transformer(x) * scale
        return result


def test_any_callable_will_do_and_what_it_lacks_is_named(tmp_path: Path):
    plain = Plain()
    with profiler.record(plain, out=tmp_path / "run"):
        plain(torch.ones(2, 8), scale=0.5)
    assert type(plain) is Plain
    # The user's call, then: timed, five untraced, traced, places, memory; positional arguments and all.
    assert plain.calls == [8.0] * 10
    manifest = read_manifest(tmp_path / "run")
    assert manifest.status == "ok"
    assert {each.what for each in manifest.lost} == {"load and quantize phases", "short calls", "output picture"}
    rows = json.loads((tmp_path / "run" / "rank0" / "weights.json").read_text())
    assert sorted(each["name"] for each in rows) == ["bias", "weight"]


def test_the_users_exception_is_the_users(pipe: Any, tmp_path: Path):
    before = patches(pipe)
    session = profiler.record(pipe, out=tmp_path / "run")
    error = ArithmeticError("mine")
    with pytest.raises(ArithmeticError) as caught, session:
        pipe(**CALL | {"num_inference_steps": 1})
        raise error
    assert caught.value is error
    assert session.status == "failed"
    manifest = read_manifest(tmp_path / "run")
    assert manifest.failure is not None
    assert (manifest.status, manifest.failure.type, manifest.failure.message, manifest.failure.phase) == (
        "failed",
        "ArithmeticError",
        "mine",
        "warmup",
    )
    assert "raise error" in manifest.failure.traceback
    assert patches(pipe) == before


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt(), "interrupted"), (MemoryError(), "oom")])
def test_how_it_ended_is_its_status(tmp_path: Path, error: BaseException, status: str):
    with pytest.raises(type(error)), profiler.record(Plain(), out=tmp_path / "run") as session:
        raise error
    assert session.status == read_manifest(tmp_path / "run").status == status


def test_an_error_in_the_replay_is_raised_and_kept(tmp_path: Path):
    plain = Plain()

    def fail(*_: Any) -> None:
        if len(plain.calls) == 8:
            raise ArithmeticError("not twice")

    plain.transformer.register_forward_pre_hook(fail)
    with pytest.raises(ArithmeticError, match="not twice"), profiler.record(plain, out=tmp_path / "run"):
        plain(torch.ones(1, 8))
    manifest = read_manifest(tmp_path / "run")
    assert manifest.failure is not None
    assert (manifest.status, manifest.failure.phase) == ("failed", "traced")
    assert type(plain) is Plain
    assert not torch.autograd._profiler_enabled()


def test_a_pipeline_that_was_not_called_is_an_error(pipe: Any, tmp_path: Path):
    before = patches(pipe)
    with pytest.raises(UsageError, match="the pipeline was not called"), profiler.record(pipe, out=tmp_path / "run"):
        pass
    assert read_manifest(tmp_path / "run").status == "failed"
    assert patches(pipe) == before


def test_nothing_is_ever_overwritten(pipe: Any, tmp_path: Path):
    before = patches(pipe)
    with pytest.raises(UsageError, match="exists already"), profiler.record(pipe, out=tmp_path):
        pytest.fail("the body ran")
    assert list(tmp_path.iterdir()) == []
    assert patches(pipe) == before


def test_what_cannot_be_called_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="a int cannot be called"):
        profiler.record(3, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
