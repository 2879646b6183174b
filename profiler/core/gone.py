"""A stream whose reader is gone (`2>&1 | head`): what is told there is for nobody, and ends nothing."""

from __future__ import annotations

import os
from typing import IO


def let_go(stream: IO[str]) -> None:
    """Send what is still to come nowhere; also what waits to be flushed, which would make a failure of the process's end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
