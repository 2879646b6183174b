"""`memory`: what is drawn and said, of runs by hand."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "rules"))

import polars as pl
from memory_runs import A, Call
from memory_tape import BLOCK, CONV, MIB, Tape, phase, write_run

from profiler.core.errors import UnreadableInput, UsageError
from profiler.report.diagnose import diagnose, to_json
from profiler.report.memory import memory_data
from profiler.report.memory_chart import chart
from profiler.report.memory_slots import SLOTS, Slots, columns, slots_of
from profiler.report.memory_text import memory_text
from profiler.report.show import show_data
from profiler.report.show_text import show_text
from profiler.rundir.manifest import Failure


@pytest.fixture
def data(tmp_path):
    run = Call(leak=MIB).write(tmp_path / "run", spec={"steps": 3})
    return json.loads(json.dumps(memory_data(run), allow_nan=False))


def _keys(data):
    """Every key of a report, but for labels, which are anybody's names."""
    if isinstance(data, list):
        return {key for each in data for key in _keys(each)}
    if not isinstance(data, dict):
        return set()
    named = {key for key in data if not key.startswith("by_") or not isinstance(data[key], dict)}
    return set(data) | {key for name in named for key in _keys(data[name])}


def test_every_key_is_documented(tmp_path, data):
    docs = (Path(__file__).resolve().parents[2] / "docs" / "memory.md").read_text()
    died = json.loads(json.dumps(memory_data(_out_of_memory(tmp_path / "oom"))))
    run = Call(extra=400).write(tmp_path / "more")
    shown, diagnosed = show_data(run), to_json(diagnose(run))
    found = _keys(data) | _keys(died) | _keys(shown["memory"]) | _keys(diagnosed["memory"])
    standing = {"file", "line", "function", "model_gib", "load_peak_gib", "inference_peak_gib"}
    assert len(found) > 60 and not {key for key in found - standing if f"`{key}`" not in docs}


def _changes(*rows):
    schema = {"index": pl.Int64, "time_us": pl.Int64, "live_bytes": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_a_stretch_shows_the_highest_of_it():
    slots = Slots(0, SLOTS * 10)
    values = slots_of(_changes((-1, 0, 5), (0, 12, 9), (1, 13, 3), (2, 50, 1)), slots, "live_bytes")
    assert len(values) == SLOTS
    # Slot 0 holds the base; slot 1 rises to 9 and ends at 3; slot 5 begins with 3.
    assert values[:7] == [5, 9, 3, 3, 3, 3, 1]
    assert max(values) == 9


def test_columns_lose_no_peak():
    values = [0] * SLOTS
    values[101] = 7
    assert [max(columns(values, width)) for width in (1, 20, 63, 240)] == [7, 7, 7, 7]
    assert columns([1, 2, 3], 3) == [1, 2, 3]


def test_the_timeline_sums_to_what_lives(data):
    timeline = data["timeline"]
    assert {each["label"] for each in timeline["labels"]} == {"weights", "activations"}
    highest = {each["label"]: each["highest_bytes"] for each in timeline["labels"]}
    assert highest == {"weights": 150 * MIB, "activations": 33 * MIB}
    assert max(timeline["total"]) == data["peak"]["requested_bytes"] == 183 * MIB
    assert [each["name"] for each in timeline["windows"]] == ["text", "step/0", "step/1", "step/2", "decode"]
    assert set(timeline["reserved"]) == {512 * MIB}


def test_the_peak_is_taken_apart(data):
    peak = data["peak"]
    assert (peak["window"], peak["by_component"]["vae"]) == ("decode", 40 * MIB)
    first = peak["rows"][0]
    assert (first["component"], first["size_bytes"], first["relief_bytes"], first["age_us"]) == (
        "transformer",
        100 * MIB,
        100 * MIB,
        None,
    )
    decoding = next(each for each in peak["rows"] if each["category"] == "activations" and each["component"] == "vae")
    # Without it the highest is the last step, with three leaks: 150 + 8 + 3.
    assert (decoding["size_bytes"], decoding["relief_bytes"], decoding["age_us"]) == (30 * MIB, 22 * MIB, 0)
    assert decoding["place"].endswith("vae.py:304 forward") and "conv.py:548" in decoding["stack_text"]
    assert peak["free"]["free_bytes"] == (512 - 183) * MIB
    assert data["growth"]["leak_bytes"] == MIB
    assert data["problem"] is None and data["oom"] is None


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_text_fits_and_says_it(data, width):
    text = memory_text(data, width)
    assert max(len(line) for line in text.split("\n")[1:]) <= width  # the first line holds a path
    for said in ("│text", "│deco", "▲", "the peak: 0.179 GiB requested in decode", "biggest live"):
        assert said in text
    assert "every step leaves 1.00 MiB behind" in text
    assert "what lives only in decode is worth at most 22.00 MiB, then step/2 is the highest" in text.replace("\n  ", " ")


def test_rows_of_the_chart(data):
    lines = chart(data["timeline"], data["peak"]["time_us"], 100).split("\n")
    assert lines[0].endswith("each row to its own highest, at the right")
    weights = next(line for line in lines if line.startswith("weights"))
    assert weights.count("█") == 63 and weights.endswith("0.146 GiB")
    activations = next(line for line in lines if line.startswith("activations"))
    assert activations.count("█") < 30 and "█" in activations


def test_a_label_that_no_terminal_should_act_on(data):
    data["timeline"]["labels"][0]["label"] = "a\x1b[2Jb\nc"
    text = chart(data["timeline"], None, 100)
    assert "\x1b" not in text and "▲" not in text


def test_many_labels_become_one(tmp_path):
    run = Call({f"part{number}": 2 + number for number in range(20)}).write(tmp_path / "run")
    timeline = memory_data(run, by="component")["timeline"]
    labels = [each["label"] for each in timeline["labels"]]
    assert len(labels) == 13 and "11 others" in labels
    at_start = sum(each["bytes"][0] for each in timeline["labels"])
    assert at_start == timeline["total"][0] == (sum(range(2, 22)) + 5) * MIB


def test_top_limits_what_is_listed(tmp_path):
    run = Call().write(tmp_path / "run")
    peak = memory_data(run, top=1)["peak"]
    assert (len(peak["rows"]), len(peak["groups"])) == (1, 1)


@pytest.mark.parametrize(("option", "value"), [("part", "warmup"), ("by", "size")])
def test_what_cannot_be_asked(tmp_path, option, value):
    run = Call().write(tmp_path / "run")
    with pytest.raises(UsageError, match=f"--{option} {value} is not known"):
        memory_data(run, **{option: value})


def test_a_run_that_says_nothing_about_memory(tmp_path):
    with pytest.raises(UnreadableInput, match=r"holds no rank0/memory\.pickle\.gz"):
        memory_data(write_run(tmp_path / "run"))


def test_peaks_by_phase_alone_are_shown(tmp_path):
    run = write_run(tmp_path / "run", phases=[phase("load", 0, 1, peak_bytes=3 * MIB, alloc_bytes=2 * MIB)])
    data = memory_data(run)
    assert data["problem"].startswith(f"{run.path} holds no rank0/memory.pickle.gz")
    assert (data["timeline"], data["peak"], data["summary"]["load_peak_bytes"]) == (None, None, 3 * MIB)
    assert "no timeline: " in memory_text(data)


def test_lost_history_is_said(tmp_path):
    run = Call().write(tmp_path / "run", phases=[phase("memory", 0, 9_000_000, peak_requested_bytes=999 * MIB)])
    data = memory_data(run)
    assert data["lower_bound"] == "the events reach 0.176 GiB, the allocator counted 0.976 GiB"
    assert "!! every figure below is a lower bound: the events reach" in memory_text(data)
    assert show_data(run)["memory"]["at_peak"]["lower_bound"] == data["lower_bound"]


def _out_of_memory(tmp_path):
    tape = Tape()
    tape.segment(A, 4 * MIB)
    tape.alloc(A, MIB, BLOCK)
    tape.alloc(A + 2 * MIB, MIB, BLOCK)
    tape.oom(3 * MIB, MIB, CONV)
    failure = Failure(type="OutOfMemoryError", message="CUDA out of memory.", phase="warmup")
    return write_run(tmp_path / "run", tape, status="oom", failure=failure, phases=[phase("warmup", 900_000, None)])


def test_out_of_memory_is_told(tmp_path):
    data = memory_data(_out_of_memory(tmp_path))
    assert (data["covers"], data["oom"]["asked_bytes"], data["oom"]["by_fragmentation"]) == ("all until it ended", 3 * MIB, True)
    text = memory_text(data)
    assert "out of memory in warmup: 3.00 MiB asked, 1.00 MiB were free on the device" in text
    assert "2.00 MiB of it free in 2 pieces, the largest 1.00 MiB: in one piece the request would have fit" in text.replace(
        "\n  ", " "
    )


def test_show_has_a_memory_section(tmp_path):
    run = _out_of_memory(tmp_path)
    data = json.loads(json.dumps(show_data(run), allow_nan=False))
    assert data["memory"]["oom"]["asked_gib"] == 3 / 1024
    assert data["memory"]["at_peak"]["by_category"] == {"activations": 2 / 1024}
    text = show_text(data, 5, 80)
    assert "at the memory peak (in warmup), GiB: activations 0.002" in text
    assert "out of memory in warmup: 3.00 MiB asked" in text


@pytest.mark.parametrize(
    ("traced", "said"),
    [
        (24, "it was reached in quantizing, before any call, and a call alone peaks 11.00 MiB lower"),
        (36, "here it is the peak of a call: nothing before needed more"),
    ],
)
def test_the_peak_since_start_is_explained(tmp_path, traced, said):
    sizes = (("load", 33), ("quantize", 35), ("traced", traced))
    phases = [phase(name, at, at + 1, peak_bytes=peak * MIB) for at, (name, peak) in enumerate(sizes)]
    data = show_data(write_run(tmp_path / "run", phases=phases))
    assert said in data["memory"]["since_start"]
    assert data["memory"]["since_start_peak_gib"] == max(35, traced) / 1024
    assert said in " ".join(show_text(data, 5, 120).split())
