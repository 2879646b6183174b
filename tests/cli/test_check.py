"""`check` as CI calls it: exit codes, one error, JSON alone, JUnit XML, on the runs kept in `traces/`."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from profiler.cli.app import run as run_command

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / each) for each in ("metrics", "rules")]
BF16, FP8 = (ROOT / "traces" / f"flux-dev-{name}" for name in ("bf16", "fp8dqrow-regional"))
KEPT = """
inference_peak_gib = 22.8
model_gib = 20.4
call_ms = 3000
time_ratio = 0.57
graph_breaks = 0
recompiles_in_step = 0
unexplained_share = 0.02
sqnr_db = 21.9
"""


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    """Lines are not wrapped in the middle of what a test looks for."""
    monkeypatch.setenv("COLUMNS", "240")


@pytest.fixture
def budget(tmp_path):
    """Write a budget of this text."""

    def make(text, name="budget.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return make


def check(capsys, *arguments):
    """Exit code, stdout and stderr; a traceback anywhere is a failure."""
    code = run_command(["check", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out, captured.err


def test_a_budget_that_is_kept_is_exit_0(budget, tmp_path):
    from processes import diffuscope, loaded

    folder = tmp_path / "modules"
    folder.mkdir()
    done = diffuscope("check", FP8, "--budget", budget(KEPT), "--base", BF16, MODULES_AT_EXIT=str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.rstrip().splitlines()
    assert lines[0] == f"PASSED: {FP8} keeps {tmp_path / 'budget.toml'}: 9 of 9 lines hold"
    assert lines[-1] == f"next: diffuscope compare {BF16} {FP8}"
    assert all({"torch", "diffusers", "torchao"}.isdisjoint(each.modules) for each in loaded(folder))
    assert any("profiler.report.check" in each for each in loaded(folder))


def test_one_line_over_is_exit_1_and_says_which(budget):
    from processes import diffuscope

    done = diffuscope("check", FP8, "--budget", budget(KEPT.replace("0.57", "0.56")), "--base", BF16)
    assert (done.returncode, done.stderr) == (1, "")
    assert "\n  FAIL: time a call over the base's: 0.565 x, limit <= 0.56 x, 0.005 over\n" in done.stdout
    assert done.stdout.rstrip().endswith(f"next: diffuscope diagnose {FP8} --base {BF16}")


def test_what_fp8_keeps_eager_bf16_breaks(budget, capsys):
    code, out, _ = check(capsys, BF16, "--base", FP8, "--budget", budget(KEPT), "--json")
    failed = [each["name"] for each in json.loads(out)["checks"] if each["status"] == "fail"]
    assert (code, failed) == (1, ["inference_peak_gib", "model_gib", "call_ms", "time_ratio", "sqnr_db.last_latents"])


def test_json_is_only_json(budget, capsys):
    code, out, err = check(capsys, FP8, "--budget", budget(KEPT), "--base", BF16, "--json")
    data = json.loads(out)
    assert (code, err, data["passed"], data["base"]) == (0, "", True, str(BF16))
    assert data["counts"] == {"pass": 9, "fail": 0, "not_checked": 0}
    measured = {each["name"]: each["measured"] for each in data["checks"]}
    assert measured["model_gib"] == pytest.approx(20.363387, abs=1e-6)
    assert measured["sqnr_db.last_latents"] == pytest.approx(21.911386, abs=1e-6)


def test_the_base_is_the_command_lines_else_the_budgets(budget, tmp_path, capsys):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "base").symlink_to(BF16)
    path = budget('base = "runs/base"\ntime_ratio = 0.6')
    code, out, _ = check(capsys, FP8, "--budget", path, "--json")
    assert (code, json.loads(out)["base"]) == (0, str(tmp_path / "runs" / "base"))
    code, out, _ = check(capsys, FP8, "--budget", path, "--base", FP8, "--json")
    assert (code, json.loads(out)["checks"][1]["measured"]) == (1, 1.0)


def test_without_a_base_a_ratio_is_not_checked_and_fails(budget, capsys):
    code, out, _ = check(capsys, FP8, "--budget", budget("time_ratio = 0.6"))
    assert code == 1 and "NOT CHECKED: time a call over the base's: no base run (--base RUN, or base = in the budget)" in out
    code, out, _ = check(capsys, FP8, "--budget", budget("time_ratio = { limit = 0.6, optional = true }"))
    assert code == 0 and "skipped" in out


def test_an_out_of_memory_run_fails_and_is_shown_next(budget, capsys):
    run = ROOT / "traces" / "flux-dev-batch64-oom"
    code, out, _ = check(capsys, run, "--budget", budget("model_gib = 80"))
    assert code == 1 and "FAIL: the run ended ok: no, oom in phase warmup" in out
    assert out.rstrip().endswith(f"next: diffuscope show {run}")


def test_what_has_no_trace_is_not_sent_to_diagnose(budget, tmp_path, capsys):
    from small_runs import write_run

    run = write_run(tmp_path / "run", timed={"iterations_ns": [1e9]}).path
    code, out, _ = check(capsys, run, "--budget", budget("call_ms = 1"))
    assert code == 1 and out.rstrip().endswith(f"next: diffuscope show {run}")


def test_the_xml_is_written_where_it_is_asked_for(budget, tmp_path, capsys):
    path = tmp_path / "reports" / "new" / "check.xml"
    code, out, _ = check(capsys, FP8, "--budget", budget("model_gib = 20\ngraph_breaks = 0"), "--junit", path, "--json")
    root = ElementTree.parse(path).getroot()
    assert (code, root.attrib["tests"], root.attrib["failures"]) == (1, "3", "1")
    assert [each.attrib["name"] for each in root.iter("testcase")] == [each["name"] for each in json.loads(out)["checks"]]
    assert [each.name for each in path.parent.iterdir()] == ["check.xml"]


@pytest.mark.parametrize("name", [".", "budget.toml/check.xml"])
def test_an_xml_that_cannot_be_written_is_exit_2(budget, tmp_path, name, capsys):
    path = budget("model_gib = 21")
    code, out, err = check(capsys, FP8, "--budget", path, "--junit", tmp_path / name)
    assert (code, out) == (2, "") and err.startswith("error: cannot write --junit ")


def test_a_budget_that_cannot_be_read_is_exit_2(budget, tmp_path, capsys):
    code, out, err = check(capsys, FP8, "--budget", budget("model_gb = 3"))
    assert (code, out) == (2, "")
    assert err.startswith(
        f"error: {tmp_path / 'budget.toml'}: model_gb is no key of a budget; the nearest is model_gib\n  known: "
    )
    code, out, err = check(capsys, FP8, "--budget", tmp_path / "nothing.toml")
    assert (code, out) == (2, "") and "cannot read the budget" in err
    code, out, err = check(capsys, FP8)
    assert (code, out) == (2, "") and "--budget" in err


@pytest.mark.parametrize("text", [None, "{", "[]", '{"schema_version": 99}', '{"schema_version": 1, "phases": 3}'])
def test_an_unreadable_run_or_base_is_exit_2_and_named(budget, tmp_path, text, capsys):
    broken = tmp_path / "broken"
    broken.mkdir()
    if text is not None:
        (broken / "run.json").write_text(text)
    path = budget("model_gib = 21")
    for arguments in ((broken,), (FP8, "--base", broken)):
        code, out, err = check(capsys, *arguments, "--budget", path)
        assert (code, out) == (2, "") and err.count("error: ") == 1 and str(broken) in err


@pytest.mark.parametrize("name", ["trace.json.gz", "memory.pickle.gz", "compile_log/a.log", "output.npz"])
@pytest.mark.parametrize("raw", [b"", b"\x80\x04garbage", gzip.compress(b'{"traceEvents": [', mtime=0)])
def test_a_broken_artifact_is_a_line_that_is_not_checked(budget, tmp_path, name, raw, capsys):
    from small_runs import NVJET, busy, write_run

    run = write_run(tmp_path / "run", busy([(NVJET, 999)]), timed={"iterations_ns": [1e9]}).path
    path = (run if name.endswith(".npz") else run / "rank0") / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(raw)
    every = "call_ms = 2000\nhost_syncs_in_step = 0\nunexplained_share = 0.5\nstep_growth_mib = 1\ngraph_breaks = 0\nsqnr_db = 1"
    code, out, err = check(capsys, run, "--base", FP8, "--budget", budget(every), "--json")
    found = {each["name"]: each for each in json.loads(out)["checks"]}
    assert (code, err, found["call_ms"]["status"]) == (1, "", "pass")
    assert all(each["note"] and "it failed" not in each["note"] for each in found.values() if each["status"] == "not checked")


def test_a_small_cpu_recording_and_its_budget(budget, capsys):
    """What a machine without a GPU can check: time, graph breaks, recompiles, growth; and why the rest is not."""
    from processes import eager

    run = eager().path
    kept = (
        "call_ms = 600_000\ngraph_breaks = 0\nrecompiles = 0\nrecompiles_in_step = 0\ntime_ratio = 1\nsqnr_db = 60\npsnr_db = 60"
    )
    code, out, _ = check(capsys, run, "--base", run, "--budget", budget(kept))
    assert code == 0 and "8 of 8 lines hold" in out and out.count("identical") == 2
    code, out, _ = check(capsys, run, "--budget", budget("inference_peak_gib = 1\nhost_syncs_in_step = 0\nfloor_ratio = 2"))
    assert code == 1
    assert "inference peak: peaks are counted on a CUDA device, and this run is of a CPU" in " ".join(out.split())
    assert "host syncs in a step: nothing ran on a GPU" in out and "no floor: nothing ran on a GPU" in out
