"""Faults that were planted on an H100, against the run without them: the diagnosis, and what the ledger lays to each."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from profiler.clinic.base import FAULTS
from profiler.clinic.verdict import judge
from profiler.metrics.ledger import ledger
from profiler.report.diagnose import diagnose, to_json
from profiler.rules.context import average
from profiler.tables.run import Run

_TRACES = Path(__file__).resolve().parents[2] / "traces"
# What each fault leaves the GPU idle for.
_OWN = {
    "item-in-block": {"host wait", "graph break"},
    "item-in-eager-step": {"host wait"},
    "empty-cache": {"allocator"},
}
pytestmark = pytest.mark.skipif(not (_TRACES / "clinic-clean").is_dir(), reason="no kept runs of the clinic in traces/")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The kept runs by fault, copied: reading them leaves nothing in traces/."""
    folder = tmp_path_factory.mktemp("kept")
    for name in ("clean", *_OWN):
        shutil.copytree(_TRACES / f"clinic-{name}", folder / name, ignore=shutil.ignore_patterns("cache"))
    return {name: Run.open(folder / name) for name in ("clean", *_OWN)}


def _idle_ms(run: Run) -> dict[str, float]:
    """Untraced idle time of a step by label."""
    found = pl.DataFrame(
        [(row.kind, row.label, row.priced_ns) for row in average(ledger(run))], schema=["kind", "label", "ns"], orient="row"
    )
    sums = found.filter(pl.col("kind") == "idle").group_by("label").agg(pl.col("ns").sum() / 1e6)
    return dict(sums.iter_rows())


def _step_ms(run: Run) -> float:
    return sum(row.priced_ns for row in average(ledger(run))) / 1e6


@pytest.mark.parametrize("name", _OWN)
def test_a_planted_fault_is_found_first_and_its_saving_is_what_the_fix_saved(kept: dict[str, Run], name: str):
    verdict = judge(FAULTS.get(name), to_json(diagnose(kept[name])), kept[name].manifest, kept["clean"].manifest)
    assert verdict.right, verdict
    assert verdict.inside, verdict
    if name == "item-in-block":
        assert verdict.where == "profiler/clinic/item_in_block.py:13"


@pytest.mark.parametrize("name", _OWN)
def test_only_the_faults_own_labels_grow(kept: dict[str, Run], name: str):
    with_it, without = _idle_ms(kept[name]), _idle_ms(kept["clean"])
    real = _step_ms(kept[name]) - _step_ms(kept["clean"])
    grown = {label: ms - without.get(label, 0.0) for label, ms in with_it.items()}
    own = sum(ms for label, ms in grown.items() if label in _OWN[name])
    assert own == pytest.approx(real, abs=max(0.1, 0.3 * real))
    others = {label: ms for label, ms in grown.items() if label not in _OWN[name]}
    assert max(others.values()) < max(0.1, 0.1 * real), others


def test_of_the_clean_run_nothing_is_severe(kept: dict[str, Run]):
    found = diagnose(kept["clean"]).findings
    assert not [each.finding.title for each in found if each.severity in ("critical", "high")]
    assert {"graph-break", "recompile", "host-sync", "allocator-in-step"}.isdisjoint(each.finding.rule for each in found)
