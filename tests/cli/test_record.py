"""`diffuscope record`: its output, its options at work, and refusals that only the recording process can make."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from processes import QUICK, TIMEOUT_S, diffuscope, eager, show, start

from profiler.cli.app import run as run_command

OPTIONS = (
    "--scheme",
    "int8dq",
    "--fuse-qkv",
    "--channels-last",
    "--quantize-text-encoder",
    "--quantize-on",
    "cpu",
    "--batch",
    "2",
)


@pytest.fixture(scope="module")
def text_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A recording with many options at once, without --json and without -o."""
    folder = tmp_path_factory.mktemp("here")
    return diffuscope("record", "flux-tiny", *QUICK, *OPTIONS, "--guidance", "2", "--seed", "3", cwd=folder), folder


def test_json_is_the_run_and_its_status():
    run = eager()
    assert run.done.returncode == 0, run.done.stderr
    assert json.loads(run.done.stdout) == {"run": str(run.path), "status": "ok"}
    assert "timed" in run.done.stderr, "progress goes to stderr"


def test_show_gives_the_recorded_numbers():
    run = eager()
    shown, manifest = show(run.path), run.manifest
    iterations = manifest["timed"]["iterations_ns"]
    assert shown["timed"]["repeats"] == 2
    assert shown["timed"]["median_ms"] == pytest.approx(sum(iterations) / 2e6)
    assert shown["timed"]["spread_ms"] == pytest.approx((max(iterations) - min(iterations)) / 1e6)
    assert [each["name"] for each in shown["phases"]] == [each["name"] for each in manifest["phases"]]
    for one, other in zip(shown["phases"], manifest["phases"], strict=True):
        assert one["dur_ms"] == pytest.approx((other["end_ns"] - other["start_ns"]) / 1e6)
    assert shown["lost"] == {"count": 0, "items": []}


def test_text_names_the_run_its_time_and_the_next_command(text_run: tuple[Any, Path]):
    done, folder = text_run
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "traces/flux-tiny-int8dq-none: ok"
    assert "a call of 2 steps (one call)" in done.stdout
    assert lines[-1] == "next: diffuscope show traces/flux-tiny-int8dq-none"
    assert (folder / "traces" / "flux-tiny-int8dq-none" / "run.json").is_file()


@pytest.fixture(scope="module")
def applied(text_run: tuple[Any, Path]) -> dict[str, Any]:
    manifest = json.loads((text_run[1] / "traces" / "flux-tiny-int8dq-none" / "run.json").read_text())
    assert manifest["spec"]["guidance"] == 2
    assert manifest["spec"]["seed"] == 3
    return manifest["applied"]  # type: ignore[no-any-return]


def test_text_encoders_are_quantized_weight_only(applied: dict[str, Any]):
    parts = Counter((each["module"].partition(".")[0], each["scheme"]) for each in applied["linears"])
    assert set(parts) == {
        ("transformer", "int8dq"),
        ("transformer", "int8wo"),
        ("text_encoder", "int8wo"),
        ("text_encoder_2", "int8wo"),
    }
    assert all(each["reason"] for each in applied["linears"] if each["scheme"] == "int8wo")


def test_projections_are_fused_and_counted_with_the_batch(applied: dict[str, Any]):
    rows = {each["module"]: (each["rows"], each["out_features"]) for each in applied["linears"]}
    assert rows["transformer.single_transformer_blocks.0.attn.to_qkv"] == (2 * (16 + 64), 192)
    assert rows["transformer.norm_out.linear"][0] == 2
    # The separate projections stay in the module and are never called.
    assert rows["transformer.single_transformer_blocks.0.attn.to_q"][0] is None


def test_a_video_is_kept_as_a_video(tmp_path: Path):
    from profiler.rundir.reader import read_manifest

    done = diffuscope("record", "cogvideox-tiny", *QUICK, "--frames", "9", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(tmp_path / "run")
    assert manifest.lost == []
    assert (tmp_path / "run" / "output.mp4").read_bytes()[4:8] == b"ftyp"
    assert manifest.applied["output"] == {"finite": True, "steps": 1}
    assert manifest.applied["base_dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no_such_module_of_mine:pipe",), "no module is called 'no_such_module_of_mine'"),
        (("flux-tiny", "--device", "cuda"), "torch sees no CUDA device"),
        (("flux-tiny", "--scheme", "fp8dqrow", "--device", "cpu"), "scheme fp8dqrow needs a CUDA device"),
        (("pipelines:tiny", "--weights", "here"), "--weights is for the registered models"),
        (("flux-tiny", "--weights", "./not/there"), "--weights ./not/there is no directory"),
        (("flux-tiny", "--guidance", "nan"), "--guidance nan is no number"),
        (("flux-tiny", "--seed", str(1 << 63)), "is no 64-bit number"),
        (("flux-tiny", "--size", "²"), "--size ² is no size"),
    ],
)
def test_what_cannot_work_here_is_refused_before_a_run_is_made(tmp_path: Path, arguments: tuple[str, ...], message: str):
    if "cuda" in arguments:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device here")
    done = diffuscope("record", *arguments, "-o", tmp_path / "run", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_of_two_records_into_one_directory_the_second_is_refused(tmp_path: Path):
    runs = [start("record", "pipelines:small", *QUICK, "-o", tmp_path / "run", "--json", cwd=tmp_path) for _ in range(2)]
    ended = [(*each.communicate(timeout=TIMEOUT_S), each.returncode) for each in runs]
    (out, _, first), (nothing, error, second) = sorted(ended, key=lambda each: each[2])
    assert (first, json.loads(out)["status"]) == (0, "ok")
    assert (second, nothing) == (2, "")
    assert "exists already" in error and "ended as" not in error


def test_weights_that_are_none_are_a_failed_run(tmp_path: Path):
    (tmp_path / "none").mkdir()
    done = diffuscope(
        "record", "flux-tiny", *QUICK, "--weights", tmp_path / "none", "-o", tmp_path / "run", "--json", HF_HUB_OFFLINE="1"
    )
    assert done.returncode == 3
    assert json.loads(done.stdout) == {"run": str(tmp_path / "run"), "status": "failed"}
    assert "Traceback" not in done.stderr
    assert show(tmp_path / "run")["failure"]["phase"] == "load"


@pytest.mark.parametrize(
    ("asked", "what"), [(["record", "flux-tiny"], "recording"), (["tune", "--shape", "64x64x64", "--device", "cpu"], "tuning")]
)
def test_a_child_that_is_killed_before_it_makes_a_run_is_not_passed_over(tmp_path, monkeypatch, capsys, asked, what):
    import profiler.cli.record
    import profiler.cli.tune

    for module in (profiler.cli.record, profiler.cli.tune):
        monkeypatch.setattr(module, "start_child", lambda *_: -9)
    assert run_command([*asked, "-o", str(tmp_path / "run")]) == 3
    assert f"the {what} process was killed by SIGKILL before it made a run" in capsys.readouterr().err
