"""Importing large libraries without looking for garbage among what they make."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected(keep: bool = False) -> Iterator[None]:
    """Import in here with the garbage collector off, and back as it was afterwards.

    An import makes hundreds of thousands of objects, and hardly one is garbage: a third of the time that torch and diffusers
    take is spent on looking through them.

    Args:
        keep: never look through what there is by then, later collections included. For a process of our own that has
            imported libraries and made nothing yet: whatever is garbage later must not be among what is kept.
    """
    on = gc.isenabled()
    gc.disable()
    try:
        yield
        if keep:
            gc.freeze()
    finally:
        if on:
            gc.enable()
