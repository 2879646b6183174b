"""`diffuscope plan`: what it prints and writes, that `record --scheme plan.json` does as it says, and what it refuses."""

from __future__ import annotations

import json
import signal
import statistics
from pathlib import Path
from typing import Any

import pytest
from plan_materials import material
from processes import QUICK, ROOT, diffuscope, loaded

from profiler.cli import app
from profiler.cli import plan as plan_cli
from profiler.cli.plan_output import record_command
from profiler.core.errors import UsageError
from profiler.plan import whole_steps
from profiler.report.plan import plan_data, plan_text

ASKED = ("flux-tiny", "--schemes", "int8wo,int8dq,fp6_e3m2", "--device", "cpu", "--size", "128", "--min-sqnr", "25")
GOLDEN = ROOT / "traces" / "flux-dev-bf16"


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("planned")
    (folder / "modules").mkdir()
    path = folder / "plan.json"
    done = diffuscope("plan", *ASKED, "--max-memory", "1MiB", "-o", path, "--json", MODULES_AT_EXIT=str(folder / "modules"))
    assert done.returncode == 0, done.stderr
    return path, json.loads(done.stdout)


def test_json_is_the_plan_and_keeps_its_budget(planned: tuple[Path, dict[str, Any]]):
    path, answer = planned
    assert answer == {"plan": str(path)} | json.loads(path.read_text())
    assert (answer["kind"], answer["model"], answer["schema"]) == ("plan", "flux-tiny", 1)
    assert answer["predicted"]["model_bytes"] <= 1 << 20 == answer["budget"]["max_bytes"]
    assert answer["predicted"]["sqnr_db"] >= 25
    assert set(answer["singles"]) == {"int8wo", "int8dq", "fp6_e3m2"}
    # A busy machine may find no scheme near enough to be compared.
    taken = answer["whole_steps"]["taken"] if answer["whole_steps"] else "mixed"
    assert answer["predicted"]["us"] <= answer["singles"][answer["best_single"] if taken == "mixed" else taken]["us"]
    assert len(answer["layers"]) == 50
    assert set(answer["layers"].values()) <= {"left", "int8wo", "int8dq", "fp6_e3m2"}
    assert answer["gains"]["from"] == "measured"


def test_whole_steps_have_the_last_word(planned: tuple[Path, dict[str, Any]]):
    whole = planned[1]["whole_steps"]
    if whole is None:
        assert "is within 25% of the plan by the sum" in planned[1]["notes"][-1]
        return
    medians = {name: statistics.median(each) for name, each in whole["steps_us"].items()}
    assert {"mixed"} < set(medians) <= {"mixed", "int8wo", "int8dq", "fp6_e3m2"}
    assert whole["taken"] == min(medians, key=lambda name: medians[name])
    assert whole["failed"] == {}
    assert all(len(each) == 5 for each in whole["steps_us"].values())


def test_the_two_sides_stay_apart(planned: tuple[Path, dict[str, Any]]):
    processes = {each.command: each.modules for each in loaded(planned[0].parent / "modules")}
    measuring = [modules for modules in processes.values() if "profiler.plan.session" in modules]
    choosing = [modules for modules in processes.values() if "profiler.metrics.plan" in modules]
    assert len(measuring) == len(choosing) == 1
    assert "torch" in measuring[0]
    assert "polars" not in measuring[0]
    # Where recordings are made there may be none of these: a plan of what was measured needs no tables of traces.
    assert {"torch", "polars", "msgspec", "isal"}.isdisjoint(choosing[0])


def test_record_gives_each_layer_what_the_plan_says(planned: tuple[Path, dict[str, Any]], tmp_path: Path):
    path, answer = planned
    run = tmp_path / "run"
    done = diffuscope("record", "flux-tiny", "--scheme", path, *QUICK, "--size", "128", "--phases", "timed", "-o", run, "--json")
    assert done.returncode == 0, done.stderr
    applied = json.loads((run / "run.json").read_text())["applied"]
    assert {each["module"]: each["scheme"] for each in applied["linears"]} == answer["layers"]
    assert sum(applied["weight_bytes"].values()) == answer["predicted"]["model_bytes"]
    assert (applied["plan"]["path"], applied["plan"]["entries"]) == (str(path), 50)
    assert (run / "plan.json").read_bytes() == path.read_bytes()
    other = diffuscope("record", "flux-dev", "--scheme", path, "-o", tmp_path / "other")
    assert (other.returncode, other.stdout) == (2, "")
    assert "is a plan for flux-tiny, and flux-dev was asked" in other.stderr


def test_text_says_what_was_chosen_and_how_sure_it_is(planned: tuple[Path, dict[str, Any]]):
    text = plan_text(planned[1], 100)
    assert text.startswith("flux-tiny on a CPU  [")
    assert "at most 1.00 MiB and at least 25 dB" in text
    assert "this plan" in text
    assert "no plan within the budget is" in text
    assert "gains: measured here, kind by kind" in text
    assert max(map(len, text.splitlines())) <= 100


def test_show_prints_a_plan_again(planned: tuple[Path, dict[str, Any]], tmp_path: Path):
    path, answer = planned
    done = diffuscope("show", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "this plan" in done.stdout
    assert done.stdout.rstrip().endswith(f"next: diffuscope record flux-tiny --scheme {path} --device cpu")
    broken = tmp_path / "plan.json"
    broken.write_text(json.dumps(answer | {"groups": 3}))
    wrong = diffuscope("show", broken)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "plan.json cannot be shown: TypeError" in wrong.stderr


def test_from_a_bf16_run_nothing_is_measured(tmp_path: Path):
    if not GOLDEN.is_dir():
        pytest.skip("no golden runs in traces/")
    path = tmp_path / "plan.json"
    asked = ("--from", GOLDEN, "--schemes", "fp8dqrow,int8wo", "--max-memory", "24GiB", "--min-sqnr", "18")
    done = diffuscope("plan", "flux-dev", *asked, "-o", path, "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    # The seed measured 20.37 GiB and 20.387 GiB with real weights; fp8dqrow's sibling is smaller by its zero points.
    assert answer["singles"]["fp8dqrow"]["model_bytes"] / 2**30 == pytest.approx(20.37, rel=0.005)
    assert answer["singles"]["int8wo"]["model_bytes"] / 2**30 == pytest.approx(20.387, rel=0.005)
    assert answer["predicted"]["model_bytes"] <= 24 * 2**30
    # An eager run and a plan for compiled ones.
    predicted = answer["predicted"]
    assert predicted["step_low_us"] < predicted["step_us"] < predicted["step_high_us"] < answer["source"]["step_us"]
    assert sum(predicted["parts_us"].values()) == pytest.approx(predicted["step_us"])
    assert answer["singles"]["fp8dqrow"]["step_us"] / 1e3 == pytest.approx(101.2, rel=0.05)
    text = plan_text(answer, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert "beside its Linears a step of the run takes 102.0 ms; predicted, at the run's clock" in " ".join(text.split())
    assert len(answer["layers"]) == 504
    assert answer["device"]["name"] == "NVIDIA H100 80GB HBM3"
    assert answer["gains"] == {"from": "uniform", "by_kind": None}


@pytest.mark.parametrize("option", ["--weights DIR", "--device cuda", "--whole-steps"])
def test_from_a_run_takes_no_option_of_measuring(option: str, capsys: pytest.CaptureFixture[str]):
    if not GOLDEN.is_dir():
        pytest.skip("no golden runs in traces/")
    assert app.run(["plan", "flux-dev", "--from", str(GOLDEN), *option.split()]) == 2
    assert f"{option.split(maxsplit=1)[0]} is of measuring, and with --from nothing is measured" in capsys.readouterr().err


# Sizes as a planning process fills them in.
FLUX = {"model": "flux-dev", "height": 1024, "width": 1024, "steps": 28, "guidance": 3.5}
VIDEO = {"model": "cogvideox-5b", "height": 240, "width": 720, "frames": 9, "steps": 50, "guidance": 6.0}
NEXT: dict[str, tuple[dict[str, Any], str]] = {
    "as a GPU is planned for": (FLUX | {"compile": "regional"}, "flux-dev --scheme my/plan.json --compile regional"),
    "as a CPU is": (FLUX | {"compile": "none", "device": "cpu"}, "flux-dev --scheme my/plan.json --device cpu"),
    "sizes": (
        VIDEO | {"compile": "default", "batch": 2},
        "cogvideox-5b --scheme my/plan.json --compile default --batch 2 --frames 9 --size 240x720",
    ),
    "all else": (
        FLUX | {"height": 768, "width": 768, "guidance": 1.0, "weights": "a b", "fuse_qkv": True},
        "flux-dev --scheme my/plan.json --guidance 1.0 --weights 'a b' --size 768 --fuse-qkv",
    ),
    "a function": ({"model": "mine:pipe", "compile": "none", "steps": 28}, "mine:pipe --scheme my/plan.json"),
    "a later model": ({"model": "flux-3", "batch": 2}, "flux-3 --scheme my/plan.json --batch 2"),
}


@pytest.mark.parametrize("case", NEXT)
def test_the_next_command_records_what_the_plan_is_for(case: str):
    spec, options = NEXT[case]
    assert record_command({"spec": spec}, Path("my/plan.json")) == f"diffuscope record {options}"


def planning(monkeypatch: pytest.MonkeyPatch, path: Path, measure: Any) -> int:
    """The command with a little material for what is gathered, and `measure` for whole steps."""
    monkeypatch.setattr(plan_cli, "_gather", lambda *_: material())
    monkeypatch.setattr(whole_steps, "measure_steps", measure)
    return plan_cli.command("flux-tiny", device="cpu", out=path)


def test_a_kill_during_whole_steps_leaves_the_plan_of_single_linears(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def killed(*_: Any) -> dict[str, Any]:
        raise SystemExit

    path = tmp_path / "deep" / "plan.json"
    with pytest.raises(SystemExit):
        planning(monkeypatch, path, killed)
    assert plan_data(path)["layers"] == {"transformer.a": "fp8wo", "transformer.b": "int8wo"}
    assert capsys.readouterr().err == f"{path} is written; whole steps of 3 assignments may still change it\n"


@pytest.mark.parametrize(
    ("code", "returned", "told"),
    [
        (130, 130, "interrupted: no plan was written"),
        (-signal.SIGINT, 130, "interrupted: no plan was written"),
        (-signal.SIGTERM, 3, "error: the planning process was killed by SIGTERM: no plan was written\n  plan again"),
        (-signal.SIGKILL, 3, "SIGKILL: no plan was written\n  plan with fewer --schemes, or a smaller --batch"),
    ],
)
def test_an_end_while_single_linears_are_measured_says_that_nothing_was_written(
    code: int, returned: int, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(plan_cli, "start_child", lambda *_: code)
    assert app.run(["plan", "flux-tiny", "--device", "cpu", "-o", str(tmp_path / "plan.json")]) == returned
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_around_whole_steps_says_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def interrupted(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    path = tmp_path / "plan.json"
    assert planning(monkeypatch, path, interrupted) == 130
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted: {path} holds the plan of single Linears"


def test_a_file_that_was_made_meanwhile_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path, beside = tmp_path / "plan.json", tmp_path / "plan-2.json"

    def gather(*_: Any) -> dict[str, Any]:
        path.write_text("of another")
        return material()

    def measure(*_: Any) -> dict[str, Any]:
        assert plan_data(beside)["whole_steps"]["steps_us"] == {}
        return {"steps": 2, "steps_us": {"mixed": [3.0], "int8wo": [2.0]}, "failed": {}}

    monkeypatch.setattr(plan_cli, "_gather", gather)
    monkeypatch.setattr(whole_steps, "measure_steps", measure)
    assert plan_cli.command("flux-tiny", device="cpu", out=path) == 0
    assert path.read_text() == "of another"
    assert plan_data(beside)["whole_steps"]["taken"] == "int8wo"
    told = capsys.readouterr()
    assert f"{path} was made by others meanwhile: the plan is {beside}" in told.err
    assert f"--scheme {beside}" in told.out
    assert sorted(tmp_path.iterdir()) == [beside, path]


def test_a_full_disk_leaves_no_empty_plan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("profiler.cli.plan_output.write_atomic", full)
    with pytest.raises(UsageError, match=r"cannot write .*: No space left on device"):
        planning(monkeypatch, tmp_path / "plan.json", None)
    assert list(tmp_path.iterdir()) == []


WRONG = {
    "no size": (("--max-memory", "much"), "--max-memory much is no size"),
    "unknown scheme": (("--schemes", "int3"), "no scheme is called 'int3'"),
    "unknown mode": (("--compile", "fast"), "no compile mode is called 'fast'"),
    "no dB": (("--min-sqnr", "nan"), "--min-sqnr nan is no number of dB"),
    "another ending": (("-o", "plan.txt"), "plan.txt does not end with .json"),
    "a file for a folder": (("-o", "/dev/null/plan.json"), "cannot write /dev/null/plan.json"),
    "no run": (("--from", "nowhere"), "nowhere is no run directory"),
    "batch": (("--batch", "0"), "--batch is 0, and must be at least 1"),
    "size": (("--size", "100"), "multiples of 16 pixels"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_one_error(tmp_path: Path, case: str):
    arguments, message = WRONG[case]
    done = diffuscope("plan", "flux-tiny", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_the_device_cannot_run_is_refused(tmp_path: Path):
    done = diffuscope("plan", "flux-tiny", "--schemes", "fp8dqrow", "--device", "cpu", "-o", tmp_path / "plan.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "scheme fp8dqrow needs a CUDA device" in done.stderr
    assert not (tmp_path / "plan.json").exists()
