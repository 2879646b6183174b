"""A sweep's answer as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from sweep_folders import cell, kept_sweep, manifest, spec, sweep_json, write_run

from profiler.metrics.sweep_cells import COLUMNS
from profiler.report.sweep import sweep_data
from profiler.report.sweep_files import SEED_COLUMNS, sweep_csv, sweep_markdown
from profiler.report.sweep_formats import FORMATS
from profiler.report.sweep_seed_why import whys
from profiler.report.sweep_text import sweep_text
from profiler.report.sweep_words import units

SHARED_CSV = Path(__file__).resolve().parents[3] / "shared" / "seed" / "benchmarks.csv"
PARTS = {"from_steps": [4, 8], "fixed_ms": 1000.0, "step_ms": 100.0, "error_ms": 50.0}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The kept runs as a sweep, beside the seed."""
    folder = kept_sweep(tmp_path_factory.mktemp("sweep") / "s")
    return sweep_data(folder, against="seed", max_memory_gib=24.0, min_sqnr_db=25.0)


@pytest.fixture
def mixed(tmp_path):
    """A measured cell, an extrapolated one, one with a long name, and two without a result."""
    write_run(tmp_path / "s" / "a", manifest(spec("int8wo")))
    write_run(tmp_path / "s" / "b", manifest(spec("fp8wo", steps=8)))
    long = "fp8dqrow|max-autotune-with-a-name-that-goes-on-for-ever-and-a-day-and-never-ends"
    write_run(tmp_path / "s" / long, manifest(spec("fp8dqrow", batch=4)))
    cells = [cell("a", spec("int8wo")), cell("b", spec("fp8wo", steps=8), extrapolated=PARTS), cell(long, spec(batch=4))]
    cells += [cell("oom", spec(batch=64), "oom", run=None, reason="no room " * 50), cell("=1+1", spec(), "queued", run=None)]
    sweep_json(tmp_path / "s", cells)
    return sweep_data(tmp_path / "s")


def row_of(text: str, name: str) -> list[str]:
    (line,) = (each for each in text.splitlines() if each.lstrip("* ").startswith(name + " "))
    return line.split()


def test_json_has_what_the_design_promises(kept):
    json.dumps(kept, allow_nan=False)
    assert {"cells", "pareto", "recommended"} <= set(kept)
    assert set(COLUMNS) | {"spec", "attempts", "worker", "seconds", "cache", "hash"} <= set(kept["cells"][0])
    assert kept["pareto"] == ["fp8dqrow-regional", "int8dq-regional", "bf16-none"]
    assert kept["cells"][2]["spec"]["scheme"] == "fp8dqrow"
    assert kept["cells"][2]["sqnr_db"] == pytest.approx(21.911, abs=1e-3)
    assert (kept["cells"][0]["sqnr_db"], kept["cells"][0]["quality_note"]) == (None, "the base"), "infinite is no JSON"
    assert kept["cells"][4]["status"] == "oom"


def test_the_text_of_the_kept_runs(kept):
    text = sweep_text(kept, 100)
    assert max(map(len, text.splitlines())) <= 100
    assert "4 of 5 cells went well" in text
    assert "flux-dev, batch 1, 28 steps, 1024x1024, NVIDIA H100 80GB HBM3" in text
    first = text.partition("against the seed")[0]
    assert row_of(first, "fp8dqrow-regional") == [
        "*",
        "fp8dqrow-regional",
        "2.978",
        *["22.78", "20.36", "32.18", "1.9", "23.4", "0", "21.9"],
    ]
    assert row_of(first, "bf16-none") == ["*", "bf16-none", "5.268", *["33.85", "31.43", "31.52", "0.0", "-", "0", "base"]]
    assert "bf16-none-b64  oom          CUDA out of memory. Tried to allocate 16.00 GiB." in text
    assert "within budget: 24 GiB and at least 25 dB: int8dq-regional" in text
    assert "note: weights are random: SQNR and PSNR order schemes, and say nothing about pictures" in text


def test_units_are_those_of_the_columns_that_there_are(kept):
    sizes = "GiB: peak of one call, model memory (on a CPU the weights), peak of loading and quantizing"
    assert units(kept["cells"]) == f"{sizes}; SQNR and PSNR: dB, against the bf16 cell"
    assert units([{"model_memory_gib": 0.1, "sqnr_db": None, "quality_note": None}]) == "GiB: model memory (on a CPU the weights)"
    assert units([]) == ""


def test_the_seed_stands_beside_the_kept_runs(kept):
    text = sweep_text(kept, 100).partition("against the seed")[2]
    assert text.startswith(": 4 of its 77 rows")
    assert row_of(text, "int8dq-regional") == [
        "int8dq-regional",
        "4.452",
        "3.406",
        "1.31",
        "20.37",
        "20.39",
        "1.00",
        "31.81",
        "31.61",
        "1.01",
    ]
    assert row_of(text, "bf16-none")[:4] == ["bf16-none", "5.268", "6.573", "0.80"]
    assert "model memory, where the layers quantized are the same: 4 of 4 within 2 %, 0.10% off at most" in text
    plain = " ".join(text.split())
    assert "by its bf16 rows a call alone needs 22.78 to 22.80 GiB, and here takes 22.78 (0.1% off at most)" in plain
    assert "int8dq-regional, time 1.31: bf16-default is at 0.93 of the seed's time" in plain
    assert "not in the seed: bf16-none-b64: steps is 28 in the seed and 2 here" in plain


def test_what_is_said_of_several_cells_is_said_once(kept):
    head = "int8dq-regional, bf16-none, time 0.80 to 1.31: may be: software: torch 2.11.0"
    text = " ".join(sweep_text(kept, 100).split())
    assert head in text and text.count("software: torch 2.11.0") == 1
    page = sweep_markdown(kept)
    assert "- `int8dq-regional`, `bf16-none`, time 0.80 to 1.31: may be: software: torch 2.11.0" in page
    assert page.count("software: torch 2.11.0") == 1
    assert "- `int8dq-regional`, time 1.31: GEMMs run on Ampere kernels on this Hopper GPU" in page


def test_why_names_all_cells_by_their_number():
    shared = {"quantity": "time", "text": "software", "measured": False}
    rows = [
        {"id": name, "time_ratio": ratio, "causes": [{"quantity": "time", "text": own, "measured": True}, shared]}
        for name, ratio, own in (("a", 0.8, "own"), ("b", 0.7, "both"), ("c", 0.9, "both"))
    ]
    assert [(each.head("<{}>"), each.causes) for each in whys(rows)] == [
        ("<a>, time 0.80", ["own"]),
        ("<b>, <c>, time 0.70 to 0.90", ["both"]),
        ("all 3 that differ in time, 0.70 to 0.90", ["may be: software"]),
    ]


@pytest.mark.parametrize("width", [80, 100, 120])
def test_text_fits_and_marks_what_is_extrapolated(mixed, width: int):
    text = sweep_text(mixed, width)
    assert max(map(len, text.splitlines())) <= width
    assert row_of(text, "b")[:3] == ["b", "~3.800", "±0.050"]
    assert "~ extrapolated from calls of fewer steps" in text
    assert "no room no room" in text and "no room " * 40 not in text, "a reason is cut"
    assert "note: 2 of 5 cells have no time: 1 oom, 1 queued" in text


def test_markdown_tables_hold_together(mixed, kept):
    for data in (mixed, kept):
        page = sweep_markdown(data)
        tables = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
        assert len(tables) == len(data["groups"]) + 1 + bool(data["against_seed"])
        for lines in tables:
            assert len({line.replace("\\|", "").count("|") for line in lines}) == 1, lines
    assert "| \\* | fp8dqrow-regional | 2.978 | 22.78 | 32.18 | 20.36 | 32.18 | 1.9 | 23.4 | 0 | 21.9 | - |" in page
    assert "| int8dq-regional | H100 | 4.452 | 3.406 | 1.31 | 20.366 | 20.386 | 1.00 | 31.813 | 31.608 | 1.01 |" in page
    assert "\\~3.800 ±0.050" in sweep_markdown(mixed)


def test_csv_begins_with_the_seeds_columns_and_reads_back(kept, mixed):
    rows = list(csv.DictReader(io.StringIO(sweep_csv(kept))))
    assert list(rows[0])[: len(SEED_COLUMNS)] == list(SEED_COLUMNS)
    assert set(COLUMNS) <= set(rows[0])
    row = rows[3]
    assert (row["id"], row["time_s"], row["seed_time_s"], row["time_ratio"]) == (
        "int8dq-regional",
        "4.451807",
        "3.406",
        "1.307049",
    )
    assert row["causes"].startswith(
        "time: bf16-default is at 0.93 of the seed's time: this difference is the scheme's own; time: GEMMs"
    )
    other = list(csv.DictReader(io.StringIO(sweep_csv(mixed))))
    assert [each["extrapolated"] for each in other] == ["False", "True", "False", "False", "False"]
    assert other[4]["id"] == "'=1+1", "no formula for a spreadsheet"
    assert "seed_time_s" not in other[0]


def test_the_seeds_own_header_is_kept():
    if not SHARED_CSV.is_file():
        pytest.skip("no ../shared/seed beside this checkout")
    assert SHARED_CSV.read_text().partition("\n")[0].split(",") == list(SEED_COLUMNS)


def test_every_format_has_its_renderer(mixed):
    assert set(FORMATS) == {"text", "markdown", "csv", "json"}
    assert json.loads(FORMATS["json"](mixed, 100))["pareto"] == mixed["pareto"]
    assert FORMATS["markdown"](mixed, 100).startswith("# ")


def test_a_sweep_that_the_seed_lacks_says_so(tmp_path):
    write_run(tmp_path / "s" / "a", manifest(spec("int8wo", model="flux-tiny")))
    data = sweep_data(tmp_path / "s", against="seed")
    text = sweep_text(data)
    assert "against the seed: none of its rows was measured" in text
    assert "not in the seed: a: the seed did not measure flux-tiny" in text
    written = sweep_markdown(data)
    assert "None of its rows was measured" in written
    assert "- `a`: the seed did not measure flux-tiny" in written
