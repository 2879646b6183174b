"""Planted faults are found first, at the planted line; controls are clean. All are recorded by one process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT, diffuscope, environment

from profiler.clinic.base import FAULTS
from profiler.clinic.verdict import Verdict, judge
from profiler.report.diagnose import diagnose, to_json
from profiler.tables.run import Run

ON_CPU = [each.name for each in FAULTS.values() if not each.needs_cuda]


# What no control may have; "python-in-step" is also what a machine that is busy elsewhere does to a step.
UNCLEAN = {"graph-break", "recompile", "recompile-limit", "nothing-compiled", "python-in-step"}


@pytest.fixture(scope="session")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    """Record what runs on a CPU as the script for the GPU does, and diagnose it here; a control that was paused, once more."""
    found = judged(tmp_path_factory.mktemp("clinic"), ON_CPU)
    paused = [name for name in ON_CPU if FAULTS.get(name).control and said(found[name]) & UNCLEAN == {"python-in-step"}]
    return found | (judged(tmp_path_factory.mktemp("again"), paused) if paused else {})


def judged(folder: Path, names: list[str]) -> dict[str, Verdict]:
    script = [sys.executable, str(ROOT / "benchmarks" / "clinic_h100.py"), "--out", str(folder), "--device", "cpu"]
    limits = ["--limit-s", "600", "--fault-limit-s", "120", "--only", ",".join(names)]
    done = subprocess.run([*script, *limits], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (folder / "clinic.jsonl").read_text().splitlines()]
    runs = {(each["fault"], each["role"]): Run.open(folder / each["run"]) for each in lines}
    found = {}
    for name in names:
        faulty, fixed = runs[name, "faulty"], runs[name, "fixed"]
        found[name] = judge(FAULTS.get(name), to_json(diagnose(faulty)), faulty.manifest, fixed.manifest)
    return found


def said(verdict: Verdict) -> set[str]:
    """The rules that found something."""
    return {verdict.found, *(each.partition(" ")[0] for each in verdict.others)}


def test_enough_of_them_need_no_gpu():
    assert len([name for name in ON_CPU if not FAULTS.get(name).control]) >= 12
    assert len([each for each in FAULTS.values() if not each.control]) >= 20
    assert len([each for each in FAULTS.values() if each.control]) == 2


@pytest.mark.parametrize("name", ON_CPU)
def test_the_planted_fault_is_the_first_finding(verdicts: dict[str, Verdict], name: str):
    assert verdicts[name].right, verdicts[name]


@pytest.mark.parametrize("name", [name for name in ON_CPU if FAULTS.get(name).place()])
def test_the_finding_names_the_planted_line(verdicts: dict[str, Verdict], name: str):
    assert verdicts[name].place_right, verdicts[name]


@pytest.mark.parametrize("name", [name for name in ON_CPU if FAULTS.get(name).control])
def test_a_control_has_no_break_and_no_recompile(verdicts: dict[str, Verdict], name: str):
    assert UNCLEAN.isdisjoint(said(verdicts[name]))


@pytest.mark.parametrize("fault", FAULTS.values(), ids=lambda fault: fault.name)
def test_every_fault_says_what_it_plants(fault):
    place = fault.place()
    assert fault.summary
    assert fault.fix
    assert Path(fault.file).parent.name == "clinic"
    if place:
        assert place[1] <= place[2]
    assert fault.faulty_spec("cpu").hash != fault.fixed_spec("cpu").hash


def test_the_list_is_json_and_loads_no_torch():
    done = diffuscope("clinic", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)["faults"]
    assert [each["fault"] for each in listed] == list(FAULTS)
    assert {"summary", "planted", "expects", "needs_cuda", "fix"} <= set(listed[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no-such-fault",), "no fault is called 'no-such-fault'"),
        (("empty-cache", "--device", "cpu"), "empty-cache shows on a GPU alone"),
        (("item-in-block", "-o", str(ROOT)), "exists already"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], message: str):
    done = diffuscope("clinic", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_one_fault_from_the_command_line(tmp_path: Path):
    done = diffuscope("clinic", "item-in-block", "--device", "cpu", "-o", tmp_path / "tried", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["found"], answer["right"], answer["place_right"]) == ("graph-break", True, True)
    assert answer["planted"].endswith("item_in_block.py:13")
