"""Passwords: what makes one good enough, and their hashes (bcrypt, cost 12)."""

import base64
import hashlib
from functools import cache
from typing import Annotated

import bcrypt
from pydantic import AfterValidator, StringConstraints

_COST = 12
_BCRYPT_TAKES = 72
"""Bytes: bcrypt looks no further, so a longer password goes in as its SHA-384."""


def _good_enough(password: str) -> str:
    missing = [
        name
        for name, there in (
            ("an upper-case letter", any(letter.isupper() for letter in password)),
            ("a lower-case letter", any(letter.islower() for letter in password)),
            ("a digit", any(letter.isdecimal() for letter in password)),
        )
        if not there
    ]
    if missing:
        raise ValueError(f"a password needs {' and '.join(missing)}")
    return password


Password = Annotated[str, StringConstraints(min_length=8, max_length=128), AfterValidator(_good_enough)]
"""A new password: 8 to 128 characters, among them an upper-case letter, a lower-case letter and a digit."""


def hashed(password: str) -> str:
    """The hash to keep. Takes a quarter of a second, so that guessing does too."""
    return bcrypt.hashpw(_material(password), bcrypt.gensalt(_COST)).decode()


def matches(password: str, kept: str | None) -> bool:
    """Whether this is the password of the hash; takes as long where there is none."""
    try:
        same = bcrypt.checkpw(_material(password), (kept or _nobodys()).encode())
    except ValueError:  # what is kept is no hash of bcrypt's
        same = False
    return same and kept is not None


@cache
def _nobodys() -> str:
    return hashed("no password of anybody")


def _material(password: str) -> bytes:
    plain = password.encode("utf-8", "surrogatepass")
    if len(plain) <= _BCRYPT_TAKES and b"\x00" not in plain:
        return plain
    return base64.b64encode(hashlib.sha384(plain).digest())
