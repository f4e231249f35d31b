"""The API's settings, from the same environment as central's own."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from central.settings import environment, flag
from contracts.duration import parse_duration
from contracts.errors import SetupError

KEY_LENGTHS = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Shortest SECRET_KEY, in bytes, by ALGORITHM: as long as the hash (RFC 7518, 3.2)."""
_FEWEST_CHARACTERS = 10
"""Different ones in a key. A random key of 32 hexadecimal digits has more in all but one of ten thousand cases."""
_WELL_KNOWN = re.compile(
    r"change.?(me|this|it)|your.{0,9}(secret|key)|secret.?key|example|insecure|password|default", re.I
)
_PREFIX = re.compile(r"(/[A-Za-z0-9._-]+)+")
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD")


@dataclass(frozen=True)
class CorsSettings:
    """Which web pages of other origins may call the API from a browser; none by default."""

    origins: tuple[str, ...] = ()
    credentials: bool = False
    methods: tuple[str, ...] = _METHODS
    headers: tuple[str, ...] = ("Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID")


@dataclass(frozen=True)
class ApiSettings:
    """How the API answers. ``secret_key`` signs the tokens and never shows in a repr."""

    secret_key: str = field(repr=False)
    algorithm: str = "HS256"
    token_minutes: int = 30
    name: str = "NeuroHub MES"
    version: str = field(default_factory=lambda: version("neurohub-edge"))
    debug: bool = False
    prefix: str = "/api/v1"
    cors: CorsSettings = field(default_factory=CorsSettings)
    largest_body: int = 1024 * 1024
    logins_per_minute: int = 60
    """From one address, good ones and bad ones."""
    figures_age_s: float = 5.0
    """How old the dashboard's figures may be."""


def load_api_settings(given: Mapping[str, str] | None = None) -> ApiSettings:
    """Settings from the environment. Raises SetupError naming the variable that is wrong, never with its value."""
    given = environment() if given is None else given
    debug = flag(given, "DEBUG")
    algorithm = given.get("ALGORITHM") or "HS256"
    if algorithm not in KEY_LENGTHS:
        raise SetupError(f"ALGORITHM: one of {', '.join(KEY_LENGTHS)} is needed")
    return ApiSettings(
        secret_key=_secret_key(given, algorithm, debug=debug),
        algorithm=algorithm,
        token_minutes=_whole(given, "ACCESS_TOKEN_EXPIRE_MINUTES", 30, 1, 24 * 60),
        name=given.get("APP_NAME") or ApiSettings.name,
        version=given.get("APP_VERSION") or version("neurohub-edge"),
        debug=debug,
        prefix=_prefix(given),
        cors=_cors(given),
        largest_body=_whole(given, "REQUEST_SIZE_LIMIT", ApiSettings.largest_body, 1024, 1024**3),
        figures_age_s=_figures_age(given),
        logins_per_minute=_whole(given, "LOGINS_PER_MINUTE", ApiSettings.logins_per_minute, 1, 1_000_000),
    )


def _secret_key(given: Mapping[str, str], algorithm: str, *, debug: bool) -> str:
    key = given.get("SECRET_KEY") or ""
    make = "make one with: openssl rand -hex 32"
    if not key:
        raise SetupError(f"SECRET_KEY is not set: it signs the tokens of the users; {make}")
    if debug:
        return key.ljust(KEY_LENGTHS[algorithm])  # development: any key, as long as the signature needs it
    if len(key.encode()) < KEY_LENGTHS[algorithm]:
        raise SetupError(f"SECRET_KEY is too short: {algorithm} needs {KEY_LENGTHS[algorithm]} characters; {make}")
    if len(set(key)) < _FEWEST_CHARACTERS or _WELL_KNOWN.search(key):
        raise SetupError(f"SECRET_KEY can be guessed; {make}")
    return key


def _figures_age(given: Mapping[str, str]) -> float:
    try:
        return parse_duration(given["FIGURES_AGE"]) if given.get("FIGURES_AGE") else ApiSettings.figures_age_s
    except ValueError as error:
        raise SetupError(f"FIGURES_AGE: {error}") from error


def _prefix(given: Mapping[str, str]) -> str:
    prefix = (given.get("API_V1_PREFIX") or ApiSettings.prefix).rstrip("/")
    if not _PREFIX.fullmatch(prefix):
        raise SetupError("API_V1_PREFIX: a path is needed, for example /api/v1")
    return prefix


def _cors(given: Mapping[str, str]) -> CorsSettings:
    cors = CorsSettings(
        origins=_words(given, "CORS_ORIGINS", ()),
        credentials=flag(given, "CORS_ALLOW_CREDENTIALS"),
        methods=_words(given, "CORS_ALLOW_METHODS", CorsSettings.methods),
        headers=_words(given, "CORS_ALLOW_HEADERS", CorsSettings.headers),
    )
    if cors.credentials and "*" in cors.origins:
        raise SetupError("CORS_ORIGINS: * with CORS_ALLOW_CREDENTIALS lets every web page act as the user; name them")
    return cors


def _words(given: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    """Words with commas between, or a JSON list of them."""
    text = given.get(name)
    if not text:
        return default
    if not text.lstrip().startswith("["):
        return tuple(word.strip() for word in text.split(",") if word.strip())
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(word, str) for word in found):
        raise SetupError(f"{name}: words with commas between are needed, or a JSON list of texts")
    return tuple(found)


def _whole(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name) or str(default)
    if not text.isascii() or not text.isdecimal() or not least <= int(text) <= most:
        raise SetupError(f"{name}: a whole number from {least} to {most} is needed")
    return int(text)
