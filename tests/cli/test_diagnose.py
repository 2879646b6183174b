"""`diagnose` as a user calls it, on whole, broken and hostile runs: one message and an exit code, never a traceback."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path

import pytest

from profiler.cli.app import run as run_command

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / each) for each in ("metrics", "rules")]
_TRACES = ROOT / "traces"

REGION = {"ph": "X", "cat": "cpu_op", "name": "Torch-Compiled Region: 0/0", "pid": 1, "tid": 1, "ts": 10, "dur": 50}


@pytest.fixture
def step(tmp_path):
    """A run directory with one busy step."""
    from small_runs import NVJET, busy, write_run

    return write_run(tmp_path / "step", busy([(NVJET, 999)])).path


def diagnose(capsys, *arguments):
    """Exit code, stdout and stderr; a traceback anywhere is a failure."""
    code = run_command(["diagnose", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return code, captured.out, captured.err


def _refused(capsys, *arguments, says):
    code, out, err = diagnose(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.count("error: ") == 1 and says in err, err


def test_text_ends_with_the_next_command(step, capsys):
    code, out, err = diagnose(capsys, step)
    assert (code, err) == (0, "")
    assert "nothing found that costs time in every call" in out and "GEMM bf16" in out
    assert out.rstrip().endswith(f"next: diffuscope show {step}")


def test_json_is_only_json(step, capsys):
    code, out, err = diagnose(capsys, step, "--json")
    data = json.loads(out)
    assert (code, err, data["run"], data["window"]["name"]) == (0, "", str(step), "step")
    assert data["window"]["dur_us"] == 1000
    assert data["ledger"][0]["id"].startswith("busy/GEMM bf16/")


@pytest.mark.parametrize("window", ["text", "decode"])
def test_a_window_that_the_trace_has_not_is_said_to_be_the_call(step, window, capsys):
    code, out, _ = diagnose(capsys, step, "--window", window, "--json")
    assert (code, json.loads(out)["window"]["name"]) == (0, "call")
    code, out, _ = diagnose(capsys, step, "--window", window)
    assert code == 0 and ": a call took" in out


def test_an_unknown_window(step, capsys):
    _refused(capsys, step, "--window", "compile", says="--window compile is not known")


def test_no_run_no_trace_no_directory(tmp_path, capsys):
    from small_runs import write_run

    _refused(capsys, tmp_path / "none", says="is no run directory")
    _refused(capsys, write_run(tmp_path / "bare").path, says="holds no rank0/trace.json.gz")


@pytest.mark.skipif(not (_TRACES / "flux-dev-batch64-oom").is_dir(), reason="no kept run out of memory in traces/")
def test_a_run_without_a_trace_has_its_memory_diagnosed(capsys):
    code, out, err = diagnose(capsys, _TRACES / "flux-dev-batch64-oom")
    assert (code, err) == (0, "") and "no trace, so nothing is known of its time" in out
    assert "out of memory in warmup: 16.000 GiB asked by vae, 12.971 GiB free on the device  [critical]" in out


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"no gzip",
        gzip.compress(b"{}", mtime=0),
        gzip.compress(b'{"traceEvents": [', mtime=0),
        gzip.compress(b"[1, 2]", mtime=0),
        gzip.compress(b"x" * 99, mtime=0),
    ],
)
def test_a_trace_that_is_none(step, raw, capsys):
    (step / "rank0" / "trace.json.gz").write_bytes(raw)
    code, _, err = diagnose(capsys, step)
    assert code in (0, 2)
    assert err.count("error: ") == (code == 2)


def test_an_empty_trace_and_one_of_the_cpu_alone(tmp_path, capsys):
    from small_runs import write_run

    code, out, _ = diagnose(capsys, write_run(tmp_path / "empty", []).path)
    assert code == 0 and "nothing found" in out
    run = write_run(tmp_path / "cpu", [dict(REGION, name="aten::mm")]).path
    code, out, _ = diagnose(capsys, run)
    assert code == 0 and "not checked, no GPU trace: " in out and "host-sync" in out


def _with_log(folder, *records, key="fa"):
    from small_runs import write_run

    graph = dict(REGION, cat="user_annotation", name=f"## Call CompiledFxGraph {key} ##", ts=20, dur=20)
    return write_run(folder, [REGION, graph], list(records)).path


def _one_compile(key):
    from compile_logs import fx_cache, metrics, start

    return [start("0/0"), fx_cache("miss", key, "0/0"), metrics("0/0", -2_000_000)]


def test_log_and_trace_of_two_programs_are_refused(tmp_path, capsys):
    run = _with_log(tmp_path / "run", *_one_compile("fb"))
    _refused(capsys, run, says="are not of the same program: the trace runs 1 compiled graph and the log compiled 1")
    _refused(capsys, run, "--json", says="import the log that was written while this trace was recorded")
    assert diagnose(capsys, _with_log(tmp_path / "same", *_one_compile("fa")))[0] == 0


def test_an_eager_trace_with_a_log_of_another_day_is_refused(tmp_path, capsys):
    from compile_logs import metrics, start
    from small_runs import write_run

    day = 24 * 3600 * 10**6
    log = [start("0/0"), metrics("0/0", -day)]
    _refused(capsys, write_run(tmp_path / "run", [dict(REGION, name="aten::mm")], log).path, says="began after the log ended")


def test_a_trace_without_compiled_regions_beside_its_log(tmp_path, capsys):
    from small_runs import write_run

    code, out, _ = diagnose(capsys, write_run(tmp_path / "run", [dict(REGION, name="aten::mm")], _one_compile("fa")).path)
    assert code == 0 and "failed" not in out


@pytest.mark.parametrize(
    "rest", ['{"half": ', "\tpayload of nothing\n", "\x00" * 50, 'V1122 13:45:39.030000 407 torch/x.py:17] {"dynamo_st']
)
def test_half_a_record_loses_itself_only(tmp_path, rest, capsys):
    code, out, _ = diagnose(capsys, _with_log(tmp_path / "run", *_one_compile("fa"), rest))
    assert code == 0 and "failed" not in out and "no compile log" not in out


def test_a_log_of_garbage_or_without_a_file(tmp_path, capsys):
    run = _with_log(tmp_path / "run")
    folder = run / "rank0" / "compile_log"
    for each in folder.iterdir():
        each.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    code, out, err = diagnose(capsys, run)
    assert code in (0, 2) and ("failed" not in out)
    assert err.count("error: ") == (code == 2)
    shutil.rmtree(folder)
    folder.mkdir()
    assert diagnose(capsys, run)[0] == 0


@pytest.mark.parametrize("text", [None, "{", "[]", '{"schema_version": 99}', '{"schema_version": 1, "phases": 3}'])
def test_a_broken_base(step, tmp_path, text, capsys):
    base = tmp_path / "base"
    base.mkdir()
    if text is not None:
        (base / "run.json").write_text(text)
    code, out, err = diagnose(capsys, step, "--base", base)
    assert (code, out) == (2, "") and str(base) in err


def test_a_base_that_failed_before_it_was_traced(step, tmp_path, capsys):
    from small_runs import write_run

    base = write_run(tmp_path / "base", status="failed").path
    assert diagnose(capsys, step, "--base", base)[0] == 0


def test_a_folder_that_nobody_may_write_to(step, capsys):
    """The cache then lies elsewhere."""
    (step / "cache").write_text("a file where the folder should be")
    assert diagnose(capsys, step)[0] == 0


def test_names_that_are_markup_do_not_become_any(tmp_path, capsys):
    from small_runs import busy, write_run

    name = "<script>alert</script>[red]x[/red]\x1b[31m gemm_s8 sm80_"
    gpu = {"gpu": {"name": "NVIDIA H100", "capability": [9, 0]}}
    run = write_run(tmp_path / "run", busy([(name, 999)]), environment=gpu).path
    code, out, _ = diagnose(capsys, run)
    assert code == 0 and "[red]x[/red]" in out and "\x1b" not in out


@pytest.mark.skipif(not (_TRACES / "flux-dev-bf16").is_dir(), reason="no golden runs in traces/")
def test_a_recorded_run_with_its_base(capsys):
    code, out, _ = diagnose(
        capsys, _TRACES / "flux-dev-int8dq-regional", "--base", _TRACES / "flux-dev-fp8dqrow-regional", "--json"
    )
    rules = {each["rule"]: each for each in json.loads(out)["findings"]}
    assert code == 0 and rules["slower-than-base"]["title"].endswith("1.49 times as long")
