"""What an honest snapshot of so many bytes can hold.

A pickle can name one object many times in two bytes each, so a small file could become tables that swell whoever reads them.
"""

from __future__ import annotations

from profiler.tables.snapshot_shape import WrongShape

# The smallest event that torch ever wrote takes over 30 bytes.
_BYTES_PER_RECORD = 24
_BYTES_PER_FRAME = 16
_CHARS_PER_BYTE = 8
# Small snapshots need no suspicion.
_FREE = 1 << 20
_FREE_CHARS = 1 << 26
_LONGEST_TEXT = 1 << 16


class Room:
    """Counts what goes into the tables of one snapshot; every method raises WrongShape once there is too much.

    Args:
        unpacked_bytes: the size of the pickle.
    """

    def __init__(self, unpacked_bytes: int) -> None:
        self._records = unpacked_bytes // _BYTES_PER_RECORD
        self._frames = _FREE + unpacked_bytes // _BYTES_PER_FRAME
        self._chars = _FREE_CHARS + unpacked_bytes * _CHARS_PER_BYTE

    def records(self, count: int) -> None:
        """Note `count` more events, blocks or segments."""
        self._records -= count
        if self._records < 0:
            raise WrongShape("it names the same records again and again")

    def frames(self, count: int) -> None:
        """Note `count` more frames of distinct stacks."""
        self._frames -= count
        if self._frames < 0:
            raise WrongShape("it names the same frames again and again")

    def text(self, length: int) -> None:
        """Look at the length of one text."""
        if length > _LONGEST_TEXT:
            raise WrongShape(f"it holds a text of {length} characters")

    def chars(self, count: int) -> None:
        """Note `count` more characters, each text counted in every row that it stands in."""
        self._chars -= count
        if self._chars < 0:
            raise WrongShape("it names the same texts again and again")
