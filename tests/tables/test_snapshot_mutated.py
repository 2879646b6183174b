"""10,000 mutated snapshots: none runs anything, each is read or refused, and what kills its process kills no other."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hostile_pickles import CANARY, RUNS_CODE
from mutants import mutant, small_snapshot, unpickled

from profiler.core.errors import UnreadableInput
from profiler.tables.snapshot import open_snapshot

_HERE = Path(__file__).parent
_COUNT, _SEED = 10_000, 4
# Signals that a child may die of: the crash of a C stack, and an allocation that fails where Python cannot say so.
_CRASHES = (-11, -6)


def _run(first, folder):
    """The mutants from `first` on: number, outcome and forbidden events of each, and the exit code."""
    path = os.pathsep.join([str(_HERE), str(_HERE.parent)])
    done = subprocess.run(
        [sys.executable, str(_HERE / "mutants.py"), str(_SEED), str(first), str(_COUNT), str(folder)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "POLARS_MAX_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return [line.split("|") for line in done.stdout.splitlines()], done.returncode, done.stderr


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Number -> (outcome, forbidden events) of every mutant; a process that crashes is followed by one for the rest."""
    folder = tmp_path_factory.mktemp("mutants")
    found: dict[int, tuple[str, str]] = {}
    while len(found) < _COUNT:
        lines, code, stderr = _run(len(found), folder)
        found |= {int(number): (outcome, events) for number, outcome, events in lines}
        if len(found) < _COUNT:
            assert code in _CRASHES, f"mutant {len(found)}: exit code {code}\n{stderr[-2000:]}"
            found[len(found)] = ("crash", "")
    return found, folder


def test_every_mutant_is_read_or_refused(outcomes):
    found, _ = outcomes
    counts = Counter(outcome for outcome, _ in found.values())
    assert sum(counts.values()) == _COUNT
    assert set(counts) <= {"read", "no pickle", "no snapshot", "asks for code", "too large", "crash"}
    # Mutations of every kind: many break the pickle, some make values odd, some ask for code, some change nothing that is wrong.
    assert all(counts[each] > 200 for each in ("read", "no pickle", "no snapshot", "asks for code")), counts
    assert counts["crash"] < 10


def test_none_runs_anything(outcomes):
    found, folder = outcomes
    assert {number: events for number, (_, events) in found.items() if events} == {}
    assert not list(folder.rglob(CANARY))


def test_the_watch_would_show_it(tmp_path):
    """The same watch over an unpickler that restricts nothing does report."""
    code = (
        "import sys, mutants, pickle; mutants.safe_pickle.load = pickle.load; sys.addaudithook(mutants.listen);"
        "mutants.unpickled(bytes.fromhex(sys.argv[1])); print(mutants._events)"
    )
    path = os.pathsep.join([str(_HERE), str(_HERE.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code, RUNS_CODE["global reduce"].hex()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "'os.system'" in done.stdout
    assert (tmp_path / CANARY).exists()


@pytest.mark.parametrize("number", range(12))
def test_the_parent_says_the_same(outcomes, tmp_path, number):
    """A few of them the whole way, from a file to tables or to one error."""
    found, _ = outcomes
    outcome, _ = found[number]
    path = tmp_path / "s.pickle"
    path.write_bytes(mutant(small_snapshot(), random.Random(_SEED * 1_000_003 + number)))
    if outcome == "read":
        assert open_snapshot(path, tmp_path / "cache").rows["events"] >= 0
    else:
        with pytest.raises(UnreadableInput, match=r"s\.pickle"):
            open_snapshot(path, tmp_path / "cache")


def test_what_is_mutated_is_a_snapshot_of_every_kind_of_record():
    data = small_snapshot()
    assert all(data[each] for each in ("segments", "device_traces", "allocator_settings", "external_annotations"))
    assert unpickled(pickle.dumps(data, 4)) == data
