"""`show` of a sweep's folder as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sweep_folders import manifest, spec, sweep_of, write_run

from profiler.cli.app import run as run_command
from profiler.cli.sizes import parse_bytes
from profiler.core.errors import UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two cells of FLUX.1-dev."""
    return sweep_of(tmp_path / "s", {"a": manifest(spec("int8wo")), "b": manifest(spec("fp8wo"), (9.0,))})


def shown(capsys, *arguments: object) -> str:
    assert run_command(["show", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_text_ends_with_the_next_command(folder, capsys):
    out = shown(capsys, folder)
    assert "2 of 2 cells went well" in out
    assert out.rstrip().endswith(f"next: diffuscope show {folder} --against seed")
    assert shown(capsys, folder, "--against", "seed").rstrip().endswith(f"next: diffuscope show {folder / 'a'}")


def test_json_and_the_other_formats_are_only_that(folder, capsys):
    for arguments in (("--json",), ("--format", "json")):
        assert json.loads(shown(capsys, folder, *arguments))["pareto"] == ["a"]
    assert shown(capsys, folder, "--format", "csv").startswith("model,gpu,batch_size,")
    assert shown(capsys, folder, "--format", "markdown", "--against", "seed").count("\n## ") == 2


def test_a_budget_as_people_type_it(folder, capsys):
    found = json.loads(shown(capsys, folder, "--max-memory", "22528MiB", "--json"))["recommended"]
    assert [each["text"] for each in found if each["what"] == "within budget"] == ["no cell keeps 22 GiB"]


def test_a_folder_of_runs_is_shown_like_a_sweep(tmp_path, capsys):
    write_run(tmp_path / "one", manifest(spec("int8wo")))
    assert "1 of 1 cells went well" in shown(capsys, tmp_path)


def test_a_run_is_no_sweep(folder, capsys):
    assert run_command(["show", str(folder / "a"), "--format", "csv"]) == 2
    assert f"{folder / 'a'} is no sweep, and --format is of one\n  leave it out" in capsys.readouterr().err
    assert run_command(["show", str(folder / "a"), "--against", "seed", "--min-sqnr", "20"]) == 2
    assert "--against and --min-sqnr are of one" in capsys.readouterr().err


def test_a_sweep_is_no_run(folder, capsys):
    assert run_command(["show", str(folder), "--top", "3", "--rank", "0"]) == 2
    assert f"{folder} is no run, and --top and --rank are of one" in capsys.readouterr().err


def test_of_a_file_in_it_the_folder_is_named(folder, capsys):
    for path in (folder / "sweep.json", folder / "a" / "run.json"):
        assert run_command(["show", str(path)]) == 2
        assert f"name that: diffuscope show {path.parent}" in capsys.readouterr().err


def test_a_plan_is_no_sweep(tmp_path, capsys):
    (tmp_path / "plan.json").write_text("{}")
    assert run_command(["show", str(tmp_path / "plan.json"), "--against", "seed"]) == 2
    assert "plan.json is no sweep, and --against is of one" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "xml"), "--format xml is not known"),
        (("--format", "csv", "--json"), "--json and --format csv ask for two formats"),
        (("--against", "mine"), "--against mine is not known"),
        (("--min-sqnr", "nan"), "--min-sqnr nan is no number of dB"),
        (("--max-memory", "much"), "--max-memory much is no size"),
        (("--base", "c"), "base c is neither a cell nor a run"),
    ],
)
def test_wrong_usage_is_one_error(folder, capsys, arguments, message):
    assert run_command(["show", str(folder), *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""


def test_a_broken_sweep_is_one_error(folder, capsys):
    (folder / "sweep.json").write_text("{")
    assert run_command(["show", str(folder)]) == 2
    assert "sweep.json cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"),
    [("24", 24 << 30), ("24GiB", 24 << 30), (" 1.5 g ", 3 << 29), ("512MiB", 512 << 20), ("24GB", 24 * 10**9), (None, None)],
)
def test_sizes(text, size):
    assert parse_bytes("--max-memory", text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-1", "0", "24KB", "1e3", "nan", "9" * 400])
def test_what_is_no_size(text):
    with pytest.raises(UsageError, match="is no size"):
        parse_bytes("--max-memory", text)
