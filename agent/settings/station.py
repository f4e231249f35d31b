"""What a whole station's settings say."""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, InstanceOf, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from agent.outbox.room import Limits
from agent.settings.machine import MachineSettings
from agent.settings.sizes import Size
from contracts.base import RegularExpression, StationId
from contracts.criteria import CriteriaSet, Criterion
from contracts.duration import Duration
from contracts.patterns import compiled
from contracts.processes import BY_CODE
from contracts.record import Part
from contracts.serial_form import NO_READ, SerialForm
from documents.explain import UNKNOWN_NAME
from documents.issues import Issue
from drivers.base import Strict
from messaging.broker import BrokerAddress, parse_broker_url


def _known_process(code: str) -> str:
    if code not in BY_CODE:
        raise PydanticCustomError(UNKNOWN_NAME, "unknown process", {"known": list(BY_CODE)})
    return code


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("an absolute path is needed, one that begins with /")
    return path


def _broker_url(url: str) -> str:
    try:
        parse_broker_url(url)
    except ValueError as error:
        if "@" in url:
            raise ValueError(f"{error}; use the keys username and password_file") from error
        raise
    return url


def _api_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text repeats the URL
        is_address = False
    if "@" in url:
        raise ValueError("no user name or password in the URL: they end up in logs; use the keys username and password")
    if not is_address or parts.query or parts.fragment:
        raise ValueError("the API's address looks like https://mes.local:8443/api/v1")
    return url if parts.path.strip("/") else url.rstrip("/") + "/api/v1"


BrokerUrl = Annotated[str, AfterValidator(_broker_url)]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Text = Annotated[str, Field(min_length=1, max_length=100)]


class StationIdentity(Strict):
    """Who this station is. Together the names make the topic it writes to."""

    id: StationId
    """The station's name, no other station's of this site: at most 32 letters, digits, ``_`` and ``-``."""
    site: StationId
    """The factory, of the same form."""
    line: StationId
    """The line in it, of the same form."""
    process: Annotated[str, AfterValidator(_known_process)]
    """Which process of the route the station does, for example ``P03_SENSOR_INSPECTION``."""


class BrokerSettings(Strict):
    """Where the MQTT broker is, and who we are to it. With ``urls`` the next one is tried when one is lost."""

    url: BrokerUrl | None = None
    """``mqtt://host[:1883]`` or ``mqtts://host[:8883]``."""
    urls: Annotated[tuple[BrokerUrl, ...], Field(max_length=10)] = ()
    """Several brokers instead of ``url``, at most 10, the first one first: the next is tried when one is lost, cannot
    be reached, or central is not heard there for 30 s."""
    ca: AbsolutePath | None = None
    """File (PEM) of the authority that signs the brokers' certificates. None: the authorities this computer trusts."""
    cert: AbsolutePath | None = None
    """File (PEM) of the station's own certificate, with ``key``."""
    key: AbsolutePath | None = None
    """File (PEM) of its private key."""
    username: Text | None = None
    """Who the station is to a broker that asks for a name."""
    password_file: AbsolutePath | None = None
    """File that holds the password of ``username``, and nothing else."""
    password: Annotated[SecretStr, Field(min_length=1)] | None = None
    """The password, instead of the file: ``${NAME}`` of the environment; plain text only with ``dev: true``."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.url is None and not self.urls:
            raise ValueError("the broker's address is missing: url: mqtt://host:1883, or several as urls: [...]")
        if self.url is not None and self.urls:
            raise ValueError("urls: either url or urls; a single broker goes into url")
        if len({parse_broker_url(url) for url in self.urls}) < len(self.urls):
            raise ValueError("urls: the same broker twice")
        if (self.cert is None) != (self.key is None):
            raise ValueError(f"{'cert' if self.cert else 'key'}: cert and key go together")
        given = next((name for name in ("ca", "cert") if getattr(self, name) is not None), None)
        if given is not None and not all(url.startswith("mqtts:") for url in self._all):
            raise ValueError(f"{given}: certificates need an mqtts:// url; over mqtt:// they would not be used")
        for key in ("password_file", "password"):
            if getattr(self, key) is not None and self.username is None:
                raise ValueError(f"{key}: a password needs a username")
        if self.password_file is not None and self.password is not None:
            raise ValueError("password: give password_file or password, not both")
        return self

    def addresses(self, password: str | None = None) -> tuple[BrokerAddress, ...]:
        """The brokers as a session takes them, in order. ``password`` is what ``password_file`` holds."""
        return tuple(
            BrokerAddress(*parse_broker_url(url), self.ca, self.cert, self.key, self.username, password)
            for url in self._all
        )

    @property
    def _all(self) -> tuple[str, ...]:
        return (self.url,) if self.url is not None else self.urls


class CentralApi(Strict):
    """Central's REST API, and who we are to it."""

    url: Annotated[str, AfterValidator(_api_url)]
    """``https://host[:port]``; the path is ``/api/v1`` where none is written."""
    username: Text
    """The station's user at central (``neurohub-central user add``), of the role OPERATOR: its name is the station's
    ``id``."""
    password: Annotated[SecretStr, Field(min_length=1)]
    """Its password: ``"file:/path"`` or ``"${NAME}"`` of the environment; plain text only with ``dev: true``."""
    ca: AbsolutePath | None = None
    """File (PEM) of the authority that signs the API's certificate. None: the authorities this computer trusts."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.ca is not None and not self.url.startswith("https:"):
            raise ValueError("ca: certificates need an https:// url; over http:// they would not be used")
        return self


class StationInterlock(Strict):
    """How central is asked whether a unit may start, beside MQTT."""

    http: CentralApi | None = None
    """The second way, for when MQTT gives no answer. None: there is no second way."""


class OutboxSettings(Strict):
    """How much of the disk the station's results may take."""

    max_size: Annotated[Size, Field(ge=1_000_000)] = 2_000_000_000
    """The outbox grows to this at most; settled records go before their time then, results wait with their machines.
    A month of 3,000 results of 1 kB a day is about 150 MB."""
    reserve: Annotated[Size, Field(ge=100_000)] = 16_000_000
    """Held back on the disk (``outbox.db.reserve``): when it is full, what is delivered can still be noted. At most a
    quarter of ``max_size``."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if 4 * self.reserve > self.max_size:
            raise ValueError("reserve: at most a quarter of max_size")
        return self

    def limits(self) -> Limits:
        """As the outbox takes them."""
        return Limits(self.max_size, self.reserve)


class PartPatterns(Strict):
    """Serial numbers (the whole of them) that are no product: kept, and left out of route, LOT and yield."""

    golden_sample: Annotated[RegularExpression, Field(min_length=1)] | None = None
    """Reference parts, as a regular expression: ``GOLDEN-.*``."""
    dry_run: Annotated[RegularExpression, Field(min_length=1)] | None = None
    """Cycles that try the machine."""
    calibration: Annotated[RegularExpression, Field(min_length=1)] | None = None
    """Parts a machine is calibrated with."""

    def part(self, serial_number: str | None) -> Part:
        """What a serial number stands for."""
        patterns = {
            Part.GOLDEN_SAMPLE: self.golden_sample,
            Part.DRY_RUN: self.dry_run,
            Part.CALIBRATION: self.calibration,
        }
        for part, pattern in patterns.items():
            if serial_number is not None and pattern is not None and compiled(pattern).fullmatch(serial_number):
                return part
        return Part.PRODUCT


class SerialNumbers(Strict):
    """What the site's serial numbers look like. What does not is no number, and its record an ERROR."""

    pattern: Annotated[RegularExpression, Field(min_length=1, max_length=500)] | None = None
    """The whole of a product's number; parts that are no product have patterns of their own (``part_patterns``)."""
    no_read: tuple[Text, ...] = NO_READ
    """What code readers say when they read nothing; in place of the usual words. ``[]``: nothing is such a word."""

    def form(self, parts: PartPatterns, samples: Iterable[str] = ()) -> SerialForm:
        """As numbers are compared with it. ``samples`` are patterns of golden samples."""
        others = (parts.golden_sample, parts.dry_run, parts.calibration, *samples)
        return SerialForm(self.pattern, self.no_read, tuple(other for other in others if other is not None))


class StationKeys(Strict):
    """The keys of a station's file beside its machines and criteria."""

    station: StationIdentity
    broker: BrokerSettings
    state_dir: AbsolutePath | None = None
    """Folder for what the station keeps. None: ``/var/lib/neurohub/`` and the station's ``id``."""
    retention: Annotated[Duration, Field(gt=0)] = 30 * 86400.0
    """How long a record stays on the station after central has committed it."""
    resend_after: Annotated[Duration, Field(gt=0)] = 10.0
    """Without a word from central, what it lacks is sent again after this; then after twice as long, up to 5 min."""
    dev: bool = False
    """A station on somebody's desk: secrets may stand in the file. Never at a machine."""
    outbox: OutboxSettings = OutboxSettings()
    interlock: StationInterlock = StationInterlock()
    operator: Text | None = None
    """Who works at the station, for machines that do not say so (``unit.operator``)."""
    product_model: Text | None = None
    """What the station makes, for machines that do not say so (``unit.product_model``)."""
    part_patterns: PartPatterns = PartPatterns()
    serial_numbers: SerialNumbers = SerialNumbers()


class StationSettings(StationKeys):
    """A station, complete and checked.

    ``retention`` is how long settled rows stay in the outbox, ``resend_after`` how long the uplink waits without
    progress; both in seconds. ``warnings`` name what is allowed and likely to be regretted, each with its remedy.
    """

    state_dir: Path
    machines: Mapping[str, MachineSettings]
    criteria: Mapping[str, Criterion]
    warnings: tuple[InstanceOf[Issue], ...] = ()

    def part(self, serial_number: str | None) -> Part:
        """What a serial number stands for: a machine's golden sample, or what ``part_patterns`` says."""
        samples = (machine.golden for machine in self.machines.values() if machine.golden is not None)
        if any(golden.sample_of(serial_number) is not None for golden in samples):
            return Part.GOLDEN_SAMPLE
        return self.part_patterns.part(serial_number)

    def criteria_set(self) -> CriteriaSet:
        """The file's own criteria. Their revision names their content: the same criteria, the same revision."""
        written = {name: criterion.model_dump(exclude_defaults=True) for name, criterion in self.criteria.items()}
        content = {"process": self.station.process, "criteria": written}
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        revision = f"yaml-{sha256(canonical.encode()).hexdigest()[:12]}"
        return CriteriaSet(process=self.station.process, revision=revision, criteria=self.criteria)
