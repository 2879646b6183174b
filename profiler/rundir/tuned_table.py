"""Tables of tuned kernels: JSON keyed by device, torch, triton, kernel version and shape. Both sides read them.

A table holds for exactly the device and the versions that it was measured and checked on: another compiler may make a
wrong kernel of the same source, and another device has another best one.
"""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from profiler.core.errors import UnreadableInput, UsageError
from profiler.core.product import Shape, parse_shape
from profiler.rundir.shape import build

# Raised whenever a kernel changes what it computes or how fast: what was tuned before is then tuned again.
KERNEL_VERSION = 1
_VERSION = 1
_SHIPPED = Path(__file__).parents[1] / "kernels" / "shipped"
_MAX_BYTES = 64 << 20
AGAIN = "name another file, or remove it and tune again with `diffuscope tune`; --tuned off does without"


@dataclass(frozen=True, kw_only=True)
class TableKey:
    """What a measured time holds for.

    Attributes:
        device: the GPU's name; for a CPU its model, instruction set and number of threads.
        triton: its version, "" where there is none.
    """

    device: str
    torch: str
    triton: str = ""
    kernels: int = KERNEL_VERSION


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The best kernel of one shape.

    Attributes:
        us: its median time.
        untuned_us: that of what runs without it; None where it was not measured.
        measured_ns: when; of two entries the later one is kept.
        torchao: configuration and time of the best of torchao's own kernel, where that was tried.
    """

    kernel: str
    us: float
    untuned_us: float | None = None
    measured_ns: int = 0
    torchao: dict[str, Any] | None = None

    @property
    def pays(self) -> bool:
        """Whether it is faster than what runs without it."""
        return self.untuned_us is None or self.us < self.untuned_us


@dataclass(frozen=True, kw_only=True)
class Section:
    """What was tuned for one key: entries by shape, written MxKxN."""

    key: TableKey
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Table:
    """One file of tuned kernels."""

    version: int = _VERSION
    sections: list[Section] = field(default_factory=list)

    def find(self, key: TableKey) -> dict[Shape, Entry]:
        """The entries of a key; none where nothing was tuned for it."""
        return {parse_shape(name): entry for each in self.sections if each.key == key for name, entry in each.entries.items()}

    def merged(self, other: Table) -> Table:
        """Both tables in one; of two entries for one shape the one measured later."""
        sections: dict[TableKey, dict[str, Entry]] = {}
        for each in (*self.sections, *other.sections):
            entries = sections.setdefault(each.key, {})
            for name, entry in each.entries.items():
                if name not in entries or entries[name].measured_ns <= entry.measured_ns:
                    entries[name] = entry
        return Table(sections=[Section(key=key, entries=dict(sorted(found.items()))) for key, found in sections.items()])


def read_table(path: Path) -> Table:
    """Read a table.

    Raises:
        UsageError: there is no such file.
        UnreadableInput: it is no table, or one of a later version.
    """
    if not path.is_file():
        raise UsageError(f"{path} is no file", "write a table with `diffuscope tune`")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UnreadableInput(f"{path} is no table of tuned kernels: it has more than {_MAX_BYTES >> 20} MiB", AGAIN)
        raw = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda _: None)
        if isinstance(raw, dict) and "sections" not in raw:
            # Any other JSON object would read as an empty table, and be written over.
            raise ValueError("it has no sections")
        table = build(Table, raw, "table")
        for section in table.sections:
            for name, entry in section.entries.items():
                parse_shape(name)
                if not entry.us > 0:
                    raise ValueError(f"{name} takes {entry.us} us")
    except OSError as error:
        raise UnreadableInput(f"cannot read {path}: {error.strerror}", "check its permissions") from None
    except (ValueError, TypeError, RecursionError, UsageError) as error:
        raise UnreadableInput(f"{path} is no table of tuned kernels: {str(error).splitlines()[0]}", AGAIN) from None
    if table.version > _VERSION:
        raise UnreadableInput(f"{path} has version {table.version}; this diffuscope reads up to {_VERSION}", "upgrade diffuscope")
    return table


def own_table() -> Path:
    """Where `diffuscope tune` keeps what it found, unless told otherwise: $DIFFUSCOPE_TUNED, or the user's cache."""
    given = os.environ.get("DIFFUSCOPE_TUNED")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "diffuscope" / "tuned.json"


def tuned_option(table: str) -> str:
    """What makes `record` read this table, with a leading space: nothing for those that it reads by itself."""
    known = Path(table).name in {each.name for each in shipped_tables()} or Path(table) == own_table()
    return "" if known or not table else f" --tuned {shlex.quote(table)}"


def shipped_tables() -> list[Path]:
    """The tables that come with the package."""
    return sorted(_SHIPPED.glob("*.json"))
