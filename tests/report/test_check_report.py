"""A run held against a budget: what passes, the documented JSON, the text, and XML that any parser reads."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from profiler.core.errors import UnreadableInput
from profiler.report import check as check_module
from profiler.report.budget import Budget, Limit
from profiler.report.budget_lines import LINES
from profiler.report.budget_measure import Measured
from profiler.report.check import check_data
from profiler.report.check_junit import check_junit
from profiler.report.check_text import check_text
from profiler.rundir.manifest import Failure, Manifest
from profiler.tables.run import Run

_DOC = Path(__file__).resolve().parents[2] / "docs" / "check.md"


@pytest.fixture
def check(monkeypatch):
    """Check (measured, limit) by line; a limit may be a `Limit`, an exception is raised where the line is measured."""

    def make(lines, run="runs/new", base=None, **manifest):
        planted = {name: replace(LINES[name], measure=_measure(measured)) for name, (measured, _) in lines.items()}
        monkeypatch.setattr(check_module, "LINES", planted)
        limits = [each if isinstance(each, Limit) else Limit(name, each) for name, (_, each) in lines.items()]
        opened = Run(Path(base), Manifest()) if base else None
        return check_data(Run(Path(run), Manifest(**{"status": "ok", **manifest})), Budget(Path("b.toml"), tuple(limits)), opened)

    return make


def _measure(measured):
    def measure(_):
        if isinstance(measured, BaseException):
            raise measured
        return measured if isinstance(measured, Measured) else Measured(measured)

    return measure


def _only(data):
    return data["checks"][1]


@pytest.mark.parametrize(
    ("name", "value", "limit", "status", "margin"),
    [
        ("model_gib", 19.5, 20.0, "pass", 0.5),
        ("model_gib", 20.0, 20.0, "pass", 0.0),
        ("model_gib", 20.25, 20.0, "fail", -0.25),
        ("graph_breaks", 0.0, 0.0, "pass", 0.0),
        ("graph_breaks", 1.0, 0.0, "fail", -1.0),
        ("psnr_db", 31.0, 30.0, "pass", 1.0),
        ("psnr_db", 30.0, 30.0, "pass", 0.0),
        ("psnr_db", 29.0, 30.0, "fail", -1.0),
    ],
)
def test_a_limit_holds_up_to_itself(check, name, value, limit, status, margin):
    found = _only(check({name: (value, limit)}))
    assert (found["status"], found["ok"], found["measured"], found["margin"]) == (status, status == "pass", value, margin)


def test_one_line_decides_the_whole(check):
    data = check({"model_gib": (19.0, 20.0), "call_ms": (5.0, 4.0), "psnr_db": (Measured(None, "no picture"), 30.0)})
    assert (data["passed"], data["counts"]) == (False, {"pass": 2, "fail": 1, "not_checked": 1})
    assert check({"model_gib": (19.0, 20.0)})["passed"]


def test_what_cannot_be_checked_fails_unless_it_is_optional(check):
    unknown = Measured(None, "no base run")
    required = check({"time_ratio": (unknown, 0.6)})
    optional = check({"time_ratio": (unknown, Limit("time_ratio", 0.6, optional=True))})
    assert (required["passed"], optional["passed"]) == (False, True)
    for data, ok in ((required, False), (optional, True)):
        found = _only(data)
        assert (found["status"], found["ok"], found["note"]) == ("not checked", ok, "no base run")
        assert (found["measured"], found["margin"], found["limit"]) == (None, None, 0.6)


def test_optional_is_no_excuse_for_a_limit_that_breaks(check):
    assert not check({"call_ms": (5.0, Limit("call_ms", 4.0, optional=True))})["passed"]


def test_a_lower_bound_can_fail_and_never_passes(check):
    bound = Measured(3.0, "GB0124", at_least="records are lost")
    assert _only(check({"graph_breaks": (bound, 2.0)}))["status"] == "fail"
    found = _only(check({"graph_breaks": (bound, 3.0)}))
    assert (found["status"], found["measured"]) == ("not checked", 3.0)
    assert found["note"] == "it is a lower bound: records are lost"


def test_outputs_without_a_number(check):
    same = _only(check({"psnr_db": (Measured(math.inf, "equal to the bit"), 30.0)}))
    assert (same["status"], same["measured"], same["note"]) == ("pass", None, "equal to the bit")
    broken = _only(check({"psnr_db": (Measured(-math.inf, "4 values are not finite"), 0.0)}))
    assert (broken["status"], broken["measured"], broken["note"]) == ("fail", None, "4 values are not finite")
    assert _only(check({"psnr_db": (math.nan, 0.0)}))["status"] == "not checked"


def test_a_line_that_fails_to_measure_leaves_the_others(check):
    data = check(
        {"call_ms": (ZeroDivisionError("division\nby zero"), 1.0), "model_gib": (UnreadableInput("no run", "hint"), 2.0)}
    )
    assert [each["note"] for each in data["checks"][1:]] == ["it failed: ZeroDivisionError: division", "no run"]
    assert {each["status"] for each in data["checks"][1:]} == {"not checked"}


@pytest.mark.parametrize("status", ["oom", "failed", "interrupted", "timeout", "refused", "running"])
def test_a_run_that_did_not_end_ok_keeps_no_budget(check, status):
    data = check({"model_gib": (1.0, 2.0)}, status=status, failure=Failure(type="E", message="m", phase="warmup"))
    first = data["checks"][0]
    assert not data["passed"]
    assert (first["name"], first["status"], first["note"]) == ("status", "fail", f"no, {status} in phase warmup")


def test_the_json_has_the_documented_keys_and_no_more(check):
    data = check({"model_gib": (1.0, 2.0), "psnr_db": (math.inf, 3.0)}, base="runs/base")
    told = _DOC.read_text(encoding="utf-8").partition("## JSON")[2]
    json.loads(json.dumps(data, allow_nan=False))
    for keys in (data, data["counts"], *data["checks"]):
        assert all(f"`{key}`" in told for key in keys)
    identity = ["name", "about", "title", "unit", "status", "ok", "optional"]
    assert all(list(each) == [*identity, "measured", "relation", "limit", "margin", "note"] for each in data["checks"])
    assert (data["run"], data["budget"], data["base"]) == ("runs/new", "b.toml", "runs/base")


def _mixed(check):
    return check(
        {
            "inference_peak_gib": (Measured(22.777, "of the traced call"), 24.0),
            "call_ms": (Measured(3123.44, "one call"), 3000.0),
            "graph_breaks": (Measured(None, "no compile log"), 0.0),
            "recompiles": (Measured(None, "no compile log"), 1.0),
            "step_growth_mib": (Measured(None, "two steps"), Limit("step_growth_mib", 0.0, optional=True)),
            "unexplained_share": (0.0125, 0.02),
            "sqnr_db.first_transformer_output": (19.149, 20.0),
            "psnr_db": (Measured(math.inf, "equal to the bit"), 30.0),
        },
        base="runs/base",
    )


def test_the_text_begins_with_the_verdict_and_has_one_line_a_limit(check):
    lines = check_text(_mixed(check), 100).splitlines()
    assert lines[:5] == [
        "FAILED: runs/new does not keep b.toml: 2 of 9 lines fail, 2 not checked, 1 optional not checked",
        "against runs/base",
        "  FAIL: time a call: 3,123.4 ms, limit <= 3000 ms, 123.4 over; one call",
        "  FAIL: SQNR, first transformer output: 19.15 dB, limit >= 20 dB, 0.85 short",
        "  NOT CHECKED: graph breaks; recompiles: no compile log",
    ]
    rows = [re.split(r" {2,}", line) for line in lines[8:17]]
    assert rows == [
        ["the run ended ok", "pass"],
        ["inference peak", "22.777", "≤ 24 GiB", "1.223 left", "pass"],
        ["time a call", "3,123.4", "≤ 3000 ms", "123.4 over", "FAIL"],
        ["graph breaks", "-", "≤ 0", "NOT CHECKED"],
        ["recompiles", "-", "≤ 1", "NOT CHECKED"],
        ["growth a step", "-", "≤ 0 MiB", "skipped"],
        ["unexplained share of a step", "0.0125", "≤ 0.02", "0.0075 left", "pass"],
        ["SQNR, first transformer output", "19.15", "≥ 20 dB", "0.85 short", "FAIL"],
        ["PSNR of the picture", "identical", "≥ 30 dB", "pass"],
    ]
    assert lines[18:] == [
        "inference peak: of the traced call",
        "growth a step: two steps",
        "PSNR of the picture: equal to the bit",
    ]


def test_a_budget_that_is_kept(check):
    data = check({"model_gib": (1.0, 2.0), "psnr_db": (Measured(None, "none"), Limit("psnr_db", 1.0, optional=True))})
    assert check_text(data).startswith("PASSED: runs/new keeps b.toml: 2 of 3 lines hold, 1 optional not checked\n\nline ")


def test_a_value_is_shown_apart_from_its_limit(check):
    text = check_text(check({"model_gib": (20.00004, 20.0), "call_ms": (3000.0, 3000.0)}))
    rows = [re.split(r" {2,}", line) for line in text.splitlines()[-2:]]
    assert rows[0][1:] == ["20.00004", "≤ 20 GiB", "0.00004 over", "FAIL"]
    assert rows[1][1:] == ["3,000.0", "≤ 3000 ms", "none left", "pass"]


@pytest.mark.parametrize("width", [40, 80, 100, 120, 400])
def test_narrow_text_cuts_names_and_never_numbers(check, width):
    text = check_text(_mixed(check), width)
    assert all(len(line) <= max(80, min(120, width)) for line in text.splitlines()[1:])
    assert all(each in text for each in ("3,123.4", "≤ 3000 ms", "123.4 over", "0.0075 left", "NOT CHECKED", "identical"))


def test_the_xml_has_one_case_a_line(check):
    suite = ElementTree.fromstring(check_junit(_mixed(check))).find("testsuite")
    assert suite.attrib == {"name": "runs/new", "tests": "9", "failures": "4", "errors": "0", "skipped": "1"}
    cases = {each.attrib["name"]: each for each in suite.iter("testcase")}
    assert list(cases)[:3] == ["status", "inference_peak_gib", "call_ms"]
    failed = {name: each.find("failure").attrib["type"] for name, each in cases.items() if each.find("failure") is not None}
    assert failed == {
        "call_ms": "fail",
        "graph_breaks": "not checked",
        "recompiles": "not checked",
        "sqnr_db.first_transformer_output": "fail",
    }
    said = cases["call_ms"].find("failure")
    assert said.attrib["message"] == said.text == "time a call: 3,123.4 ms, limit <= 3000 ms, 123.4 over; one call"
    assert cases["step_growth_mib"].find("skipped").attrib["message"].endswith("two steps")
    assert cases["psnr_db"].find("system-out").text == "PSNR of the picture: limit >= 30 dB; equal to the bit"
    assert {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")} == {
        "run": "runs/new",
        "budget": "b.toml",
        "base": "runs/base",
    }


@pytest.mark.parametrize(
    "name", ["<run> & 'co' \"quoted\"", "a]]>b", "control \x00\x1b\x7f", "no text \udcff", "line\nbreak\ttab", "ünï ∞ 🙂"]
)
def test_any_name_is_whole_xml(check, name):
    data = check({"call_ms": (Measured(5.0, name), 4.0), "model_gib": (Measured(1.0, name), 2.0)}, run=name)
    text = check_junit(data)
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert [each.attrib["name"] for each in root.iter("testcase")] == ["status", "call_ms", "model_gib"]
    clean = re.sub("[\x00\x1b\udcff]", "\N{REPLACEMENT CHARACTER}", name)
    assert root.find("testsuite").attrib["name"] == clean


def test_a_name_cannot_look_like_a_line_of_ours(check):
    text = check_text(check({"call_ms": (Measured(5.0, "x\nPASSED: y"), 4.0)}, run="a\nPASSED: b"))
    assert not any(line.startswith("PASSED") for line in text.splitlines())
