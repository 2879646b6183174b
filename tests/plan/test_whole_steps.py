"""Whole steps in processes of their own: real ones, of the tiny Flux on a CPU, one that cannot run and one that is killed."""

from __future__ import annotations

import errno
import re
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from profiler.core.spec import RunSpec
from profiler.plan import process, whole_steps
from profiler.plan.layers import find_layers
from profiler.plan.whole_steps import measure_steps
from profiler.schemes.base import SCHEMES

SPEC = RunSpec(model="flux-tiny", device="cpu", height=64, width=64)


def linears() -> list[dict[str, Any]]:
    found = find_layers(SPEC, [SCHEMES.get("int8wo")]).linears
    return [
        {"module": each.module, "in_features": each.in_features, "out_features": each.out_features, "rows": each.rows}
        for each in found
    ]


def test_what_runs_is_timed_and_what_does_not_says_why(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(whole_steps, "_MOST_STEPS", 3)
    layers = linears()
    every = [each["module"] for each in layers]
    # The second is for tensor cores of Hopper alone.
    assignments = {"mixed": dict.fromkeys(every, "left") | {every[0]: "int8wo"}, "fp8dqrow": dict.fromkeys(every, "fp8dqrow")}
    found = measure_steps(SPEC, layers, assignments)
    assert found["steps"] == 3
    assert {name: len(each) for name, each in found["steps_us"].items()} == {"mixed": 5}
    assert min(found["steps_us"]["mixed"]) > 0
    assert set(found["failed"]) == {"fp8dqrow"}
    assert "Error" in found["failed"]["fp8dqrow"]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_each_goes_first_in_turn_and_follows_others_in_turn(count: int):
    names = list("abcd")[:count]
    counted = range(whole_steps._UNCOUNTED, whole_steps._UNCOUNTED + whole_steps._ROUNDS)
    order = [whole_steps._turned(names, number) for number in counted]
    assert all(sorted(each) == names for each in order)
    assert {each[0] for each in order} == set(names)
    behind = {pair for each in order for pair in pairwise(each)}
    # Within a round each comes behind at least two of the others, or behind the only other one and in front of it.
    assert all(len({one for one, two in behind if two == name}) >= min(2, count - 1) for name in names)


# A contestant whose model is a list of what its calls raise.
RAISING = """
import sys
from profiler.plan import contestant
class OutOfMemoryError(RuntimeError): pass
class BackendCompilerFailed(RuntimeError): pass
late, early = [None, OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\\nmore")], KeyError("to_qkv")
backend = BackendCompilerFailed("backend='inductor' raised:\\nImportError: no ptxas\\n\\nSet TORCHDYNAMO_VERBOSE=1")
def build(spec, linears):
    if linears[0]["scheme"] in ("early", "backend"):
        raise {"early": early, "backend": backend}[linears[0]["scheme"]]
    return late.pop, "cpu"
def timed(step, device, count):
    if late and (error := late.pop(0)):
        raise error
    return 1e6
contestant._build, contestant._timed, contestant._release = build, timed, lambda _: None
sys.exit(contestant.main())
"""


def test_what_a_contestant_raises_at_any_moment_is_its_reason(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.setattr(process, "child_command", lambda _: [sys.executable, "-c", RAISING])
    found = measured(one="late", other="early", third="backend")
    assert found["failed"] == {
        "one": "OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB",
        "other": "KeyError: 'to_qkv'",
        "third": "BackendCompilerFailed: backend='inductor' raised: ImportError: no ptxas",
    }
    assert found["steps_us"] == {}
    assert "Traceback" not in capfd.readouterr().err


# Answers as a contestant does, without a model: the scheme of the only layer says how.
STAND_IN = """
import json, os, signal, sys, time
how = json.loads(sys.stdin.readline())["linears"][0]["scheme"]
say = lambda **answer: print(json.dumps(answer), flush=True)
if how == "hangs early":
    time.sleep(60)
if how == "deaf":
    os.kill(os.getpid(), signal.SIGINT)
say(failed=None)
for number, line in enumerate(sys.stdin):
    if number == 3 and how == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 3 and how == "hangs":
        time.sleep(60)
    if number == 5 and how == "interrupts":
        # As `timeout` does it, and to this one too, as on a terminal.
        for each in (os.getppid(), os.getppid(), os.getpid()):
            os.kill(each, signal.SIGINT)
        time.sleep(60)
    say(step_us=1e6 + number)
"""


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """The processes that stood in for contestants."""
    started: list[subprocess.Popen[str]] = []
    real = subprocess.Popen

    def noted(*arguments: Any, **options: Any) -> Any:
        started.append(real(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(process, "child_command", lambda _: [sys.executable, "-S", "-c", STAND_IN])
    monkeypatch.setattr(process.subprocess, "Popen", noted)
    return started


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Whatever runs the tests may have made itself deaf."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def measured(**how: str) -> dict[str, Any]:
    layers = [{"module": "a", "in_features": 1, "out_features": 1, "rows": 1}]
    return measure_steps(SPEC, layers, {name.replace("_", " "): {"a": each} for name, each in how.items()})


def test_a_process_that_dies_is_named_and_the_others_go_on(stand_ins: list[subprocess.Popen[str]]):
    found = measured(one="lives", other="dies")
    # Of 1.5 s in all, and without the first two rounds.
    assert (found["steps"], found["steps_us"]) == (2, {"one": [1e6 + 2, 1e6 + 3, 1e6 + 4, 1e6 + 5, 1e6 + 6]})
    assert found["failed"] == {"other": "its process was killed by SIGKILL; the machine may be out of memory"}
    assert all(each.poll() is not None for each in stand_ins)


def test_each_step_of_minutes_is_told_where_there_is_no_terminal(
    stand_ins: list[subprocess.Popen[str]], capsys: pytest.CaptureFixture[str]
):
    measured(one="lives", other="dies")
    assert len(stand_ins) == 2
    told = re.sub(r"after \d+ s", "after N s", capsys.readouterr().err)
    assert told.splitlines() == [
        "whole steps of one: ready after N s",
        "whole steps of other: ready after N s",
        "whole steps: 5 rounds of 2 steps each, in turn",
        "whole steps of other: not measured: its process was killed by SIGKILL; the machine may be out of memory",
        "whole steps: done",
    ]


def test_time_left_counts_getting_warm_as_eight_rounds(stand_ins: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch):
    shares: list[float] = []
    run = whole_steps._Contest.run

    def noted(self: Any) -> None:
        shares.append(self._progress._done / self._progress._total)
        run(self)
        shares.append(self._progress._done / self._progress._total)

    monkeypatch.setattr(whole_steps._Contest, "run", noted)
    measured(one="lives", other="lives")
    assert len(stand_ins) == 2
    assert shares == [pytest.approx(16 / 23), 1.0]


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_keeps_the_whole_rounds(stand_ins: list[subprocess.Popen[str]], capfd: pytest.CaptureFixture[str]):
    found = measured(one="deaf", other="interrupts", third="lives")
    assert found["interrupted"] is True
    assert found["failed"] == {}
    # Of seven, the first two do not count, and in the sixth not all had their turn.
    assert found["steps_us"] == {name: [1e6 + 2, 1e6 + 3, 1e6 + 4] for name in ("one", "other", "third")}
    assert all(each.poll() is not None for each in stand_ins)
    told = capfd.readouterr().err
    assert "Traceback" not in told
    assert told.endswith("whole steps: interrupted\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_before_a_whole_round_that_counts_leaves_nothing(
    stand_ins: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
):
    def interrupt(*_: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(whole_steps._Contest, "_one", interrupt)
    found = measured(one="lives", other="hangs")
    assert found == {"steps": 0, "steps_us": {}, "failed": {"one": "interrupted", "other": "interrupted"}, "interrupted": True}
    assert len(stand_ins) == 2


@pytest.mark.usefixtures("hears_ctrl_c")
def test_of_two_ctrl_c_one_is_heard():
    heard = 0
    with whole_steps._interrupted_once():
        for _ in range(2):
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                heard += 1
    assert heard == 1


def test_one_that_hangs_is_ended_and_named(stand_ins: list[subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch):
    real, asked = select.select, Counter[int]()
    limits: dict[int, list[float]] = {0: [], 1: [], 2: []}

    def waiting(files: Any, _write: Any, _other: Any, limit_s: float) -> Any:
        """The limits of those that hang pass at once; on a busy machine those of the others never do."""
        number = next(at for at, each in enumerate(stand_ins) if files == [each.stdout])
        asked[number] += 1
        limits[number].append(limit_s)
        # The third before it is ready, the second in its fourth round.
        passed = (number, asked[number]) in ((2, 1), (1, 5))
        return ([], [], []) if passed else real(files, [], [], 100.0)

    monkeypatch.setattr(process.select, "select", waiting)
    found = measured(one="lives", other="hangs", third="hangs early")
    assert set(found["steps_us"]) == {"one"}
    assert found["failed"] == {"third": "no answer within 600 s", "other": f"no answer within {limits[1][-1]:.0f} s"}
    assert all(each[0] == 600.0 and all(60.0 < limit < 160.0 for limit in each[1:]) for each in limits.values())
    assert all(each.poll() is not None for each in stand_ins)


def test_where_no_process_can_be_started_that_is_the_reason(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(process.subprocess, "Popen", refuse)
    assert measured(one="lives") == {
        "steps": 0,
        "steps_us": {},
        "failed": {"one": "its process cannot be started: Cannot allocate memory"},
        "interrupted": False,
    }


def test_what_libraries_print_is_no_answer():
    code = (
        "from profiler.plan.contestant import _answers, _say; a = _answers(); print('noise', flush=True); _say(a, {'step_us': 1})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ('{"step_us": 1}\n', "noise\n")
