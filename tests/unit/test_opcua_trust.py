"""Who is trusted, and how that comes about: nobody by itself, never in plain text, never another way than was asked."""

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asyncua import Server
from asyncua.crypto.cert_gen import generate_private_key
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.settings import load
from agent.trust import trust_machine
from contracts.errors import SetupError
from drivers.opcua.certificates import (
    UntrustedError,
    application_uri,
    check_trusted,
    fingerprint,
    loaded,
    make_own,
    thumbprint,
    trust,
)
from drivers.opcua.connect import Security
from tests.support.opcua import changed, opened, simulated, take, values

NOW = datetime(2026, 11, 25, tzinfo=UTC)
DAY = timedelta(days=1)
SECURE: dict[str, Any] = {
    "connect": {
        "url": "opc.tcp://127.0.0.1/",
        "security": {"policy": "Aes256_Sha256_RsaPss", "certificate": "c", "key": "k", "trusted": "t"},
        "user": {"name": "operator", "password_file": "p"},
    },
    "trigger": {"point": "n", "sampling": "10ms"},
    "points": {"n": {"node_id": "ns=2;s=n", "type": "uint32"}},
}


class Maker:
    """A plant's own certificate authority."""

    def __init__(self) -> None:
        self.key = generate_private_key()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Plant CA")])
        self.certificate = self._built(self.name, self.key, [x509.BasicConstraints(ca=True, path_length=0)])

    def _built(
        self,
        subject: x509.Name,
        key: RSAPrivateKey,
        extensions: list[x509.ExtensionType],
        valid: tuple[datetime, datetime] = (NOW - DAY, NOW + DAY),
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(valid[0]).not_valid_after(valid[1])
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, host: str, valid: tuple[datetime, datetime] = (NOW - DAY, NOW + DAY)) -> x509.Certificate:
        names = x509.SubjectAlternativeName([x509.DNSName(host), x509.UniformResourceIdentifier(f"urn:{host}")])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        return self._built(subject, generate_private_key(), [names], valid)

    def revoke(self, certificate: x509.Certificate) -> bytes:
        revoked = x509.RevokedCertificateBuilder().serial_number(certificate.serial_number).revocation_date(NOW).build()
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(NOW).next_update(NOW + DAY).add_revoked_certificate(revoked)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def plant() -> Maker:
    return Maker()


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def is_there(path: Path) -> bool:
    return path.exists()


# -- the trust list ---------------------------------------------------------------------------------------------------


def test_a_new_certificate_is_not_trusted_and_a_trusted_one_is(plant: Maker, tmp_path: Path) -> None:
    one = plant.issue("marker-1.line")
    folder = tmp_path / "trusted"
    with pytest.raises(UntrustedError, match="new to this station"):
        check_trusted(one, folder, "marker-1.line", NOW)
    path = trust(der(one), folder)
    assert path.name == f"marker-1-line-{thumbprint(one)}.der"
    check_trusted(one, folder, "another.host", NOW)  # it is trusted for its key, wherever it is
    with pytest.raises(UntrustedError, match="new to this station"):
        check_trusted(plant.issue("marker-1.line"), folder, "marker-1.line", NOW)


@pytest.mark.parametrize("valid", [(NOW - 2 * DAY, NOW - DAY), (NOW + DAY, NOW + 2 * DAY)], ids=["over", "not yet"])
def test_a_certificate_is_valid_in_its_time_alone(
    plant: Maker, tmp_path: Path, valid: tuple[datetime, datetime]
) -> None:
    one = plant.issue("marker-1.line", valid)
    trust(der(one), tmp_path)
    with pytest.raises(UntrustedError, match="the station's clock says 2026-11-25; renew it at the machine, or set"):
        check_trusted(one, tmp_path, "marker-1.line", NOW)


def test_an_issuer_vouches_for_its_hosts_until_it_revokes(plant: Maker, tmp_path: Path) -> None:
    one, other = plant.issue("marker-1.line"), plant.issue("marker-2.line")
    trust(der(plant.certificate), tmp_path)
    check_trusted(one, tmp_path, "marker-1.line", NOW)
    with pytest.raises(UntrustedError, match=r"not made out to marker-2\.line but to marker-1\.line"):
        check_trusted(one, tmp_path, "marker-2.line", NOW)
    (tmp_path / "plant.crl").write_bytes(plant.revoke(one))
    with pytest.raises(UntrustedError, match="revoked by its issuer"):
        check_trusted(one, tmp_path, "marker-1.line", NOW)
    check_trusted(other, tmp_path, "marker-2.line", NOW)
    with pytest.raises(UntrustedError, match="new to this station"):
        check_trusted(Maker().issue("marker-1.line"), tmp_path, "marker-1.line", NOW)


def test_a_machine_vouches_for_nobody_else(plant: Maker, tmp_path: Path) -> None:
    """A server's own certificate in the list is no authority."""
    pretender = Maker()
    leaf = plant.issue("marker-1.line")
    trust(der(leaf), tmp_path)
    with pytest.raises(UntrustedError, match="new to this station"):
        check_trusted(pretender.issue("marker-1.line"), tmp_path, "marker-1.line", NOW)


def test_the_stations_own_certificate_is_made_once_and_its_key_is_nobody_elses(tmp_path: Path) -> None:
    security = Security.model_construct(certificate=tmp_path / "pki" / "own.der", key=tmp_path / "pki" / "own.pem")
    made = make_own(security, "marker")
    assert (security.key.stat().st_mode & 0o777, loaded(security.certificate, "own")) == (0o600, made)
    assert re.fullmatch(r"urn:.+:neurohub:edge", application_uri(made, security.certificate))
    with pytest.raises(SetupError, match="exists already; nothing was made"):
        make_own(security, "marker")


def test_a_certificate_of_the_web_is_none_of_opc_ua(plant: Maker, tmp_path: Path) -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("h")])
    with pytest.raises(SetupError, match="names no application URI"):
        application_uri(plant._built(plant.name, plant.key, [names]), tmp_path / "own.der")


@pytest.mark.parametrize("content", [b"", b"no certificate", None])
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "own.der"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SetupError, match=re.escape(f"the station's certificate {path} cannot be read")):
        loaded(path, "the station's certificate")


# -- against a server -------------------------------------------------------------------------------------------------


async def test_only_the_right_user_is_let_in_to_a_trusted_server_over_what_was_asked_for(tmp_path: Path) -> None:
    wrong_password = tmp_path / "wrong"
    wrong_password.write_text("wrong")
    empty = tmp_path / "empty"
    refused: list[tuple[Mapping[str, Any], str]] = [
        ({"connect.user.password_file": str(wrong_password)}, "the server refuses operator (Bad"),
        ({"connect.user.password_file": str(tmp_path / "no")}, "cannot be read: No such file or directory"),
        ({"connect.user": None}, "the server lets nobody in without a name (Bad"),
        (
            {"connect.security.policy": "Basic256Sha256"},
            "does not offer Basic256Sha256 with SignAndEncrypt; it offers Aes256_Sha256_RsaPss with SignAndEncrypt",
        ),
        ({"connect.security.mode": "Sign"}, "does not offer Aes256_Sha256_RsaPss with Sign;"),
        ({"connect.security": None, "connect.user": None}, "the server does not allow an insecure link"),
        ({"connect.security.trusted": str(empty)}, "is new to this station; its SHA-256 fingerprint is "),
        ({"connect.security.trusted": str(empty)}, "trust it with neurohub-agent trust FILE marker, or by copying it"),
        ({"connect.security.key": str(wrong_password)}, "cannot be used"),
    ]
    async with simulated(SECURE) as (simulator, keys):
        for change, says in refused:
            with pytest.raises(SetupError, match=re.escape(says)) as told:
                async with opened(changed(keys, change)):
                    pass
            assert "wrong" not in str(told.value).replace(str(wrong_password), "")
        async with opened(keys) as driver:
            await simulator.present({"n": 1})
            assert values((await take(driver))[1]) == {"n": 1}


async def test_a_password_is_not_sent_where_it_could_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that signs only, and asks for the password in plain text."""
    keys = changed(SECURE, {"connect.security.mode": "Sign"})
    plain = "http://opcfoundation.org/UA/SecurityPolicy#None"
    set_endpoints = Server._set_endpoints

    def careless(server: Server, *args: Any) -> None:
        set_endpoints(server, *args)
        for endpoint in server.iserver.endpoints:
            for policy in endpoint.UserIdentityTokens:
                policy.SecurityPolicyUri = plain

    async with simulated(keys) as (_, encrypted), opened(encrypted):
        pass  # signed, with the password encrypted by itself
    monkeypatch.setattr(Server, "_set_endpoints", careless)
    async with simulated(keys) as (_, here):
        with pytest.raises(SetupError, match="wants the password in plain text over a channel that is not encrypted"):
            async with opened(here):
                pass


async def test_the_user_may_be_a_certificate(tmp_path: Path) -> None:
    keys = changed(SECURE, {"connect.user": {"certificate": "c", "key": "k"}})
    async with simulated(keys) as (simulator, here), opened(here) as driver:
        await simulator.present({"n": 1})
        assert values((await take(driver))[1]) == {"n": 1}


# -- the command ------------------------------------------------------------------------------------------------------

STATION = """
station: {{id: P01-X, site: gimcheon, line: KR01, process: P01_LASER_MARKING}}
broker: {{url: "mqtt://127.0.0.1:1883"}}
machines:
  marker:
    protocol: opcua
    connect:
      url: "{url}"
      security:
        policy: Aes256_Sha256_RsaPss
        certificate: {folder}/own.der
        key: {folder}/own.pem
        trusted: {folder}/trusted
      user: {{name: operator, password_file: "{password}"}}
    trigger: {{point: n}}
    points:
      n: {{node_id: "ns=2;s=n", type: uint32}}
      serial_number: {{node_id: "ns=2;s=serial"}}
    cycle_key: n
  printer:
    protocol: label
    connect: {{transport: tcp, host: 127.0.0.1}}
    template: "^XA^FD{{serial_number}}^FS^XZ"
    points: {{printed: {{status: printed}}}}
    records: false
"""


async def test_trust_makes_what_is_missing_shows_the_machine_and_asks(tmp_path: Path) -> None:
    """And the link is opened afterwards, with nothing else to be done."""
    async with simulated(SECURE) as (_, keys):
        file = tmp_path / "P01-X.yaml"
        connect = keys["connect"]
        text = STATION.format(url=connect["url"], folder=tmp_path, password=connect["user"]["password_file"])
        file.write_text(text.replace("  printer:", "    companions: [{machine: printer}]\n  printer:"))
        station = load(file)
        shown = loaded(only_file(Path(connect["security"]["trusted"])), "the server's")
        said: list[str] = []
        asked: list[str] = []

        def answer(agreed: bool) -> Any:
            def ask(question: str) -> bool:
                asked.append(question)
                return agreed

            return ask

        assert not await trust_machine(station, "marker", None, said.append, answer(False))
        assert said[0].startswith("The station had no certificate yet")
        assert fingerprint(shown) in said[3]
        assert thumbprint(shown) in said[3]
        assert said[-2:] == ["It is new to this station.", "Not trusted."]
        with pytest.raises(SetupError, match="this is not the certificate with fingerprint AB:CD; not trusted"):
            await trust_machine(station, "marker", "AB:CD", said.append, answer(True))
        assert not is_there(tmp_path / "trusted")
        assert await trust_machine(station, "marker", fingerprint(shown).lower(), said.append, answer(False))
        assert len(asked) == 1
        assert await trust_machine(station, "marker", None, said.append, answer(False))
        assert said[-1] == "It is trusted already."
        with pytest.raises(SetupError, match="protocol label knows no certificates"):
            await trust_machine(station, "printer", None, said.append, answer(True))
        with pytest.raises(SetupError, match="no machine scanner; it has marker, printer"):
            await trust_machine(station, "scanner", None, said.append, answer(True))
        here = changed(
            keys,
            {
                "connect.security.certificate": str(tmp_path / "own.der"),
                "connect.security.key": str(tmp_path / "own.pem"),
                "connect.security.trusted": str(tmp_path / "trusted"),
            },
        )
        async with opened(here) as driver:
            await asyncio.wait_for(driver.next_event(), 10)
