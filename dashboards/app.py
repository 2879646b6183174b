"""The server: Streamlit's pages, the Perfetto UI and the traces of one folder, on one address."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp

from dashboards import ahead, folder, perfetto
from dashboards.guard import SameOrigin
from dashboards.navigation import ENTRIES
from dashboards.uploads import LIMIT_MIB
from profiler.core import palette

_SCRIPT = Path(__file__).parent / "script" / "menu.py"
_LOCAL = ("localhost", "127.0.0.1", "::1")
# Streamlit's pages need inline styles and eval; what matters is that they ask no other host for anything.
_CSP = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws: wss: data: blob:; "
    "frame-src 'self'; frame-ancestors 'self'; object-src 'none'; base-uri 'self'"
)
_LIGHT = {
    "primaryColor": palette.ACCENT,
    "backgroundColor": "#FFFFFF",
    "secondaryBackgroundColor": "#F3F5F8",
    "textColor": "#1B2430",
    "borderColor": "#DCE2E9",
}
_DARK = {
    "primaryColor": "#56B4E9",
    "backgroundColor": "#10151C",
    "secondaryBackgroundColor": "#1A212B",
    "textColor": "#E3E8EE",
    "borderColor": "#2D3744",
}
_FIXED = {
    "server.headless": True,
    # Sources do not change while this runs; watching them would import every module once more.
    "server.fileWatcherType": "none",
    "server.enableStaticServing": False,
    # What the page for imports says; larger files are refused while they are sent.
    "server.maxUploadSize": LIMIT_MIB,
    "server.enableAgentApi": False,
    # `guard.SameOrigin` does both, and asks nobody.
    "server.enableCORS": False,
    "server.enableXsrfProtection": False,
    "browser.gatherUsageStats": False,
    "client.toolbarMode": "minimal",
    "client.showSidebarNavigation": False,
    "logger.level": "warning",
    "logger.hideWelcomeMessage": True,
    "theme.font": "sans-serif",
    "theme.baseFontSize": 15,
    "theme.showWidgetBorder": True,
}


def application(host: str) -> st.App:
    """The application for one host name or address.

    Raises:
        MissingExtra: the package with the Perfetto UI is not installed.
    """
    middleware = [Middleware(_PagesCsp), Middleware(SameOrigin)]
    if host in _LOCAL:
        # Another site's name that points here must not read what this machine recorded.
        middleware.append(Middleware(TrustedHostMiddleware, allowed_hosts=[*_LOCAL, "[::1]"]))
    return st.App(_SCRIPT, routes=perfetto.routes(), middleware=middleware)


class _PagesCsp(perfetto.WithCsp):
    """The policy of pages; routes with one of their own keep it."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, _CSP, replace=False)


def settings(host: str, port: int) -> dict[str, object]:
    """Streamlit's options: nothing is reported, nothing watched, nothing offered that leads away."""
    themes = {f"theme.{name}.{key}": value for name, each in (("light", _LIGHT), ("dark", _DARK)) for key, value in each.items()}
    return {**_FIXED, **themes, "server.address": host, "server.port": port, "browser.serverAddress": host}


def serve(runs: str, host: str, port: int) -> None:
    """Serve the runs of a folder until the process is told to end."""
    os.environ[folder.VARIABLE] = runs
    for entry in ENTRIES:
        # What the first visitor would wait for.
        importlib.import_module(entry.module)
    ahead.load()
    ahead.read_folder()
    application(host).run(config=settings(host, port))
