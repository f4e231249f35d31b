"""The broker's address in settings: what is meant is understood, what cannot be meant is refused with a remedy."""

from pathlib import Path

import pytest

from contracts.errors import SetupError
from messaging.broker import BrokerAddress, parse_broker_url


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("mqtt://broker", ("broker", 1883, False)),
        ("mqtt://broker:1884", ("broker", 1884, False)),
        ("mqtts://mes.factory.local/", ("mes.factory.local", 8883, True)),
        ("mqtts://10.0.0.7:443", ("10.0.0.7", 443, True)),
        ("mqtt://[::1]:1883", ("::1", 1883, False)),
    ],
)
def test_host_port_and_tls(url: str, found: tuple[str, int, bool]) -> None:
    assert parse_broker_url(url) == found


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "starts with"),
        ("broker:1883", "starts with"),
        ("tcp://broker", "starts with"),
        ("http://broker", "starts with"),
        ("mqtt://", "names a host"),
        ("mqtt://:1883", "names a host"),
        ("mqtt://broker:0", "1 to 65535"),
        ("mqtt://broker:65536", "1 to 65535"),
        ("mqtt://broker:port", "1 to 65535"),
        ("mqtt://broker/topic", "ends after the port"),
        ("mqtt://broker?tls=1", "ends after the port"),
        ("mqtt://kim:secret@broker", "no user name or password"),
        ("mqtt://kim@broker", "no user name or password"),
    ],
)
def test_any_other_url_is_refused_and_no_password_repeated(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as refused:
        parse_broker_url(url)
    assert "secret" not in str(refused.value)


def test_without_tls_there_is_nothing_to_set() -> None:
    assert BrokerAddress("broker", 1883).ssl_context() is None


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, content: bytes | None) -> None:
    ca = tmp_path / "ca.crt"
    if content is not None:
        ca.write_bytes(content)
    with pytest.raises(SetupError, match=r"broker mqtts://broker:8883: CA file .*ca\.crt cannot be used"):
        BrokerAddress("broker", 8883, tls=True, ca=ca).ssl_context()


def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"certificate .*p03\.crt or key .*p03\.key"):
        BrokerAddress("b", 8883, tls=True, cert=tmp_path / "p03.crt", key=tmp_path / "p03.key").ssl_context()


def test_a_password_shows_nowhere() -> None:
    address = BrokerAddress("broker", 8883, tls=True, username="kim", password="secret")
    assert "secret" not in f"{address} {address!r}"
