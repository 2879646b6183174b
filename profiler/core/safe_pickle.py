"""Loading pickles that are never trusted: builtin containers and scalars, nothing that can run code.

A pickle that runs nothing can still ask for all memory, or nest so deeply that hashing or freeing it overflows the C stack:
what comes from outside is loaded in a child process under limits.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Collection
from typing import IO, Any, ClassVar

from profiler.core.errors import UnreadableInput

_NOT_LOADED = "do not load this file"


class StandIn:
    """What a pickle says of one object of a class that the caller listed; it does nothing.

    Args:
        args: positional arguments of its constructor.
        kwargs: keyword arguments of its constructor.

    A pickled class, function or dtype that is never called is a subclass of StandIn itself: `name` tells which.
    Objects are equal where they are the same object.
    """

    __slots__ = ("args", "items", "kwargs", "pairs", "state")
    name: ClassVar[str] = ""
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    state: Any
    items: list[Any]
    pairs: list[tuple[Any, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> StandIn:
        self = super().__new__(cls)
        self.args, self.kwargs, self.state, self.items, self.pairs = args, kwargs, None, [], []
        return self

    # The four ways in which a pickle fills an object. Each must be here: where one is missing, the unpickler looks further.
    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """Note an item that the pickle appends."""
        self.items.append(item)

    def extend(self, items: list[Any]) -> None:
        """Note items that the pickle appends."""
        self.items.extend(items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.pairs.append((key, value))


class _Restricted(pickle.Unpickler):
    def __init__(self, file: IO[bytes], stand_ins: Collection[str]) -> None:
        super().__init__(file)
        self._listed = frozenset(stand_ins)
        self._made: dict[str, type[StandIn]] = {}

    def find_class(self, module: str, name: str) -> type[StandIn]:
        full = f"{module}.{name}"
        if full not in self._listed:
            raise UnreadableInput(f"the pickle asks for {full[:200]!r}: only builtin containers are admitted", _NOT_LOADED)
        if full not in self._made:
            self._made[full] = type("StandIn", (StandIn,), {"__slots__": (), "name": full})
        return self._made[full]

    def persistent_load(self, pid: Any) -> Any:
        raise UnreadableInput("the pickle refers to objects outside itself", _NOT_LOADED)


# What the unpickler raises on bytes that are no whole pickle.
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    BufferError,
    RecursionError,
    SystemError,
)


def load(file: IO[bytes], stand_ins: Collection[str] = ()) -> Any:
    """One object of dicts, lists, tuples, sets, strings, bytes and numbers; objects that are shared stay shared.

    Args:
        stand_ins: classes and functions, as "module.name", that may be named: an inert `StandIn` takes their place.

    Raises:
        UnreadableInput: the pickle names any other class or function, is no whole pickle, or asks for more memory than there is.
    """
    # Objects that other unpicklers of this process resolved by number would be handed out without asking `find_class`.
    copyreg.clear_extension_cache()
    try:
        return _Restricted(file, stand_ins).load()
    except UnreadableInput:
        raise
    except MemoryError:
        raise UnreadableInput("the pickle asks for more memory than may be used", _NOT_LOADED) from None
    except _BROKEN as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise UnreadableInput(f"no whole pickle: {why[:300]}", "record or copy the file again") from None
