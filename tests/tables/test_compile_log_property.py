"""A log cut at any byte gives a prefix of its records and says that something is lost, and never raises."""

from __future__ import annotations

from compile_logs import fx_cache, graph_break, ids, metrics, record, span, start, string
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.tables.compile_log_reader import FileReader
from profiler.tables.compile_log_records import HALF, read_records
from profiler.tables.compile_log_rows import Rows
from profiler.tables.losses import Losses

RECORDS = [
    string(0, "modèle.py"),
    span("dynamo", "B", 0.0, "0/0"),
    start("0/0"),
    record("dynamo_cpp_guards_str", {}, "\n+- A_GUARD: é\n\n\ttab\n", **ids("0/0")),
    graph_break("0/0"),
    fx_cache("miss", "fkey", "0/0"),
    record("describe_tensor", {"id": 1}, **ids("0/0")),
    metrics("0/0", 0),
    span("dynamo", "E", 9.0, "0/0"),
]
WHOLE = "".join(RECORDS).encode()
# A record is whole with and without its last newline.
ENDS = {len("".join(RECORDS[:count]).encode()) - cut for count in range(1, len(RECORDS) + 1) for cut in (0, 1)} | {0}


def _read(text: bytes, chunk: int) -> tuple[list[tuple[str, bytes]], dict[str, int]]:
    losses = Losses()
    chunks = (text[at : at + chunk] for at in range(0, len(text), chunk))
    return [(each.kind, each.payload) for each in read_records(chunks, losses)], losses.counts


ALL, NOTHING_LOST = _read(WHOLE, 1 << 20)


def test_the_whole_log_loses_nothing():
    assert (len(ALL), NOTHING_LOST) == (len(RECORDS), {})


def test_every_cut():
    for cut in range(len(WHOLE)):
        found, lost = _read(WHOLE[:cut], 1 << 20)
        complete = found if cut in ENDS else found[: sum(cut >= end for end in sorted(ENDS) if end and end + 1 in ENDS)]
        assert complete == ALL[: len(complete)]
        assert len(found) - len(complete) <= 1
        assert lost == ({} if cut in ENDS else {f"{HALF}; what came after is unknown": 1}), cut


@settings(max_examples=200, deadline=None)
@given(cut=st.integers(0, len(WHOLE)), chunk=st.integers(1, 500), noise=st.binary(max_size=40), at=st.integers(0, len(WHOLE)))
def test_no_cut_and_no_noise_raises(cut: int, chunk: int, noise: bytes, at: int):
    text = (WHOLE[:at] + noise + WHOLE[at:])[:cut]
    rows, losses = Rows(), Losses()
    chunks = (text[start : start + chunk] for start in range(0, len(text), chunk))
    FileReader("a.log", rows, losses, 0, 0).read(read_records(chunks, losses))
    frames = rows.frames()
    assert frames["compiles"].height <= len(RECORDS)
    if noise.strip(b"\t\n") == b"" or at >= cut:
        assert frames["breaks"].height <= 1
