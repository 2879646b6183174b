"""Run directories that a worker sends: what arrives damaged is one error, leads nowhere, and leaves nothing behind."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from profiler.core.errors import UnreadableInput
from profiler.sweep.executors.cluster import pack, unpack


def member(name: str, content: bytes = b"", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in more.items():
        setattr(info, key, value)
    return info, content


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    run = tmp_path_factory.mktemp("run")
    (run / "run.json").write_text("{}")
    (run / "rank0").mkdir()
    (run / "rank0" / "trace.json.gz").write_bytes(bytes(range(256)) * 8)
    return pack(run)


BAD: dict[str, Callable[[], bytes]] = {
    "a name out of the folder": lambda: packed(member("run.json"), member("../out", b"a")),
    "a link out of the folder": lambda: packed(member("a", type=tarfile.SYMTYPE, linkname="../..")),
    "a link to nothing in it": lambda: packed(member("a", type=tarfile.LNKTYPE, linkname="none")),
    "a link to itself": lambda: packed(member("a", type=tarfile.SYMTYPE, linkname="a"), member("a/b", b"c")),
    "a device": lambda: packed(member("a", type=tarfile.CHRTYPE)),
    "a long name": lambda: packed(member("n" * 300, b"a")),
    "a folder that is a file": lambda: packed(member("a", b"a"), member("a/b", b"c")),
    "no name": lambda: packed(member("", b"a")),
    "packed once more": lambda: gzip.compress(packed(member("run.json"))),
    "anything": lambda: b"x" * 2000,
}


@pytest.mark.parametrize("name", BAD)
def test_damaged_bytes_are_one_error_and_leave_nothing(tmp_path: Path, name: str):
    with pytest.raises(UnreadableInput):
        unpack(BAD[name](), tmp_path / "work" / "cell")
    assert list(tmp_path.rglob("*")) == [tmp_path / "work"]


def test_flipped_and_cut_bytes_never_escape(tmp_path: Path, good: bytes):
    rolled = random.Random(5)
    refused = 0
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(rolled.randint(1, 6)):
            damaged[rolled.randrange(3000)] = rolled.randrange(256)
        try:
            unpack(bytes(damaged[: rolled.randrange(1, len(damaged))]), tmp_path / "work" / "cell")
        except UnreadableInput:
            refused += 1
    assert refused > 50
    assert {each.name for each in tmp_path.iterdir()} == {"work"}


def test_what_was_packed_comes_out(tmp_path: Path, good: bytes):
    unpack(good, tmp_path / "cell")
    assert (tmp_path / "cell" / "rank0" / "trace.json.gz").read_bytes() == bytes(range(256)) * 8
