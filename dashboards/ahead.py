"""What the first visitor would wait for, done before: scripts that the browser needs next are named early, the folder is read."""

from __future__ import annotations

import importlib
import logging
import threading
from pathlib import Path

import plotly.graph_objects as go
import streamlit
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards import data
from dashboards.charts import runs as charts
from dashboards.links import PERFETTO, TRACE_VIEW
from profiler.core.errors import DiffuscopeError

# Streamlit's page asks for these one after the other, once it knows what is on the page; the figures' library is 5 MB.
_SCRIPTS = ("Html", "PageLink", "Selectbox", "Multiselect", "DataFrame", "arrowFormatUtils", "PlotlyChart")
# What Streamlit itself imports only when it shows the first table or picture.
_LATE = ("pyarrow", "pandas", "PIL.Image")
_log = logging.getLogger(__name__)


def scripts() -> list[str]:
    """Paths of the scripts that every page loads late, from the server's root; none where this Streamlit names them otherwise."""
    folder = Path(streamlit.__file__).parent / "static" / "static" / "js"
    found = (sorted(folder.glob(f"{name}.*.js")) for name in _SCRIPTS)
    return [f"/static/js/{path.name}" for paths in found for path in paths[:1]]


class Preload:
    """An application whose pages tell the browser in their first line which scripts it will need."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._link = ", ".join(f"<{path}>; rel=modulepreload; crossorigin" for path in scripts())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_link(message: Message) -> None:
            if message["type"] == "http.response.start" and self._link and _is_page(message):
                message = {**message, "headers": [*message["headers"], (b"link", self._link.encode("ascii"))]}
            await send(message)

        own = scope["type"] == "http" and not scope["path"].startswith((PERFETTO, TRACE_VIEW))
        await self._app(scope, receive, with_link if own else send)


def _is_page(message: Message) -> bool:
    return Headers(raw=list(message["headers"])).get("content-type", "").startswith("text/html")


def read_folder() -> None:
    """Read what the first page shows, in a thread of its own: the server answers meanwhile."""
    threading.Thread(target=_read, name="first page", daemon=True).start()


def _read() -> None:
    for name in _LATE:
        importlib.import_module(name)
    go.Figure([go.Bar(), go.Scatter(), go.Icicle(), go.Waterfall()]).to_json()
    try:
        rows = data.runs()
        charts.scatter(rows).to_json()
        data.sqnr_of(rows)
    except DiffuscopeError as error:
        # The page says so itself.
        _log.info("the folder could not be read ahead: %s", error)
