"""Derived files beside a run: each entry is a folder that is whole or absent, keyed to its source, and safe to delete."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiler.core.errors import UnreadableInput
from profiler.tables.schema import CACHE_VERSION

_FACTS = "facts.json"
Key = dict[str, Any]


@dataclass
class Entry:
    """An entry being written: files go to `partial`, which becomes `final`; `facts` are stored beside them."""

    partial: Path
    final: Path
    facts: dict[str, Any] = field(default_factory=dict)


def key_of(source: Path) -> Key:
    """What an entry must have been made from: this file, unchanged, by this version.

    Raises:
        UnreadableInput: there is no such file.
    """
    try:
        stat = source.stat()
    except OSError as error:
        raise UnreadableInput(f"cannot read {source}: {error.strerror}", "check the path and its permissions") from None
    return {"version": CACHE_VERSION, "size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def writable_dir(wanted: Path) -> Path:
    """`wanted`, made if need be; where the disk forbids it, a private folder of the same meaning in the temporary directory."""
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=wanted):
            return wanted
    except OSError:
        fallback = _fallback_of(wanted)
        fallback.parent.mkdir(exist_ok=True, mode=0o700)
        fallback.mkdir(exist_ok=True)
        return fallback


def _fallback_of(wanted: Path) -> Path:
    digest = hashlib.sha256(str(wanted.absolute()).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"diffuscope-cache-{os.getuid()}" / digest


def find(cache_dir: Path, name: str, key: Key) -> Path | None:
    """The folder of an entry made from the same source, or None."""
    places = (cache_dir / name, _fallback_of(cache_dir) / name)
    return next((folder for folder in places if _is_whole(folder, key)), None)


def _is_whole(folder: Path, key: Key) -> bool:
    try:
        facts = facts_of(folder)
        return bool(facts["key"] == key and facts["files"] == _sizes(folder))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def facts_of(folder: Path) -> dict[str, Any]:
    """What was stored beside an entry's files."""
    facts: dict[str, Any] = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    return facts


def store(cache_dir: Path, name: str, key: Key, fill: Callable[[Path], dict[str, Any]], again: bool = False) -> Path:
    """Make one entry and return its folder; where its disk is full, in the temporary directory.

    Args:
        fill: writes the entry's files into a folder and returns its facts.
        again: it replaces an entry of the same key, since it holds more; else one that is whole stays, whoever made it.

    Raises:
        UnreadableInput: there is no room in the temporary directory either.
    """
    for place in (cache_dir, _fallback_of(cache_dir)):
        try:
            with writing(place, name, key, again) as entry:
                entry.facts = fill(entry.partial)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            continue
        return entry.final
    where = f"{cache_dir} and in {tempfile.gettempdir()}"
    raise UnreadableInput(
        f"no room for the tables of {name} in {where}", "free some space, or point TMPDIR at a disk that has some"
    )


@contextmanager
def writing(cache_dir: Path, name: str, key: Key, again: bool = False) -> Iterator[Entry]:
    """Write one entry; it appears under its name only once it is whole. `again`: see `store`."""
    place = writable_dir(cache_dir)
    partial = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=place))
    entry = Entry(partial, place / name)
    try:
        yield entry
        (partial / _FACTS).write_text(json.dumps(entry.facts | {"key": key, "files": _sizes(partial)}), encoding="utf-8")
        with _alone(place):
            # Another process that made the same is read by now: taking its files away would fail its readers.
            if again or not _is_whole(entry.final, key):
                _install(partial, entry.final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != _FACTS}


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time puts entries into a folder."""
    held = os.open(folder, os.O_RDONLY)
    try:
        # A file system without locks (some network disks) is as safe as one reader at a time makes it.
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _install(partial: Path, final: Path) -> None:
    """Put the folder in place. An older entry of that name is moved out of the way first."""
    partial.chmod(0o755)
    stale = Path(tempfile.mkdtemp(prefix=f".{final.name}.stale-", dir=final.parent))
    try:
        if final.exists():
            final.rename(stale / final.name)
        partial.rename(final)
    finally:
        shutil.rmtree(stale, ignore_errors=True)
