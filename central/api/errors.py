"""How a request that cannot be done is answered: ``{"detail": ..., "code": ...}``, and what else helps the caller."""

from collections.abc import Mapping
from typing import Annotated, Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from central.store.errors import ClashError
from central.store.refusing import NotThereError, RefusedError, RoleError
from contracts.errors import DataError, LinkError, NeuroHubError

log = structlog.get_logger()

_CODES = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 400: "BAD_REQUEST"}


class ApiError(Exception):
    """A request is refused. ``more`` stands in the answer beside ``detail`` and ``code``."""

    def __init__(
        self, status: int, code: str, detail: Any, *, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers
        self.more = more


def not_found(what: str, value: object) -> ApiError:
    """There is no such thing."""
    return ApiError(404, "NOT_FOUND", f"no {what} {value}")


def clash(error: ClashError, status: int = 409) -> ApiError:
    """It clashes with what is there."""
    if error.field is None:
        return ApiError(status, error.code, str(error))
    return ApiError(status, error.code, str(error), field=error.field)


class Refusal(BaseModel):
    """Why a request was refused. ``code`` names the rule; more keys may stand beside it."""

    model_config = ConfigDict(extra="allow")

    detail: str
    code: Annotated[str, Field(examples=["NOT_FOUND"])]


class BadField(BaseModel):
    """One field that is not as it should be: where it is, why, and the kind of mistake."""

    loc: list[str | int]
    msg: str
    type: str


class BadRequest(BaseModel):
    """Every field of a request that is not as it should be."""

    detail: list[BadField]
    code: str = "VALIDATION_ERROR"


ANSWERS: dict[int, dict[str, Any]] = {
    400: {"model": Refusal, "description": "Refused by a rule, or not readable"},
    401: {"model": Refusal, "description": "No token, or one that is not good (any more)"},
    403: {"model": Refusal, "description": "The user's role is too low"},
    404: {"model": Refusal, "description": "There is no such thing"},
    409: {"model": Refusal, "description": "It clashes with what is there, or with a rule"},
    413: {"model": Refusal, "description": "The body is too large"},
    422: {"model": BadRequest, "description": "Every bad field"},
    423: {"model": Refusal, "description": "The account is locked for a while"},
    429: {"model": Refusal, "description": "Too many requests; try again after Retry-After seconds"},
    503: {"model": Refusal, "description": "The database cannot be reached just now; try again"},
}
"""What the document says of each answer that is no success."""


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Those of an operation, with what every operation with a login may answer."""
    return {status: ANSWERS[status] for status in sorted({400, 401, 403, 413, 422, 503, *statuses})}


def install(app: FastAPI) -> None:
    """Give every error this form."""
    app.add_exception_handler(ApiError, _refused)
    app.add_exception_handler(RequestValidationError, _bad_fields)
    app.add_exception_handler(HTTPException, _of_the_framework)
    app.add_exception_handler(NeuroHubError, _of_ours)


def refusal(error: ApiError) -> JSONResponse:
    """The answer."""
    body = {"detail": error.detail, "code": error.code, **error.more}
    return JSONResponse(body, error.status, headers=dict(error.headers or {}))


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return refusal(error)


async def _bad_fields(_request: Request, error: Exception) -> JSONResponse:
    """What was sent stays out of the answer: it may be a password."""
    assert isinstance(error, RequestValidationError)
    fields = [{"loc": list(one["loc"]), "msg": one["msg"], "type": one["type"]} for one in error.errors()]
    return JSONResponse({"detail": fields, "code": "VALIDATION_ERROR"}, 422)


async def _of_the_framework(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    code = _CODES.get(error.status_code, "REFUSED")
    return JSONResponse({"detail": error.detail, "code": code}, error.status_code, headers=dict(error.headers or {}))


async def _of_ours(_request: Request, error: Exception) -> JSONResponse:
    """An error of the store that no router foresaw."""
    if isinstance(error, ClashError):
        return refusal(clash(error))
    if isinstance(error, RefusedError):
        status = 404 if isinstance(error, NotThereError) else 403 if isinstance(error, RoleError) else 409
        return refusal(ApiError(status, error.code, error.detail))
    if isinstance(error, DataError):
        return refusal(ApiError(400, "NOT_STORABLE", str(error)))
    log.error("request not done", error=str(error))
    if isinstance(error, LinkError):
        return refusal(
            ApiError(
                503, "DATABASE_UNAVAILABLE", "the database cannot be reached just now", headers={"Retry-After": "5"}
            )
        )
    return refusal(ApiError(500, "NOT_KEPT", "the database refused; the service's log says why"))


def unexpected() -> JSONResponse:
    """The answer to a request that met an error nobody foresaw."""
    return refusal(ApiError(500, "INTERNAL_ERROR", "an error of the service; its log says more under this request id"))
