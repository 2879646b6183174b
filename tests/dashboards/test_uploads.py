"""What a browser sends is bounded, and no name of a file leads anywhere."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards import uploads
from dashboards.uploads import harmless, save
from profiler.core.errors import UnreadableInput


class Sent(io.BytesIO):
    """A file as a browser sends it."""

    def __init__(self, name: str, content: bytes = b"x") -> None:
        super().__init__(content)
        self.name = name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("trace.json.gz", "trace.json.gz"),
        ("../../etc/passwd", "passwd"),
        ("C:\\runs\\my trace.json", "my-trace.json"),
        (".hidden", "hidden"),
        ("-o", "o"),
        ("..", "file"),
        ("", "file"),
        ("a/", "file"),
        ("<img src=x onerror=alert(1)>.json", "img-src-x-onerror-alert-1--.json"),
        ("\x00$(rm -rf ~);`id`.json", "rm--rf-----id-.json"),
        ("été.json", "t-.json"),
        (f"{'a' * 300}.json.gz", f"{'a' * 72}.json.gz"),
        (f"a.{'b' * 300}", f"a.{'b' * 78}"),
    ],
)
def test_names_are_harmless(name: str, expected: str):
    assert harmless(name) == expected


@given(st.text(max_size=200))
def test_any_name_is_one_plain_file(name: str):
    found = harmless(name)
    assert 0 < len(found) <= 80 and found.isascii()
    assert Path(found).name == found and not found.startswith((".", "-"))
    assert harmless(found) == found


def test_uploads_lie_in_folders_of_their_own(tmp_path: Path):
    found = save(tmp_path, Sent("../t.json", b"trace"), Sent("/etc/m.pickle", b"memory"), [Sent("l.log", b"log")], 3.5)
    assert found.trace == tmp_path / "trace" / "t.json" and found.trace.read_bytes() == b"trace"
    assert found.memory == tmp_path / "memory" / "m.pickle"
    assert found.compile_log == tmp_path / "logs" / "l.log"
    assert (found.timed_ms, found.stem) == (3.5, "t")


def test_several_logs_are_the_folder_of_them(tmp_path: Path):
    found = save(tmp_path, None, None, [Sent("a.log", b"1"), Sent("x/a.log", b"2")])
    assert found.compile_log == tmp_path / "logs"
    assert {each.name: each.read_bytes() for each in found.compile_log.iterdir()} == {"a.log": b"1", "2-a.log": b"2"}


def test_a_file_that_was_read_before_is_written_whole(tmp_path: Path):
    sent = Sent("t.json", b"whole")
    sent.read()
    found = save(tmp_path, sent, None, [])
    assert found.trace and found.trace.read_bytes() == b"whole"


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "LIMIT_MIB", 1)
    save(tmp_path, Sent("fits.json", b"x" * (1 << 20)), None, [])
    with pytest.raises(UnreadableInput, match=r"large.json has more than 1 MiB") as error:
        save(tmp_path, Sent("large.json", b"x" * ((1 << 20) + 1)), None, [])
    assert error.value.hint == "import larger files with: diffuscope import"


def test_the_server_takes_what_the_page_promises():
    from dashboards import app

    assert app.settings("127.0.0.1", 1)["server.maxUploadSize"] == uploads.LIMIT_MIB == 1024
