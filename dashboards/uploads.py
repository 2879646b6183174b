"""Files that a browser sends: bounded, under names that are harmless, in a folder that is gone when their import ends."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from profiler.core.errors import UnreadableInput
from profiler.tables.importing import Inputs

LIMIT_MIB = 1024
"""Of one file; the server refuses more while it is being sent."""
_LONGEST = 80
_COPY_BYTES = 1 << 20
LARGER = "import larger files with: diffuscope import"


class Upload(Protocol):
    """A file as a browser sends it: its name is whatever the sender says."""

    name: str

    def seek(self, offset: int, /) -> int:
        """Go to a byte."""
        ...

    def read(self, size: int, /) -> bytes:
        """The next bytes."""
        ...


def harmless(name: str) -> str:
    """A file's name without folders, without anything but letters, digits and `-_.`, at most 80 letters, never hidden."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = "".join(each if each.isascii() and (each.isalnum() or each in "-_.") else "-" for each in last).lstrip(".-")
    stem, dot, endings = kept.partition(".")
    # A name is cut before its endings: `.json.gz` says something.
    room = max(1, _LONGEST - len(dot + endings))
    return (stem[:room] + dot + endings)[:_LONGEST].rstrip(".") or "file"


def save(
    folder: Path, trace: Upload | None, memory: Upload | None, logs: Sequence[Upload], timed_ms: float | None = None
) -> Inputs:
    """Write uploads into subfolders of `folder`, each under a harmless name; what `import` takes.

    Raises:
        UnreadableInput: a file larger than the limit, or no room on the disk.
    """
    try:
        return Inputs(
            trace=_write(folder / "trace", trace) if trace else None,
            memory=_write(folder / "memory", memory) if memory else None,
            compile_log=_logs(folder / "logs", logs) if logs else None,
            timed_ms=timed_ms,
        )
    except OSError as error:
        raise UnreadableInput(f"cannot write what was sent to {folder.parent}: {error.strerror}", "free some space") from None


def _logs(folder: Path, logs: Sequence[Upload]) -> Path:
    """One file as it is, several as the folder that they come from."""
    paths = [_write(folder, each) for each in logs]
    return paths[0] if len(paths) == 1 else folder


def _write(folder: Path, upload: Upload) -> Path:
    folder.mkdir(exist_ok=True)
    name, number = harmless(upload.name), 2
    path = folder / name
    while path.exists():
        path, number = folder / f"{number}-{name}", number + 1
    upload.seek(0)
    with path.open("xb") as target:
        _copy(upload, target, path.name)
    return path


def _copy(source: Upload, target: BinaryIO, name: str) -> None:
    left = LIMIT_MIB << 20
    while chunk := source.read(_COPY_BYTES):
        left -= len(chunk)
        if left < 0:
            raise UnreadableInput(f"{name} has more than {LIMIT_MIB} MiB", LARGER)
        target.write(chunk)
