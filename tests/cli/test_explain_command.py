"""`diffuscope explain`: what it prints, in JSON and for people, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import diffuscope, loaded

from profiler.cli.explain_text import render, short_path


def test_a_clean_model_has_one_graph_a_part_and_the_parent_never_loads_torch(tmp_path: Path):
    done = diffuscope("explain", "flux-tiny", "--size", "64", "--json", MODULES_AT_EXIT=str(tmp_path))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [each["name"] for each in answer["parts"]] == ["transformer", "vae", "text_encoder", "text_encoder_2"]
    for each in answer["parts"]:
        assert (each["graphs"], each["breaks"], each["recompiles"]) == (1, [], [])
        assert (each["device"], each["depth"], "error" in each) == ("meta", "full", False)
        assert each["guards"] > each["op_count"] > 30
    assert answer["spec"] == {"model": "flux-tiny", "batch": 1, "height": 64, "width": 64, "frames": None}
    parent, child = sorted(loaded(tmp_path), key=lambda process: "torch" in process)
    assert "profiler.cli.explain" in parent
    assert {"torch", "numpy", "diffusers", "polars"} & parent.modules == set()
    assert "torch" in child
    assert "polars" not in child


def test_breaks_are_a_line_each_and_the_other_parts_still_come():
    done = diffuscope("explain", "broken_pipelines:item", "--size", "64", "--parts", "transformer,text_encoder")
    assert done.returncode == 0, done.stderr
    assert sum(line.startswith("  GB") for line in done.stdout.splitlines()) == 1
    assert "  GB0124 x2  tests/recording/broken_pipelines.py:" in done.stdout
    assert "Unsupported Tensor.item() call" in done.stdout
    assert "hint: Set `torch._dynamo.config.capture_scalar_outputs = True`" in done.stdout
    assert done.stdout.splitlines()[-1] == "next: diffuscope record broken_pipelines:item --compile regional"
    assert "Traceback" not in done.stderr


WRONG = {
    "unknown dimension": (("flux-tiny", "--vary", "colour"), "--vary colour is not known", "size, batch, frames"),
    "frames of a picture": (("flux-tiny", "--vary", "frames"), "flux-tiny makes images", "vary size or batch"),
    "size not a multiple": (("flux-tiny", "--size", "100"), "multiples of 16 pixels", "the nearest is 96"),
    "no batch": (("flux-tiny", "--batch", "0"), "--batch is 0, and must be at least 1", ""),
    "unknown model": (("flux-huge",), "no model is called 'flux-huge'", "flux-tiny"),
    "unknown part": (("flux-tiny", "--parts", "unet"), "the pipeline has no part called unet", "it has: transformer"),
    "no such module": (("no_such_module_here:f",), "no module is called 'no_such_module_here'", "run the command where"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_exit_2(case: str):
    arguments, message, hint = WRONG[case]
    done = diffuscope("explain", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_that_is_killed_is_no_silence():
    done = diffuscope("explain", "broken_pipelines:killed", "--json")
    assert (done.returncode, done.stdout) == (3, "")
    assert "error: the explaining process was killed by SIGKILL" in done.stderr


PART = {"name": "transformer", "graphs": 1, "breaks": [], "op_count": 3, "guards": 9, "device": "meta", "depth": "full"}
PART |= {"recompiles": [], "seconds": 1.0}
SPEC = {"model": "m", "batch": 1, "height": 64, "width": 32, "frames": 9}
ROW = {"vary": "size", "guard": "size mismatch", "function": "forward", "file": "/a/site-packages/d/e.py", "line": 3}
ROW |= {"from": "64", "to": "80", "third": "96", "third_guard": None}


def text_of(**part: object) -> str:
    return render({"spec": SPEC, "vary": {"size": ["64", "80", "96"]}, "parts": [PART | part]})


def test_no_recompile_is_said():
    text = text_of()
    assert "m at 64x32, 9 frames, batch 1" in text
    assert "size: no recompile (64 -> 80 -> 96)" in text
    assert text.endswith("no graph break")


def test_one_recompile_names_its_guard_and_the_third_value():
    assert "size: 64 -> 80 recompiles: size mismatch; 96 does not recompile again" in text_of(recompiles=[ROW])
    assert "recompiles: size mismatch; 96 recompiles too: s0 == 2" in text_of(recompiles=[ROW | {"third_guard": "s0 == 2\nmore"}])


def test_several_recompiles_name_their_functions():
    text = text_of(recompiles=[ROW, ROW | {"function": "other"}])
    assert "64 -> 80 recompiles forward (site-packages/d/e.py:3): size mismatch" in text
    assert "64 -> 80 recompiles other (site-packages/d/e.py:3): size mismatch" in text


def test_recompiles_within_one_call_and_failures_are_said():
    text = text_of(recompiles=[ROW | {"vary": "call"}], error="ValueError: one\ntwo")
    assert "recompiles within one call, forward (site-packages/d/e.py:3): size mismatch" in text
    assert "failed: ValueError: one" in text
    assert "two" not in text
    assert "no graph break" not in text


def test_paths_for_people(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    assert short_path("/v/lib/site-packages/diffusers/a.py") == "site-packages/diffusers/a.py"
    assert short_path(str(tmp_path / "mine" / "a.py")) == "mine/a.py"
    assert short_path("/elsewhere/a.py") == "/elsewhere/a.py"
