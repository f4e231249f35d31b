"""Access tokens: signed, short, of one session. A session lives as long as its tokens are refreshed, and is revoked
as a whole."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt

from central.api.paging import LARGEST_ID
from central.api.settings import ApiSettings


@dataclass(frozen=True)
class Token:
    """What a good token says."""

    user_id: int
    session_id: str


def issue(settings: ApiSettings, user_id: int, session_id: str | None = None) -> str:
    """A token for a user, of this session or of a new one."""
    now = datetime.now(UTC)
    claims = {
        "sub": str(user_id),
        "sid": session_id or uuid4().hex,
        "jti": uuid4().hex,
        "iat": now,
        "exp": now + timedelta(minutes=settings.token_minutes),
    }
    return jwt.encode(claims, settings.secret_key, settings.algorithm)


def read(settings: ApiSettings, token: str) -> Token | None:
    """What a token says; None where it is not one of ours, of another algorithm, changed or expired."""
    try:
        claims = jwt.decode(
            token,
            settings.secret_key,
            algorithms=[settings.algorithm],
            options={"require": ["sub", "sid", "exp", "iat"]},
        )
        user_id = int(claims["sub"])
    except (jwt.PyJWTError, ValueError):
        return None
    return Token(user_id, str(claims["sid"])) if 0 < user_id <= LARGEST_ID else None


def forget_at(settings: ApiSettings) -> datetime:
    """When no token issued until now is good any more."""
    return datetime.now(UTC) + timedelta(minutes=settings.token_minutes)
