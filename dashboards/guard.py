"""Who may ask this server: pages that it gave out itself, and programs that are no pages."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

# The peer broke a rule, in the words of the WebSocket protocol.
_POLICY = 1008


class SameOrigin:
    """Refuses whatever a browser asks on behalf of another site's page.

    Streamlit's own check would ask a host on the internet for this machine's address before it refuses.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _own(Headers(scope=scope)):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY})
        else:
            await PlainTextResponse("another site's page may not ask this server", 403)(scope, receive, send)


def _own(headers: Headers) -> bool:
    """Whether no page asks, or one of this server's: its host and port are those that were asked."""
    origin = headers.get("origin")
    try:
        return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
    except ValueError:
        return False
