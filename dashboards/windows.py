"""The window of a trace that a page shows: the whole trace, all steps, one step, text encoding, decoding."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import streamlit as st

from dashboards import data, navigation
from dashboards.charts import kernels as charts
from profiler.metrics.ledger import Ledger

WHOLE = "the whole trace"


def labels(ledgers: dict[str, Ledger]) -> list[str]:
    """What the picker offers: the whole trace, all repeats of each window, and each repeat."""
    found = [WHOLE]
    for name, each in ledgers.items():
        if each.window != name:
            continue
        found.append(name)
        if each.windows.height > 1:
            found += [f"{name}/{index}" for index in each.windows["index"]]
    return found


def spoken(window: str, ledgers: dict[str, Ledger]) -> str:
    """A window as a sentence names it."""
    kind, _, index = window.partition("/")
    if index:
        return f"{kind} {index}"
    several = kind in ledgers and ledgers[kind].windows.height > 1
    names = {"step": "all steps" if several else "the step", "text": "text encoding", "decode": "decoding", "call": "the call"}
    return names.get(kind, window)


def repeats(window: str, ledgers: dict[str, Ledger]) -> int:
    """How many repeats a window holds: all steps are several."""
    return max(1, ledgers[window].windows.height) if window in ledgers else 1


def kernels_of(name: str, window: str, rank: int = 0) -> pl.DataFrame:
    """The kernels of a window (`step` is all its repeats, `step/1` one) or of the whole trace, as traced."""
    if window == WHOLE:
        return charts.with_units(data.breakdown(name, rank).kernels)
    kind, _, index = window.partition("/")
    rows = data.ledgers(name, rank)[kind].rows
    return charts.of_ledger(rows.filter(pl.col("index") == int(index)) if index else rows)


def choose(ledgers: dict[str, Ledger]) -> str:
    """The window of the address, picked in a menu."""
    names = labels(ledgers)
    at = navigation.selection().window
    st.session_state["window_menu"] = at if at in names else WHOLE
    chosen: str = st.selectbox(
        "Window or step",
        names,
        key="window_menu",
        format_func=lambda each: spoken(each, ledgers),
        on_change=lambda: navigation.select(replace(navigation.selection(), window=st.session_state["window_menu"])),
    )
    return chosen
