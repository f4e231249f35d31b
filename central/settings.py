"""Central's settings, from environment variables (systemd reads them from central.env) or from ``.env``."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv import dotenv_values
from pydantic import TypeAdapter

from central.shifts import ShiftCalendar, parse_calendar
from contracts.base import SerialNumber
from contracts.duration import parse_duration
from contracts.errors import SetupError
from contracts.patterns import compiled
from contracts.serial_form import NO_READ, SerialForm
from messaging.broker import BrokerAddress, parse_broker_url

DEFAULT_DATABASE_URL = "sqlite:///neurohub.db"
DEFAULT_BROKER_URL = "mqtt://127.0.0.1:1883"
DEFAULT_TIMEZONE = "Asia/Seoul"
DEFAULT_SHIFTS = "D=08:00,N=20:00"
DEFAULT_ANCHOR_FILE = "audit-anchors.jsonl"
DEFAULT_SERIAL_PATTERN = "{lot}-{sequence:04d}"
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


@dataclass(frozen=True)
class PermitSettings:
    """How permits and serial numbers are given. ``lease_s`` None: by how long each process takes."""

    lease_s: float | None = None
    serial_pattern: str = DEFAULT_SERIAL_PATTERN

    def serial_number(self, lot_number: str, sequence: int) -> str:
        """The serial number of a unit of this LOT."""
        return self.serial_pattern.format(lot=lot_number, sequence=sequence)


@dataclass(frozen=True)
class CentralSettings:
    """Where the database and the broker are, and the site's shifts. ``database_url`` may hold a password and never
    shows in a repr."""

    broker: BrokerAddress
    calendar: ShiftCalendar
    database_url: str = field(default=DEFAULT_DATABASE_URL, repr=False)
    database_echo: bool = False
    permits: PermitSettings = field(default_factory=PermitSettings)
    serial_form: SerialForm = field(default_factory=SerialForm)
    anchor_file: Path = Path(DEFAULT_ANCHOR_FILE)


def environment() -> Mapping[str, str]:
    """The environment's variables, and beneath them those of a file ``.env`` in the working directory."""
    try:
        beneath = dotenv_values(".env", interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f".env cannot be read: {error}") from error
    return {**{name: value for name, value in beneath.items() if value is not None}, **os.environ}


def load_settings(given: Mapping[str, str] | None = None) -> CentralSettings:
    """Settings from the environment. Raises SetupError naming the variable that is wrong."""
    given = environment() if given is None else given
    url = given.get("BROKER_URL", DEFAULT_BROKER_URL)
    try:
        host, port, tls = parse_broker_url(url)
    except ValueError as error:
        raise SetupError(f"BROKER_URL: {error}") from error
    return CentralSettings(
        broker=BrokerAddress(
            host,
            port,
            tls,
            ca=_path(given, "BROKER_CA"),
            cert=_path(given, "BROKER_CERT"),
            key=_path(given, "BROKER_KEY"),
            username=given.get("BROKER_USERNAME"),
            password=_secret(given, "BROKER_PASSWORD_FILE"),
        ),
        calendar=parse_calendar(
            given.get("SITE_TIMEZONE") or DEFAULT_TIMEZONE, given.get("SITE_SHIFTS") or DEFAULT_SHIFTS
        ),
        database_url=given.get("DATABASE_URL", DEFAULT_DATABASE_URL),
        database_echo=flag(given, "DB_ECHO"),
        permits=PermitSettings(_lease(given), _serial_pattern(given)),
        serial_form=_serial_form(given),
        anchor_file=_path(given, "AUDIT_ANCHOR_FILE") or _beside_the_database(given.get("DATABASE_URL")),
    )


def flag(given: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    """A setting that is true or false. Raises SetupError."""
    text = (given.get(name) or str(default)).lower()
    if text not in ("true", "false", "1", "0"):
        raise SetupError(f"{name}: true or false is needed")
    return text in ("true", "1")


def instance_name(name: str | None) -> str | None:
    """The name of one ingestor of several, fit for an MQTT client id; none: it is the only one. Raises SetupError."""
    if name and not _INSTANCE.fullmatch(name):
        raise SetupError(f"--instance {name!r}: 1 to 32 letters, digits, - and _ are needed")
    return name or None


def _lease(given: Mapping[str, str]) -> float | None:
    try:
        return parse_duration(given["PERMIT_LEASE"]) if given.get("PERMIT_LEASE") else None
    except ValueError as error:
        raise SetupError(f"PERMIT_LEASE: {error}") from error


def _serial_pattern(given: Mapping[str, str]) -> str:
    """Checked with two LOTs and two sequences: each has to get a number of its own, of the form every number has."""
    pattern = given.get("SERIAL_PATTERN") or DEFAULT_SERIAL_PATTERN
    form: TypeAdapter[str] = TypeAdapter(SerialNumber)
    try:
        made = {
            form.validate_python(PermitSettings(None, pattern).serial_number(lot, sequence))
            for lot in ("WF-KR-241118D-001", "WF-KR-241119N-002")
            for sequence in (1, 100)
        }
    except (ValueError, KeyError, IndexError, AttributeError) as error:
        raise SetupError(
            f"SERIAL_PATTERN {pattern!r} makes no serial numbers: {error}; an example is {DEFAULT_SERIAL_PATTERN}"
        ) from error
    if len(made) < 4:
        raise SetupError(f"SERIAL_PATTERN {pattern!r} gives two units one number; it needs {{lot}} and {{sequence}}")
    return pattern


def _serial_form(given: Mapping[str, str]) -> SerialForm:
    form = given.get("SERIAL_FORM") or None
    if form is not None:
        try:
            compiled(form)
        except ValueError as error:
            raise SetupError(f"SERIAL_FORM {form!r} is {error}") from error
    words = given.get("NO_READ_WORDS")
    return SerialForm(form, NO_READ if words is None else tuple(word for word in words.split(",") if word.strip()))


def _path(given: Mapping[str, str], name: str) -> Path | None:
    return Path(given[name]) if given.get(name) else None


def _beside_the_database(url: str | None) -> Path:
    """Where anchors are kept without a setting: beside a SQLite file, else in the working directory."""
    path = (url or DEFAULT_DATABASE_URL).removeprefix("sqlite:///")
    return Path(f"{path}.anchors.jsonl") if path != (url or DEFAULT_DATABASE_URL) else Path(DEFAULT_ANCHOR_FILE)


def _secret(given: Mapping[str, str], name: str) -> str | None:
    path = _path(given, name)
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"{name}: {path} cannot be read: {error}") from error
