"""Stub."""

from dashboards import parts


def page() -> None:
    """The page."""
    parts.nothing("Soon", "not yet")
