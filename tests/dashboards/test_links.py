"""The selection in the address: there and back, whatever an address holds."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.links import Selection, View, page_url, selection_of, trace_file_url, trace_view_url

TEXT = st.text(max_size=40)


@given(st.builds(Selection, run=TEXT, base=TEXT, finding=st.integers(0, 10**8 - 1), window=TEXT, kernel=TEXT))
def test_a_selection_survives_its_query(selection: Selection):
    assert selection_of(selection.query()) == selection


@given(st.dictionaries(TEXT, TEXT), TEXT)
def test_any_query_is_a_selection(query: dict[str, str], number: str):
    assert selection_of({**query, "finding": number}).finding >= 0


@pytest.mark.parametrize("number", ["-1", "x", "", "1.5", "²", "9" * 5000])
def test_what_is_no_number_selects_no_finding(number: str):
    assert selection_of({"finding": number}) == Selection()


def test_addresses_are_escaped():
    url = page_url("diagnosis", Selection(run="a&b=c #1", finding=3))
    assert parse_qs(urlsplit(url).query) == {"run": ["a&b=c #1"], "finding": ["3"]}
    assert page_url("runs", Selection()) == "/runs"
    assert trace_file_url("a/b", 0, "trace.json.gz") == "/trace-file?run=a%2Fb&rank=0&artifact=trace.json.gz"


def test_the_view_is_in_nanoseconds_of_the_trace():
    url = trace_view_url(
        "run", 0, "trace.json.gz", View((4509315105382666, 4509315105982666), (4509315105500000, 4509315105600000)), "x"
    )
    query = parse_qs(urlsplit(url).query)
    assert (query["start"], query["end"], query["from"]) == (["4509315105382666"], ["4509315105982666"], ["4509315105500000"])
    assert "start" not in parse_qs(urlsplit(trace_view_url("run", 0, "trace.json.gz", None, "x")).query)
