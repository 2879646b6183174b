"""Parts of pages that follow what still runs."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from dashboards import parts
from profiler.core.errors import DiffuscopeError

RUNNING = "running"
# How often a page looks for news.
_LOOK_S = 3.0


def follow(body: Callable[[], None], running: bool) -> None:
    """Show `body`; where something runs, again and again. What it cannot read it says, then as at first.

    Only while something runs: a page that looks for news for ever keeps a laptop awake.
    """
    if not running:
        body()
        return

    def shown() -> None:
        try:
            body()
        except DiffuscopeError as error:
            parts.nothing(error.message, error.hint)

    st.fragment(run_every=_LOOK_S)(shown)()


def rest() -> None:
    """What ran has ended: the page is shown once more, and follows no longer."""
    st.rerun(scope="app")
