"""Loading pickles that are never trusted: builtin containers and scalars, nothing that can run code."""

from __future__ import annotations

import pickle
from typing import IO, Any

from profiler.core.errors import UnreadableInput


class _BuiltinsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise UnreadableInput(
            f"the pickle asks for {module}.{name}: only builtin containers are admitted", "do not load this file"
        )

    def persistent_load(self, pid: Any) -> Any:
        raise UnreadableInput("the pickle refers to objects outside itself", "do not load this file")


# What the unpickler raises on bytes that are no whole pickle.
_BROKEN = (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)


def load(file: IO[bytes]) -> Any:
    """One object of dicts, lists, tuples, sets, strings, bytes and numbers; objects that are shared stay shared.

    Raises:
        UnreadableInput: the pickle names any class or function, or is no whole pickle.
    """
    try:
        return _BuiltinsOnly(file).load()
    except UnreadableInput:
        raise
    except _BROKEN as error:
        raise UnreadableInput(f"no whole pickle: {type(error).__name__}: {error}", "record or copy the file again") from None
