"""Registries: one new file in a room is one new choice of the command line."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Generic, TypeVar

from profiler.core.errors import UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Named entries of one kind, filled by importing every module of a package.

    The modules must import nothing heavy at their top: a registry is read for `--help`.

    Args:
        kind: what an entry is called in messages, for example "scheme".
        package: the package whose modules register the entries, imported at first use.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}
        self._discovered = False

    def add(self, name: str, entry: T) -> T:
        """Register `entry`; a name taken twice is a programming error."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """The entry called `name`, or a UsageError that lists the names there are."""
        self._discover()
        if name not in self._entries:
            raise UsageError(f"no {self.kind} is called {name!r}", f"choose from: {', '.join(self)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        self._discover()
        return name in self._entries

    def values(self) -> list[T]:
        """Every entry, in the order of registration."""
        self._discover()
        return list(self._entries.values())

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
