"""The files of a compile log given as a file, a folder or an archive; hostile ones are refused before anything is written."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from profiler.core.errors import UnreadableInput
from profiler.tables.chunks import refuse_endless
from profiler.tables.inputs import check_compile_log

MAX_FILES = 10_000
MAX_BYTES = 4 << 30
_HEAD_BYTES = 4096
_GZIP_MAGIC = b"\x1f\x8b"
# zlib's window size for "a gzip header follows".
_GZIP_WBITS = 31
_ENCRYPTED = 1
_AGAIN = "pack the log again with: tar czf compile_log.tgz DIR"


@dataclass(frozen=True)
class LogFile:
    """One file of a log: the relative path to write it to, and a way to its bytes."""

    name: str
    size_bytes: int


def list_log(path: Path) -> list[LogFile]:
    """What `path` holds.

    Raises:
        UnreadableInput: nothing there, a damaged archive, no structured log in it, a member that would be written outside the
            folder, a link or device, or more than 10 000 files or 4 GiB.
    """
    with _opened(path) as files:
        listed, is_log = _list(path, files)
    if not is_log:
        check_compile_log(path, b"")
    return listed


def read_log(path: Path) -> Iterator[tuple[LogFile, IO[bytes]]]:
    """Every file with an open stream of its bytes; call `list_log` first."""
    with _opened(path) as files:
        yield from files


def _list(path: Path, files: Iterator[tuple[LogFile, IO[bytes]]]) -> tuple[list[LogFile], bool]:
    listed: list[LogFile] = []
    is_log = False
    total = 0
    for each, stream in files:
        listed.append(each)
        total += each.size_bytes
        if len(listed) > MAX_FILES or total > MAX_BYTES:
            raise UnreadableInput(f"{path} holds more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB", "give the log of one run")
        is_log = is_log or _is_log(path, stream.read(_HEAD_BYTES))
    return listed, is_log


def _is_log(path: Path, head: bytes) -> bool:
    try:
        # Run directories hold their logs gzipped.
        packed = head.startswith(_GZIP_MAGIC)
        check_compile_log(path, zlib.decompressobj(_GZIP_WBITS).decompress(head, _HEAD_BYTES) if packed else head)
    except (UnreadableInput, zlib.error):
        return False
    return True


@contextmanager
def _opened(path: Path) -> Iterator[Iterator[tuple[LogFile, IO[bytes]]]]:
    """Files of a folder, an archive or a single file; whatever is wrong with them becomes one UnreadableInput."""
    refuse_endless(path)
    try:
        if path.is_dir():
            yield _folder(path)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                yield _members(path, archive)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as zipped:
                yield _zip_members(path, zipped)
        else:
            yield _single(path)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise UnreadableInput(f"cannot read {path}: {error}", _AGAIN) from None


def _single(path: Path) -> Iterator[tuple[LogFile, IO[bytes]]]:
    with path.open("rb") as file:
        yield LogFile(path.name, path.stat().st_size), file


def _folder(path: Path) -> Iterator[tuple[LogFile, IO[bytes]]]:
    for each in sorted(path.rglob("*")):
        if each.is_symlink():
            raise UnreadableInput(f"{path} holds a link, {each.name}", "give a folder of plain files")
        if each.is_file():
            with each.open("rb") as file:
                yield LogFile(each.relative_to(path).as_posix(), each.stat().st_size), file


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tuple[LogFile, IO[bytes]]]:
    for member in archive:
        if member.isdir():
            continue
        stream = archive.extractfile(member) if member.isreg() else None
        if stream is None:
            raise UnreadableInput(f"{path} holds {member.name!r}, which is no plain file", _AGAIN)
        yield LogFile(_safe(path, member.name), member.size), stream


def _zip_members(path: Path, archive: zipfile.ZipFile) -> Iterator[tuple[LogFile, IO[bytes]]]:
    for member in archive.infolist():
        if member.is_dir():
            continue
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG) or member.flag_bits & _ENCRYPTED:
            raise UnreadableInput(f"{path} holds {member.filename!r}, which is no plain file", _AGAIN)
        # No more than the size that it claims is ever read of a member.
        with archive.open(member) as stream:
            yield LogFile(_safe(path, member.filename), member.file_size), stream


def _safe(path: Path, name: str) -> str:
    """A member's name as a path below the log folder."""
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or "\0" in name or not pure.parts:
        raise UnreadableInput(f"{path} holds {name!r}, which would be written outside the folder", _AGAIN)
    parts = pure.parts[1:] if pure.parts[0] == "compile_log" and len(pure.parts) > 1 else pure.parts
    return str(PurePosixPath(*parts))
