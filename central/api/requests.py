"""Around every request: its id, one log line without secrets, and the headers of every answer."""

import re
import time
from uuid import uuid4

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from central.api.errors import unexpected
from central.api.metrics import Metrics

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_PATH = 200
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Of every answer that does not say otherwise."""
_HSTS = "max-age=31536000"


class Requests:
    """ASGI, outermost: binds the request's id to the log, tells of each request in a line, and of each error.

    The line holds no query and no body: they may be a password.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer it, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope).get("x-request-id", "")
        request_id = asked if _REQUEST_ID.fullmatch(asked) else uuid4().hex
        began = time.perf_counter()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), request_id, scope)
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, sending)
            except Exception as error:
                log.error("request failed", exc_info=error)
                if status == 0:
                    await unexpected()(scope, receive, sending)
            finally:
                seconds = time.perf_counter() - began
                self._metrics.answered(scope, status, seconds)
                log.info(
                    "request",
                    method=scope["method"],
                    path=scope["path"][:_LONGEST_PATH],
                    status=status,
                    duration_ms=round(seconds * 1000, 1),
                    user=scope.get("neurohub.user"),
                    client=scope["client"][0] if scope.get("client") else None,
                )


def _add_headers(headers: MutableHeaders, request_id: str, scope: Scope) -> None:
    headers["X-Request-ID"] = request_id
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    if scope.get("scheme") == "https":
        headers.setdefault("Strict-Transport-Security", _HSTS)
