"""The plant's mosquitto configuration, run as it stands with certificates of our own: who gets in, who may do what."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contracts.errors import LinkError, SetupError
from contracts.topics import StationTopics
from messaging.broker import BrokerAddress
from messaging.session import Session
from tests.support.brokers import HOST, RunningBroker, free_port, mosquitto_program
from tests.support.processes import ROOT

CONFIG = ROOT / "config" / "broker"
OWN = StationTopics("gimcheon", "KR01", "P03-A")
OTHER = StationTopics("gimcheon", "KR01", "P03-B")


class Authority:
    """A certificate authority of the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(self._signed(self._name, self._key, is_ca=True))

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for this common name, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, secret = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        certificate.write_bytes(self._signed(subject, key, is_ca=False))
        secret.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, secret

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class Plant:
    """The plant's broker, and the ways to it."""

    def __init__(self, broker: RunningBroker, authority: Authority) -> None:
        self.broker = broker
        self.authority = authority

    @asynccontextmanager
    async def client(self, name: str, *subscriptions: str) -> AsyncIterator[Session]:
        certificate, key = self.authority.issue(name)
        address = BrokerAddress(HOST, self.broker.port, tls=True, ca=self.authority.ca, cert=certificate, key=key)
        session = Session(address, client_id=name)
        try:
            await session.open(subscriptions)
            yield session
        finally:
            await session.close()


@pytest.fixture
async def plant(tmp_path: Path) -> AsyncIterator[Plant]:
    """mosquitto.conf as a plant installs it: only the folder of its files and the port are others."""
    authority = Authority(tmp_path)
    authority.issue("broker")
    (tmp_path / "neurohub.acl").write_text((CONFIG / "neurohub.acl").read_text())
    port = free_port()
    text = (CONFIG / "mosquitto.conf").read_text().replace("/etc/mosquitto/neurohub", str(tmp_path))
    text, replaced = re.subn(r"^listener 8883$", f"listener {port} {HOST}", text, flags=re.MULTILINE)
    assert replaced == 1
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"{text}\nuser root\npersistence_location {tmp_path}/\n")
    broker = RunningBroker(port, [mosquitto_program(), "-c", config], wipe=lambda: None)
    await broker.start()
    yield Plant(broker, authority)
    await broker.kill()


async def accepted(session: Session, topic: str) -> bool:
    """Whether the broker takes a message to this topic."""
    acknowledged = await session.publish(topic, b"x")
    try:
        async with asyncio.timeout(10):
            await acknowledged
    except LinkError:
        return False
    return True


async def test_a_station_writes_beneath_its_own_name_only(plant: Plant) -> None:
    async with plant.client(OWN.station) as station:
        assert [await accepted(station, topic) for topic in (OWN.records, OWN.state)] == [True, True]
        assert [await accepted(station, topic) for topic in (OTHER.records, OTHER.state)] == [False, False]


async def test_a_station_cannot_settle_results_in_centrals_name(plant: Plant) -> None:
    async with plant.client(OWN.station) as station:
        assert not await accepted(station, OWN.commits)
        assert not await accepted(station, "f2x/v1/criteria/P03_SENSOR_INSPECTION")
        assert not await accepted(station, "f2x/v1/audit/any")


async def test_a_station_reads_its_own_commits_and_nobody_elses(plant: Plant) -> None:
    async with (
        plant.client(OWN.station, "f2x/v1/#") as station,
        plant.client(OTHER.station) as other,
        plant.client("central") as central,
        asyncio.timeout(10),
    ):
        assert await accepted(other, OTHER.records)
        assert [await accepted(central, topic) for topic in (OTHER.commits, OWN.commits)] == [True, True]
        assert (await station.next_message()).topic == OWN.commits


async def test_central_reads_every_station(plant: Plant) -> None:
    async with plant.client("central", "f2x/v1/+/+/+/records", "f2x/v1/+/+/+/state") as central:
        for topics in (OWN, OTHER):
            async with plant.client(topics.station) as station:
                assert await accepted(station, topics.records)
        async with asyncio.timeout(10):
            assert [(await central.next_message()).topic for _ in range(2)] == [OWN.records, OTHER.records]


async def test_nobody_enters_without_a_certificate_of_the_plant(plant: Plant, tmp_path: Path) -> None:
    without = Session(BrokerAddress(HOST, plant.broker.port, tls=True, ca=plant.authority.ca), client_id="x")
    with pytest.raises(LinkError):
        await without.open()
    await without.close()
    (tmp_path / "stranger").mkdir()
    certificate, key = Authority(tmp_path / "stranger").issue(OWN.station)
    forged = BrokerAddress(HOST, plant.broker.port, tls=True, ca=plant.authority.ca, cert=certificate, key=key)
    stranger = Session(forged, client_id="y")
    with pytest.raises(LinkError):
        await stranger.open()
    await stranger.close()


# paho closes the socket of a failed handshake only when Python collects it.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
async def test_a_broker_that_is_not_the_plants_is_refused(plant: Plant, tmp_path: Path) -> None:
    (tmp_path / "stranger").mkdir()
    certificate, key = plant.authority.issue(OWN.station)
    ca = Authority(tmp_path / "stranger").ca
    session = Session(BrokerAddress(HOST, plant.broker.port, True, ca, certificate, key), client_id="z")
    with pytest.raises((LinkError, SetupError)):
        await session.open()
    await session.close()
