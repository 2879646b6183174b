"""Budget files: what is read, and the one error for whatever is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from profiler.core.errors import UnreadableInput
from profiler.metrics.quality import TENSORS
from profiler.report.budget import Limit, read_budget
from profiler.report.budget_lines import LINES

_DOC = Path(__file__).resolve().parents[2] / "docs" / "check.md"


@pytest.fixture
def read(tmp_path):
    """Read a budget of this text."""

    def make(text):
        path = tmp_path / "budget.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_budget(path)

    return make


def test_limits_come_in_the_order_of_the_file(read, tmp_path):
    found = read('base = "runs/base"\ncall_ms = 3_000\nmodel_gib = { limit = 20.5, optional = true }\ngraph_breaks = 0\n')
    assert found.base == tmp_path / "runs" / "base"
    assert found.limits == (Limit("call_ms", 3000.0), Limit("model_gib", 20.5, optional=True), Limit("graph_breaks", 0.0))


def test_a_base_that_is_absolute_stays_where_it_is(read):
    assert read('base = "/runs/base"\ncall_ms = 1').base == Path("/runs/base")
    assert read("call_ms = 1").base is None


def test_sqnr_has_a_limit_for_each_tensor(read):
    assert read("sqnr_db = 20").limits == (Limit("sqnr_db.last_latents", 20.0),)
    assert read("sqnr_db = { limit = 20, optional = true }").limits == (Limit("sqnr_db.last_latents", 20.0, True),)
    each = read("[sqnr_db]\nfirst_latents = 30\nlast_transformer_output = { limit = 18.5, optional = true }").limits
    assert each == (Limit("sqnr_db.first_latents", 30.0), Limit("sqnr_db.last_transformer_output", 18.5, True))


@pytest.mark.parametrize("name", LINES)
def test_every_line_takes_a_limit(read, name):
    assert read(f"{name} = 1").limits == (Limit(name, 1.0),)


WRONG = {
    "a letter off": ("inference_peek_gib = 24", "inference_peek_gib is no key of a budget; the nearest is inference_peak_gib"),
    "another unit": ("call_s = 3", "call_s is no key of a budget; the nearest is call_ms"),
    "a section": ("[memory]\nmodel_gib = 3", "memory is no key of a budget; the nearest is "),
    "no tensor": ("[sqnr_db]\nlatents = 3", "sqnr_db.latents is no key of a budget; the nearest is sqnr_db.last_latents"),
    "an option": (
        "call_ms = { limit = 3, optionl = true }",
        "call_ms.optionl is no key of a budget; the nearest is call_ms.optional",
    ),
    "a key that acts on a terminal": (
        '"call_\\u001b[2Jms" = 3',
        "'call_\\x1b[2Jms' is no key of a budget; the nearest is call_ms",
    ),
    "text": ('call_ms = "3"', "call_ms is '3', and must be a number of ms"),
    "truth": ("graph_breaks = true", "graph_breaks is True, and must be a number"),
    "a list": ("[[sqnr_db]]\nlimit = 3", "sqnr_db.last_latents is [{'limit': 3}], and must be a number of dB"),
    "a date": ("call_ms = 2026-11-22", "call_ms is datetime.date(2026, 11, 22), and must be a number of ms"),
    "negative": ("call_ms = -0.5", "call_ms is -0.5, and must not be negative"),
    "negative in a table": ("call_ms = { limit = -1 }", "call_ms.limit is -1, and must not be negative"),
    "no number": ("call_ms = nan", "call_ms is nan, which is no limit"),
    "without end": ("call_ms = inf", "call_ms is inf, which is no limit"),
    "giant": ("call_ms = 0x" + "f" * 9000, "call_ms is a giant number, which is no limit"),
    "half a break": ("graph_breaks = 0.5", "graph_breaks is 0.5, and must be a whole number"),
    "a share in percent": ("unexplained_share = 5", "unexplained_share is 5, and must be a share of 1: 0.05 is 5 %"),
    "optional of another type": ("call_ms = { limit = 3, optional = 1 }", "call_ms.optional is 1, and must be true or false"),
    "no limit in a table": ("call_ms = { optional = true }", "call_ms has no limit: write call_ms = { limit = "),
    "no tensor at all": ("sqnr_db = {}\ncall_ms = 1", "sqnr_db names no tensor"),
    "no limit at all": ('base = "runs/base"', "sets no limit: nothing would be checked"),
    "nothing": ("", "sets no limit: nothing would be checked"),
    "base of another type": ("base = 3\ncall_ms = 1", "base is 3, and must be the path of a run directory"),
    "no base": ('base = ""\ncall_ms = 1', "base is '', and must be the path of a run directory"),
    "twice": ("call_ms = 1\ncall_ms = 2", "is not TOML: "),
    "no TOML": ("call_ms: 3", "is not TOML: "),
    "no text": (b"call_ms = 3 # \xff", "is not TOML: "),
    "nested without end": ("call_ms = " + "[" * 100_000, "is not TOML: "),
    "too large": ("#" * (1 << 20) + "\ncall_ms = 1", "is no budget: larger than 1 MiB"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_names_the_file_and_the_key(read, tmp_path, case):
    text, message = WRONG[case]
    with pytest.raises(UnreadableInput) as error:
        read(text)
    assert str(tmp_path / "budget.toml") in error.value.message
    assert message in error.value.message
    assert error.value.hint and "\x1b" not in str(error.value)


@pytest.mark.parametrize("name", ["nothing.toml", "."])
def test_a_file_that_cannot_be_read_is_one_error(tmp_path, name):
    with pytest.raises(UnreadableInput, match="cannot read the budget"):
        read_budget(tmp_path / name)


def test_the_example_in_the_docs_has_every_key(read):
    (example,) = re.findall(r"```toml\n(.*?)```", _DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert {each.name for each in read(example).limits} == set(LINES) - {f"sqnr_db.{each}" for each in TENSORS[1:3]}
