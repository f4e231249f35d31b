"""What a request may hold: a bounded body of JSON that can be kept, and no NUL anywhere."""

import json
import math
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, NoReturn

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from central.api.errors import ApiError, refusal

DEEPEST = 32
"""Levels of JSON. Criteria and measurements need six."""
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_DIGEST = "neurohub.body_digest"


class Bodies:
    """ASGI: reads a request's body whole, within bounds, before anything else looks at it."""

    def __init__(self, app: ASGIApp, largest: int) -> None:
        self._app = app
        self._largest = largest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse it, or pass it on. A path with a trailing slash is the one without."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        body = await _read(receive, headers, self._largest)
        refused = _too_large(self._largest) if body is None else _impossible(scope, headers, body)
        if refused is not None:
            await refused(scope, receive, send)
            return
        assert body is not None
        scope[_DIGEST] = sha256(body).hexdigest()
        path = scope["path"]
        if len(path) > 1 and path.endswith("/"):
            scope["path"] = path.rstrip("/") or "/"
            scope["raw_path"] = scope["raw_path"].rstrip(b"/") or b"/"
        messages = _replayed(body)

        async def replay() -> Message:
            return next(messages, None) or await receive()

        await self._app(scope, replay, send)


def body_digest(scope: Scope) -> str:
    """SHA-256 of the request's body."""
    return str(scope[_DIGEST])


def _replayed(body: bytes) -> Iterator[Message]:
    yield {"type": "http.request", "body": body, "more_body": False}


async def _read(receive: Receive, headers: Headers, largest: int) -> bytes | None:
    """The whole body; None where it is too large."""
    said = headers.get("content-length", "0")
    if said.isdecimal() and int(said[:20]) > largest:
        return None
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > largest:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _too_large(largest: int) -> JSONResponse:
    return refusal(ApiError(413, "BODY_TOO_LARGE", f"the body has more than {largest} bytes"))


def _impossible(scope: Scope, headers: Headers, body: bytes) -> JSONResponse | None:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    query = scope["query_string"]
    if "\x00" in scope["path"] or b"%00" in query or b"\x00" in query:
        return _bad("path", "a NUL character", "nul")
    if kind == "application/x-www-form-urlencoded" and (b"%00" in body or b"\x00" in body):
        return _bad("body", "a NUL character", "nul")
    if not body or not (kind.endswith(("/json", "+json")) or not kind):
        return None
    if _too_deep(body):
        return _bad("body", f"JSON of more than {DEEPEST} levels", "too_deep")
    try:
        json.dumps(json.loads(body, parse_constant=_no_number, parse_float=_finite), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return _bad("body", "half of a surrogate pair is no character", "no_character")
    except _ImpossibleNumberError as error:
        return _bad("body", str(error), "no_number")
    except ValueError:
        return None  # no JSON: told where the body is read
    return _bad("body", "a NUL character", "nul") if b"\\u0000" in body and "\x00" in _texts(body) else None


class _ImpossibleNumberError(Exception):
    pass


def _no_number(word: str) -> NoReturn:
    raise _ImpossibleNumberError(f"{word} is no number of JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _ImpossibleNumberError(f"{digits[:40]} is larger than any number can be kept")
    return number


def _texts(body: bytes) -> str:
    """Every text of it, one after the other."""

    def walk(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            for item in value:
                yield from walk(item)
        elif isinstance(value, dict):
            for name, item in value.items():
                yield name
                yield from walk(item)

    return "".join(walk(json.loads(body)))


def _too_deep(body: bytes) -> bool:
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for token in _TOKEN.finditer(body):
        first = token.group()[:1]
        depth += (first in b"[{") - (first in b"]}")
        if depth > DEEPEST:
            return True
    return False


def _bad(where: str, message: str, kind: str) -> JSONResponse:
    fields = [{"loc": [where], "msg": message, "type": kind}]
    return JSONResponse({"detail": fields, "code": "VALIDATION_ERROR"}, 422)
