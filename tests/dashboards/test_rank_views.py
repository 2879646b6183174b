"""Pages over a run of two ranks: one rank shown and said, another picked, scaling on Compare, losses named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from rank_runs import change_rank, pair
from test_pages import answer_of, show, text_of

from dashboards import folder, kept
from dashboards.charts import runs as charts
from dashboards.links import ANY_RANK, Selection, selection_of
from dashboards.navigation import ENTRIES
from profiler.metrics.compare import compare
from profiler.metrics.listing import RunRow
from profiler.report.diagnose import diagnose
from profiler.tables.run import Run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run of one process and one of two ranks."""
    monkeypatch.setenv(folder.VARIABLE, str(tmp_path))
    pair(tmp_path)
    return tmp_path


def test_each_page_shows_one_rank_and_another_on_request(runs: Path):
    test = show("diagnosis", run="two")
    assert test.selectbox(key="rank_menu").options == ["0 (median)", "1"] and test.selectbox(key="rank_menu").value == 0
    assert answer_of(test).startswith("Rank 1 is slow")
    test.selectbox(key="rank_menu").select(1).run()
    assert test.query_params["rank"] in ("1", ["1"]) and not test.exception
    test.selectbox(key="rank_menu").select(0).run()
    assert test.query_params["rank"] in ("0", ["0"])
    assert show("kernels", run="two", rank="1").selectbox(key="rank_menu").value == 1
    assert "rank=1" in show("timeline", run="two", rank="1").get("iframe")[0].proto.src
    memory = show("memory", run="two")
    assert memory.selectbox(key="rank_menu").options == ["0", "1 (needs most)"]
    assert answer_of(memory) == "The inference peak is 32.000 GiB"
    assert "the peaks of a call are 63.00 GiB together" in text_of(memory)
    assert answer_of(show("memory", run="two", rank="0")) == "The inference peak is 31.000 GiB"


def test_compare_shows_where_the_time_of_more_ranks_goes(runs: Path):
    test = show("compare", run="two", base="one")
    said = text_of(test)
    assert not test.exception and answer_of(test).startswith("Time: real.")
    assert "scaling: partly" in said and "78% of linear scaling" in said
    assert "Scaling: a step on 2 ranks against 1" in said and "rank 0 of 2, the median of the new run" in said
    test.selectbox(key="compare_rank").select(1).run()
    assert "rank 1 of 2 of the new run" in text_of(test) and not test.exception


def test_runs_and_ranks_say_how_many(runs: Path):
    table = show("runs").dataframe[0].value
    assert dict(zip(table["run"], table["gpu"], strict=True)) == {"one": "H100 80GB HBM3", "two": "2 x H100 80GB HBM3"}
    test = show("ranks", run="two")
    assert answer_of(test) == "Rank 1 takes longest on its own; rank 0 waits 0.80 ms a step for it (0.80 as traced)"
    rows = test.dataframe[0].value
    assert list(rows["call, ms"]) == [60.0, 64.0] and list(rows["peak, GiB"]) == [31.0, 32.0]
    alone = RunRow(run="a", name="a", median_ms=1.0, inference_peak_gib=1.0)
    several = RunRow(run="b", name="b", median_ms=1.0, inference_peak_gib=1.0, gpu="NVIDIA H200", ranks=2)
    assert [len(each) for each in charts.comparable([alone, several])] == [1, 1]
    assert charts.group_name([several]) == "unknown model · 2 x H200 (1)"


@pytest.mark.parametrize("harm", ["missing", "another run", "cut"])
def test_a_rank_that_is_lost_is_named_and_the_other_shown(runs: Path, harm: str):
    if harm == "missing":
        shutil.rmtree(runs / "two" / "rank0")
    elif harm == "another run":
        change_rank(runs / "two", 0, run_id="<b>other</b>")
    else:
        (runs / "two" / "rank0" / "trace.json.gz").write_bytes(b"no trace")
    why = {"missing": "rank 0 left no folder", "another run": "rank 0 is of another run (<b>other</b>", "cut": "rank 0"}[harm]
    every = [entry.path for entry in ENTRIES if entry.path not in ("tune", "sweep", "import", "runs", "timeline")]
    for page in every if harm == "missing" else ["ranks"]:
        test = show(page, run="two", base="one", rank="0")
        assert not test.exception, page
        assert why in text_of(test), page
    assert answer_of(show("ranks", run="two")).startswith("Of 2 ranks only 1 can be read: a step takes 6.45 ms")


def test_a_rank_in_the_address():
    assert Selection(run="a").query() == {"run": "a"}
    assert selection_of({"run": "a", "rank": "0"}) == Selection(run="a", rank=0)
    assert Selection(run="a", rank=0).query() == {"run": "a", "rank": "0"}
    assert selection_of({"rank": "x"}).rank == ANY_RANK


def test_what_is_kept_of_ranks_comes_back(runs: Path):
    one, two = Run.open(runs / "one"), Run.open(runs / "two")
    made = kept.comparison(two, one, [], lambda: compare(two, one))
    again = kept.comparison(two, one, [], lambda: pytest.fail("it is kept"))
    assert (again.ranks, again.scaling) == (made.ranks, made.scaling)
    found = kept.report(two, "diagnosis", [], lambda: diagnose(two))
    back = kept.report(two, "diagnosis", [], lambda: pytest.fail("it is kept"))
    assert found.ranks and back.ranks and (back.rank, back.ranks.totals) == (found.rank, found.ranks.totals)
