"""What scripts rely on: commands, options, choices, exit codes, one clear error."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from processes import diffuscope

from profiler.compilers.base import COMPILERS
from profiler.models.base import MODELS
from profiler.schemes.base import SCHEMES

RECORD_OPTIONS = [
    "--scheme",
    "--compile",
    "--compile-vae",
    "--fuse-qkv",
    "--channels-last",
    "--quantize-vae",
    "--quantize-text-encoder",
    "--quantize-on",
    "--batch",
    "--steps",
    "--trace-steps",
    "--size",
    "--frames",
    "--seed",
    "--guidance",
    "--prompt",
    "--warmup",
    "--repeats",
    "--weights",
    "--inductor-defaults",
    "--device",
    "--offload",
    "--vae-tiling",
    "--vae-slicing",
    "--phases",
    "--parallel",
    "--tuned",
    "--out",
    "--json",
    "--help",
]


@pytest.fixture(scope="module")
def record_help() -> str:
    done = diffuscope("record", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_every_command_is_listed_with_its_summary():
    done = diffuscope("--help")
    assert done.returncode == 0
    listed = re.findall(r"^  (\w+)  +\S", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert listed[0] == "record"
    assert {"record", "import", "show", "memory", "compare", "check", "runs", "explain"} <= set(listed)


def test_no_arguments_is_help():
    done = diffuscope()
    assert "Commands:" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_record_has_exactly_these_options(record_help: str):
    assert set(re.findall(r"^ +(?:-o, )?(--[a-z-]+)", record_help, re.MULTILINE)) == set(RECORD_OPTIONS)


def test_the_choices_come_from_the_registries(record_help: str):
    text = "".join(record_help.split())  # help wraps at hyphens too
    assert f"Oneof{','.join(SCHEMES)}." in text
    assert f"Oneof{','.join(COMPILERS)}." in text
    assert f"{','.join(MODELS)},ormodule:function" in text


def test_the_registries_hold_what_the_readme_promises():
    assert {"flux-dev", "flux-schnell", "cogvideox-2b", "cogvideox-5b", "flux-tiny", "cogvideox-tiny"} <= set(MODELS)
    assert {"bf16", "fp16", "fp8wo", "fp8dq", "fp8dqrow", "int8wo", "int8dq"} <= set(SCHEMES)
    assert set(COMPILERS) == {"none", "default", "regional", "max-autotune", "reduce-overhead"}


WRONG = {
    "unknown scheme": (("--scheme", "int3"), "no scheme is called 'int3'", "int8wo"),
    "unknown compile mode": (("--compile", "fast"), "no compile mode is called 'fast'", "regional"),
    "no size": (("--size", "big"), "--size big is no size", "480x720"),
    "three sizes": (("--size", "64x64x64"), "--size 64x64x64 is no size", ""),
    "empty size": (("--size", "x"), "--size x is no size", ""),
    "size zero": (("--size", "0"), "--size is 0, and must be at least 1", ""),
    "size not a multiple": (("--size", "100"), "multiples of 16 pixels, and height is 100", "the nearest is 96"),
    "frames of a picture": (("--frames", "9"), "flux-tiny makes images", "leave --frames out"),
    "compile the VAE with none": (("--compile-vae",), "--compile-vae was asked with --compile none", ""),
    "quantize the VAE with bf16": (("--quantize-vae",), "--quantize-vae was asked, and scheme bf16 quantizes nothing", ""),
    "quantize the text encoder with fp16": (("--quantize-text-encoder", "--scheme", "fp16"), "--quantize-text-encoder was", ""),
    "quantize on the CPU with bf16": (("--quantize-on", "cpu"), "--quantize-on was asked, and scheme bf16", ""),
    "quantize on the moon": (("--scheme", "int8wo", "--quantize-on", "moon"), "--quantize-on moon is not known", "per-layer"),
    "torchao's switches in eager": (("--inductor-defaults", "torchao"), "changes only compiled runs", ""),
    "no such switches": (("--inductor-defaults", "mine"), "--inductor-defaults mine is not known", "torchao"),
    "no such device": (("--device", "tpu"), "--device tpu is not known", "cuda"),
    "no steps": (("--steps", "0"), "--steps is 0, and must be at least 1", ""),
    "steps not a number": (("--steps", "many"), "--steps", ""),
    "negative repeats": (("--repeats", "-1"), "--repeats is -1, and must be at least 0", ""),
    "unknown option": (("--fast",), "--fast", ""),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_error_and_exit_2(tmp_path: Path, case: str):
    arguments, message, hint = WRONG[case]
    done = diffuscope("record", "flux-tiny", *arguments, "-o", tmp_path / "run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_unknown_model_names_the_ones_there_are():
    done = diffuscope("record", "flux-huge")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no model is called 'flux-huge'\n  choose from: ")
    assert all(name in done.stderr for name in MODELS)


def test_frames_of_a_video_are_eight_n_plus_one(tmp_path: Path):
    done = diffuscope("record", "cogvideox-tiny", "--frames", "13", "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "needs 8 n + 1 frames, and 13 were asked" in done.stderr


def test_a_directory_that_exists_is_left_alone(tmp_path: Path):
    (tmp_path / "mine").write_text("precious")
    done = diffuscope("record", "flux-tiny", "-o", tmp_path)
    assert done.returncode == 2
    assert f"{tmp_path} exists already" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("command", ["show", "memory", "runs"])
def test_reading_what_is_not_there_is_exit_2(tmp_path: Path, command: str):
    done = diffuscope(command, tmp_path / "nothing", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_comparing_what_is_not_there_is_exit_2(tmp_path: Path):
    done = diffuscope("compare", tmp_path / "base", tmp_path / "new", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert str(tmp_path / "base") in done.stderr and "Traceback" not in done.stderr


def test_compare_has_exactly_these_options():
    done = diffuscope("compare", "--help")
    assert set(re.findall(r"^ +(--[a-z-]+)", done.stdout, re.MULTILINE)) == {"--window", "--top", "--rank", "--json", "--help"}
    assert re.search(r"compare \[OPTIONS\] \{?BASE\}? \{?NEW\}?\.\.\.", done.stdout), done.stdout


def test_check_has_exactly_these_options():
    done = diffuscope("check", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert set(re.findall(r"^ +(--[a-z-]+)", done.stdout, re.MULTILINE)) == {"--budget", "--base", "--junit", "--json", "--help"}
    assert re.search(r"check \[OPTIONS\] \{?RUN\}?", done.stdout), done.stdout


def test_checking_what_is_not_there_is_exit_2(tmp_path: Path):
    (tmp_path / "budget.toml").write_text("model_gib = 1")
    for arguments in (("--budget", tmp_path / "budget.toml"), ("--budget", tmp_path / "none.toml"), ()):
        done = diffuscope("check", tmp_path / "nothing", *arguments, "--json")
        assert (done.returncode, done.stdout) == (2, "")
        assert "rror: " in done.stderr and "Traceback" not in done.stderr


def test_memory_has_exactly_these_options():
    done = diffuscope("memory", "--help")
    expected = {"--part", "--by", "--top", "--rank", "--json", "--help"}
    assert set(re.findall(r"^ +(--[a-z-]+)", done.stdout, re.MULTILINE)) == expected


def test_json_is_one_document_on_stdout(tmp_path: Path):
    done = diffuscope("runs", tmp_path, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"runs": []}


def test_text_ends_with_the_next_command(tmp_path: Path):
    done = diffuscope("runs", tmp_path)
    assert done.returncode == 0
    assert done.stdout.rstrip().splitlines()[-1].startswith("next: diffuscope record flux-tiny")


def test_a_reader_that_leaves_is_no_error():
    import subprocess

    from processes import command, environment

    child = subprocess.Popen(
        command("record", "--help"), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout and child.stderr
    child.stdout.close()
    assert "Traceback" not in child.stderr.read()
    child.stderr.close()
    child.wait(60)
