"""Import: what did a run that was recorded elsewhere do?"""

from __future__ import annotations

from dashboards import parts


def page() -> None:
    """The page."""
    parts.head("Recorded elsewhere?", "Give a trace, a memory snapshot or a compile log to the command.")
    parts.nothing("Import", "It files them into a run directory.", "diffuscope import TRACE, or diffuscope record MODEL")
