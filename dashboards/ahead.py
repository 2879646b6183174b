"""What the first visitor would wait for, done before: late imports before the server answers, the folder read while it does."""

from __future__ import annotations

import importlib
import logging
import threading

import plotly.graph_objects as go

from dashboards import data
from dashboards.charts import runs as charts
from profiler.core.errors import DiffuscopeError

# What Streamlit itself imports only when it shows the first table or picture.
_LATE = ("pyarrow", "pandas", "PIL.Image")
_log = logging.getLogger(__name__)


def load() -> None:
    """Import what the first table and the first figures would import."""
    for name in _LATE:
        importlib.import_module(name)
    go.Figure([go.Bar(), go.Scatter(), go.Icicle(), go.Waterfall()]).to_json()


def read_folder() -> threading.Thread:
    """Read what the first page shows, in a thread of its own: the server answers meanwhile."""
    thread = threading.Thread(target=_read, name="first page", daemon=True)
    thread.start()
    return thread


def _read() -> None:
    try:
        rows = data.runs()
        data.sqnr_of(rows)
        charts.scatter(rows).to_json()
    except DiffuscopeError as error:
        # The page says so itself.
        _log.info("the folder could not be read ahead: %s", error)
