"""The Ranks page: our numbers at once, HTA's on a click and never before, the pip line where it is not there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hta_runs import device_events, write_run
from test_pages import answer_of, show, text_of

from dashboards import folder
from dashboards.charts import ranks as charts
from dashboards.pages import ranks_hta
from dashboards.pages.ranks import answer
from profiler.metrics.ranks import rank_summary
from profiler.metrics.ranks_device import device_times
from profiler.tables import hta as hta_module
from profiler.tables.hta import Hta
from profiler.tables.hta_answer import CRITICAL_PATH, LAUNCHES, OVERLAP, TEMPORAL, Found
from profiler.tables.run import Run

ANSWERS = {
    TEMPORAL: {"span_us": 404.0, "compute_us": 204.0, "non_compute_us": 50.0, "idle_us": 150.0},
    OVERLAP: {"overlap_share": 0.5},
    CRITICAL_PATH: {"window": "step/1", "bound_by": "gpu_compute_bound", "count": 1, "dur_us": 300.0, "share": 0.75},
}


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run of two ranks."""
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    return write_run(tmp_path / "two", {0: device_events(), 1: device_events(late=100.0)})


def answering(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """HTA that answers at once; which runs it was asked about."""
    asked: list[str] = []

    def stages(self: Hta) -> Any:
        asked.append(self.run.path.name)
        yield "HTA, rank 0: reading the trace"
        for rank in self.ranks:
            for name in self.analyses:
                rows = [ANSWERS[name]] if name in ANSWERS else []
                self._found[rank][name] = Found(
                    rank, name, rows=rows, why="" if rows else "HTA raised <b>KeyError</b>", seconds=1.0
                )
            self._keep(rank)

    monkeypatch.setattr(hta_module, "version", lambda: "9.9")
    monkeypatch.setattr(hta_module, "installed", lambda: True)
    monkeypatch.setattr(ranks_hta, "installed", lambda: True)
    monkeypatch.setattr(Hta, "stages", stages)
    return asked


def test_our_numbers_come_without_hta(two: Path, monkeypatch: pytest.MonkeyPatch):
    asked = answering(monkeypatch)
    test = show("ranks", run="two")
    assert not test.exception
    assert answer_of(test).startswith("Rank ") or answer_of(test).startswith("One rank")
    assert list(test.dataframe[0].value["rank"]) == [0, 1]
    (button,) = (each for each in test.button if "HTA" in each.label)
    assert button.label == "Run HTA 9.9" and asked == []
    assert "Not run yet" in text_of(test)


def test_a_click_runs_it_and_it_stays(two: Path, monkeypatch: pytest.MonkeyPatch):
    asked = answering(monkeypatch)
    test = show("ranks", run="two")
    next(each for each in test.button if "HTA" in each.label).click().run()
    assert not test.exception and asked == ["two"]
    shown = text_of(test)
    assert "HTA 9.9 beside diffuscope" in shown and "HTA 9.9: critical path" in shown
    assert "rank 1: HTA 9.9's kernel launch statistics failed: HTA raised <b>KeyError</b>" in shown
    beside = next(each.value for each in test.dataframe if "difference" in each.value.columns)
    row = beside[(beside["rank"] == 0) & (beside["what"] == "compute")].to_dict("records")[0]
    assert (row["HTA 9.9"], row["diffuscope"], row["difference"]) == ("0.204 ms", "0.200 ms", "+2.00%")
    again = show("ranks", run="two")
    assert asked == ["two"], "what is kept is shown at once"
    assert "HTA 9.9: critical path" in text_of(again) and not [each for each in again.button if "HTA" in each.label]


def test_without_the_extra_the_pip_line(two: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ranks_hta, "installed", lambda: False)
    test = show("ranks", run="two")
    assert not test.exception and list(test.dataframe[0].value["rank"]) == [0, 1]
    assert "HTA is not installed" in text_of(test) and "pip install 'diffuscope[hta]'" in text_of(test)


def test_a_bar_a_rank_and_two_beside(two: Path):
    rows = [
        {"rank": rank, "step_us": 10e3, "compute_us": 6e3, "exposed_us": 1e3, "waiting_us": rank * 1e3, "idle_us": 2e3}
        for rank in (0, 1)
    ]
    bars = {each.name: each for each in charts.steps(rows, "step").data}
    assert list(bars) == ["compute", "exposed communication", "waiting for a slower rank", "other idle time"]
    assert list(bars["waiting for a slower rank"].y) == ["rank 1", "rank 0"]
    assert list(bars["waiting for a slower rank"].x) == [1.0, 0.0]
    own, _ = device_times(Run.open(two), [0, 1])
    pair = charts.beside([vars(each) for each in own], {0: ANSWERS[TEMPORAL]}, "HTA 9.9").data
    assert list(pair[0].y) == ["rank 0, diffuscope", "rank 0, HTA 9.9"] and list(pair[0].x) == [0.2, 0.204]
    assert not charts.steps([], "step").data and LAUNCHES not in ANSWERS


def test_nobody_is_said_to_wait_for_a_rank_whose_clock_is_unknown(two: Path):
    run, summary = Run.open(two), rank_summary(Run.open(two))
    assert answer(run, summary) == "Rank 1 takes longest on its own; nobody waits for it"
    unknown = summary.ranks.with_columns(pl.lit(None, pl.Float64).alias("clock_error_us"))
    assert answer(run, replace(summary, ranks=unknown)) == "Rank 1 takes longest on its own"


def test_of_a_run_that_died_each_rank_says_how(two: Path):
    for rank, why in enumerate(("it broke", "killed by SIGKILL")):
        (two / f"rank{rank}" / "trace.json.gz").unlink()
        said = {"rank": rank, "phase": "timed", "failure": {"type": "Died", "message": why}}
        (two / f"rank{rank}" / "rank.json").write_text(json.dumps(said))
    shown = text_of(show("ranks", run="two"))
    assert "rank 1 left no trace: it failed in phase timed: killed by SIGKILL" in shown
