"""`diffuscope tune`: what it prints and keeps, that `record --tuned` uses it, how it ends, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from processes import QUICK, ROOT, TIMEOUT_S, diffuscope, environment, loaded, show, start

from profiler.cli.app import run as run_command

SHAPES = ("--shape", "192x96x64", "--shape", "512x256x128")


def tune(folder: Path, *arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    own = {"DIFFUSCOPE_TUNED": str(folder / "own.json")}
    return diffuscope("tune", "--device", "cpu", *arguments, "-o", folder / "run", **(own | more))


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Two shapes tuned, once for all tests that only look."""
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "modules").mkdir()
    done = tune(folder, *SHAPES, "--json", MODULES_AT_EXIT=str(folder / "modules"))
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_json_is_as_documented(tuned: tuple[Path, dict[str, Any]]):
    folder, answer = tuned
    assert answer["run"] == str(folder / "run")
    assert [(each["m"], each["k"], each["n"], each["count"]) for each in answer["shapes"]] == [
        (512, 256, 128, 1),
        (192, 96, 64, 1),
    ]
    for each in answer["shapes"]:
        best = each["best"]
        assert best["kernel"] in ("cpu:s8s8", "cpu:u8s8", "cpu:dequantize")
        assert best["config"] == {"path": best["kernel"].removeprefix("cpu:")}
        assert best["tops"] == pytest.approx(2 * each["m"] * each["k"] * each["n"] / best["us"] / 1e6)
        assert set(each["baselines"]) == {"int_mm x scale", "int_mm", "bf16"}
        assert all(us > 0 for us in each["baselines"].values())
        assert (each["candidates"], each["wrong"], each["failed"]) == (3, 0, 0)
    assert (answer["rejected"], answer["status"], answer["wanted"]) == (0, "ok", 2)
    faster = [min(each["best"]["us"], each["baselines"]["int_mm x scale"]) for each in answer["shapes"]]
    assert answer["step_ms"]["tuned"] == pytest.approx(sum(faster) / 1e3)
    assert answer["step_ms"]["bf16"] == pytest.approx(sum(each["baselines"]["bf16"] for each in answer["shapes"]) / 1e3)


def test_the_run_directory_is_one_of_kind_tune(tuned: tuple[Path, dict[str, Any]]):
    folder, answer = tuned
    manifest = json.loads((folder / "run" / "run.json").read_text())
    assert (manifest["kind"], manifest["status"]) == ("tune", "ok")
    assert list(manifest["artifacts"]) == ["tune.json"]
    assert [each["name"] for each in manifest["phases"]] == ["tune"]
    assert manifest["environment"]["versions"]["torch"]
    assert show(folder / "run") == answer
    text = diffuscope("show", folder / "run").stdout
    assert "2 shapes tuned, 6 candidates, 0 wrong ones rejected" in text
    assert "512x256x128" in text
    listed = json.loads(diffuscope("runs", folder, "--json").stdout)
    assert "tune" in json.dumps(listed)


def test_what_was_found_is_in_the_table(tuned: tuple[Path, dict[str, Any]]):
    folder, answer = tuned
    (section,) = json.loads((folder / "own.json").read_text())["sections"]
    best = {name: (each["kernel"], each["us"], each["untuned_us"]) for name, each in section["entries"].items()}
    assert best == {
        f"{each['m']}x{each['k']}x{each['n']}": (
            each["best"]["kernel"],
            each["best"]["us"],
            each["baselines"]["int_mm x scale"],
        )
        for each in answer["shapes"]
    }
    assert answer["table"] == str(folder / "own.json")
    assert section["key"] == answer["key"]


def test_only_the_child_loads_torch(tuned: tuple[Path, dict[str, Any]]):
    parent, child = sorted(loaded(tuned[0] / "modules"), key=lambda process: "torch" in process)
    assert "polars" in parent
    assert {"torch", "torchao", "diffusers"} & parent.modules == set()
    assert "torch" in child
    assert "polars" not in child


NOTHING_TO_READ_WITH = (
    "import sys; sys.modules.update(dict.fromkeys(('polars', 'msgspec', 'isal')))\n"
    "from pathlib import Path; from profiler.cli.app import run; from profiler.cli.tune import report\n"
)


def where_nothing_can_be_read(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", NOTHING_TO_READ_WITH + code]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


@pytest.mark.parametrize("as_json", [False, True])
def test_where_runs_cannot_be_read_it_says_where_they_can(tuned: tuple[Path, dict[str, Any]], as_json: bool):
    run = tuned[0] / "run"
    done = where_nothing_can_be_read(f"sys.exit(report(Path({str(run)!r}), None, {as_json}))")
    assert (done.returncode, done.stderr) == (0, "")
    if as_json:
        assert json.loads(done.stdout) == {"run": str(run), "status": "ok"}
    else:
        assert done.stdout.startswith(f"{run}: ok\nwhat was found can be shown where polars, msgspec, isal are installed")
        assert done.stdout.endswith(f"\nnext: diffuscope show {run}\n")


def test_commands_that_read_runs_say_what_is_missing(tuned: tuple[Path, dict[str, Any]]):
    done = where_nothing_can_be_read(f"sys.exit(run(['show', {str(tuned[0] / 'run')!r}]))")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: this command reads a run, which needs polars, and that is not installed here\n")
    assert "Traceback" not in done.stderr


def test_a_model_is_tuned_and_recorded_with_what_was_found(tmp_path: Path):
    done = tune(tmp_path, "flux-tiny", "--size", "64", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert sum(each["count"] for each in answer["shapes"]) == 23
    assert answer["spec"]["model"] == "flux-tiny"
    run = tmp_path / "recorded"
    table = str(tmp_path / "own.json")
    timed = (*QUICK, "--phases", "timed", "--scheme", "int8dq")
    recorded = diffuscope("record", "flux-tiny", *timed, "-o", run, "--json", DIFFUSCOPE_TUNED=table)
    assert recorded.returncode == 0, recorded.stderr
    applied = json.loads((run / "run.json").read_text())["applied"]
    wanted = {(each["m"], each["k"], each["n"]): each["best"]["kernel"] if each["pays"] else None for each in answer["shapes"]}
    int8 = [each for each in applied["linears"] if each["scheme"] == "int8dq"]
    assert len(int8) == 23
    for each in int8:
        assert each["kernel"] == wanted[each["rows"], each["in_features"], each["out_features"]]
    assert applied["tuned_tables"] == [table], "auto finds the user's own table"


def test_text_ends_with_the_next_command(tmp_path: Path):
    options = ("--guidance", "1", "--frames", "9")
    done = tune(tmp_path, "cogvideox-tiny", *options, "--shape", "32x64x48", "--table", str(tmp_path / "t.json"))
    assert done.returncode == 0, done.stderr
    assert "all these products in one step, predicted" in done.stdout
    assert f"kept in {tmp_path / 't.json'}" in done.stdout
    next_command = "next: diffuscope record cogvideox-tiny --scheme int8dq --compile regional --frames 9 --guidance 1.0"
    next_command += f" --tuned {tmp_path / 't.json'}"
    assert done.stdout.splitlines()[-1] == next_command
    assert json.loads((tmp_path / "run" / "run.json").read_text())["spec"]["guidance"] == 1.0
    assert "32x64x48" in done.stdout
    assert not (tmp_path / "own.json").exists()
    assert "us, cpu:" in done.stderr, "each shape is told as it is found"


def test_interrupted_it_keeps_what_it_found(tmp_path: Path):
    shapes = [part for index in range(60) for part in ("--shape", f"512x512x{512 + 8 * index}")]
    own = str(tmp_path / "own.json")
    child = start("tune", "--device", "cpu", *shapes, "-o", tmp_path / "run", "--json", cwd=tmp_path, DIFFUSCOPE_TUNED=own)
    assert child.stderr is not None
    told = next(line for line in child.stderr if " us, cpu:" in line)
    # To the whole group, as a terminal does.
    os.killpg(child.pid, signal.SIGINT)
    stdout, stderr = child.communicate(timeout=TIMEOUT_S)
    assert child.returncode == 3, stderr
    answer = json.loads(stdout)
    assert (answer["status"], answer["wanted"]) == ("interrupted", 60)
    assert 1 <= len(answer["shapes"]) < 60
    assert told.startswith("x".join(str(answer["shapes"][0][each]) for each in "mkn"))
    (section,) = json.loads(Path(own).read_text())["sections"]
    names = {f"{each['m']}x{each['k']}x{each['n']}" for each in answer["shapes"]}
    assert len(names - set(section["entries"])) <= 1, "at most the one that it was interrupted at"
    assert "tuning ended as interrupted" in stderr
    assert "Traceback" not in stderr


WRONG = {
    "nothing named": ((), "nothing to tune was named", "--shape 4608x3072x12288"),
    "options of a model without one": (
        ("--shape", "64x64x64", "--batch", "2", "--size", "512"),
        "--batch, --size without a model says nothing about a shape",
        "name a model",
    ),
    "no shape": (("--shape", "4608x3072"), "'4608x3072' is no shape", "give MxKxN"),
    "no such model": (("flux-huge",), "no model is called 'flux-huge'", "flux-tiny"),
    "no batch": (("flux-tiny", "--batch", "0"), "--batch is 0, and must be at least 1", ""),
    "no guidance": (("flux-tiny", "--guidance", "inf"), "--guidance inf is no number", "give a scale"),
    "frames of a picture": (("flux-tiny", "--frames", "9"), "flux-tiny makes images", "leave --frames out"),
    "no file to import": (("--import-torchao", "nothing.pkl"), "nothing.pkl is no file", "TORCHAO_AUTOTUNER_DATA_PATH"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_exit_2(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    arguments, message, hint = WRONG[case]
    monkeypatch.setenv("DIFFUSCOPE_TUNED", str(tmp_path / "own.json"))
    assert run_command(["tune", "--device", "cpu", *arguments, "-o", str(tmp_path / "run")]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert message in err
    assert hint in err
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_cuda_device_that_is_not_there_is_refused(tmp_path: Path):
    done = diffuscope("tune", *SHAPES, "--device", "cuda", "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "torch sees no CUDA device" in done.stderr


def test_a_corrupt_table_stops_it_before_the_search(tmp_path: Path):
    (tmp_path / "own.json").write_text("{")
    done = tune(tmp_path, *SHAPES)
    assert (done.returncode, done.stdout) == (2, "")
    assert "own.json is no table of tuned kernels" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_run_that_exists_is_left_alone(tmp_path: Path):
    (tmp_path / "run").mkdir()
    done = tune(tmp_path, *SHAPES)
    assert done.returncode == 2
    assert "exists already" in done.stderr
    assert list((tmp_path / "run").iterdir()) == []
