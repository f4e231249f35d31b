"""Certificates: the station's own, and which of the servers' are trusted. Nothing is ever trusted by itself."""

import ipaddress
import os
import socket
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key, generate_self_signed_app_certificate
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contracts.errors import SetupError
from drivers.base import Certificate
from drivers.opcua.connect import Security

VALID_DAYS = 5 * 365
SOON = timedelta(days=30)
_CERTIFICATES = ("*.der", "*.pem", "*.crt", "*.cer")


class UntrustedError(Exception):
    """Why a certificate is not trusted, in words."""


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 over the DER form, as ``openssl x509 -fingerprint -sha256`` shows it."""
    return certificate.fingerprint(SHA256()).hex(":").upper()


def thumbprint(certificate: x509.Certificate) -> str:
    """SHA-1 over the DER form: what OPC-UA servers and their tools show (OPC 10000-6, 6.2.2)."""
    return certificate.fingerprint(SHA1()).hex().upper()  # noqa: S303  # a name, not a proof


def leaf(chain: bytes | None) -> x509.Certificate:
    """The first certificate of a chain in DER. Raises ValueError where there is none."""
    if not chain or len(chain) < 4:
        raise ValueError("no certificate")
    # An ASN.1 SEQUENCE with a length of two bytes; the issuers' certificates follow it (OPC 10000-6, 6.2.6).
    return x509.load_der_x509_certificate(chain[: int.from_bytes(chain[2:4], "big") + 4])


def loaded(path: Path, what: str) -> x509.Certificate:
    """A certificate's file, DER or PEM. Raises SetupError."""
    try:
        return _parsed(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SetupError(f"{what} {path} cannot be read: {error}") from error


def check_trusted(certificate: x509.Certificate, folder: Path, host: str, now: datetime) -> None:
    """Raises UntrustedError unless the certificate, or its issuer, is in the folder, valid now and not revoked.

    One that was trusted itself is trusted for its key; one that an issuer vouches for has to name the host.
    """
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise UntrustedError(
            f"is valid from {certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}, "
            f"and the station's clock says {now:%Y-%m-%d}; renew it at the machine, or set the clock"
        )
    known = list(_in_folder(folder))
    if certificate in known:
        return
    issuer = next((one for one in known if _vouches_for(one, certificate, now)), None)
    if issuer is None:
        raise UntrustedError("is new to this station")
    if _revoked(certificate, issuer, folder):
        raise UntrustedError("was revoked by its issuer")
    if host.lower() not in _hosts(certificate):
        raise UntrustedError(f"is not made out to {host} but to {', '.join(_hosts(certificate)) or 'no host'}")


def trust(der: bytes, folder: Path) -> Path:
    """Put a certificate into the folder. Its file. Raises SetupError."""
    certificate = x509.load_der_x509_certificate(der)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = "".join(char if char.isalnum() else "-" for char in str(names[0].value))[:60] if names else "server"
    path = folder / f"{name}-{thumbprint(certificate)}.der"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(der)
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}") from error
    return path


def described(certificate: x509.Certificate) -> Certificate:
    """A certificate as a person compares it."""
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
        fingerprint=fingerprint(certificate),
        thumbprint=thumbprint(certificate),
        der=certificate.public_bytes(Encoding.DER),
    )


def application_uri(certificate: x509.Certificate, path: Path) -> str:
    """What an application is called in its certificate (OPC 10000-6, 6.2.2). Raises SetupError where it is not."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return names.get_values_for_type(x509.UniformResourceIdentifier)[0]
    except (x509.ExtensionNotFound, IndexError):
        raise SetupError(
            f"{path} is no OPC-UA certificate: it names no application URI (a URI in subjectAltName); "
            "make one with neurohub-agent trust"
        ) from None


def make_own(security: Security, machine: str) -> x509.Certificate:
    """A key and a self-signed certificate where the settings say they are. Raises SetupError, also where one exists."""
    for path in (security.key, security.certificate):
        if path.exists():
            raise SetupError(f"{path} exists already; nothing was made")
    host = socket.gethostname()
    uri = f"urn:{host}:neurohub:edge"
    key = generate_private_key()
    certificate = generate_self_signed_app_certificate(
        key,
        f"NeuroHub Edge {machine}",
        {"organizationName": "NeuroHub"},
        [x509.UniformResourceIdentifier(uri), x509.DNSName(host)],
        [ExtendedKeyUsageOID.CLIENT_AUTH],
        VALID_DAYS,
    )
    try:
        for path in (security.key, security.certificate):
            path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(security.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(dump_private_key_as_pem(key))
        security.certificate.write_bytes(certificate.public_bytes(Encoding.DER))
    except OSError as error:
        raise SetupError(f"the station's certificate cannot be written: {error}") from error
    return certificate


def _parsed(content: bytes) -> x509.Certificate:
    is_pem = content.lstrip().startswith(b"-----")
    return x509.load_pem_x509_certificate(content) if is_pem else x509.load_der_x509_certificate(content)


def _in_folder(folder: Path) -> Iterator[x509.Certificate]:
    for pattern in _CERTIFICATES:
        for path in sorted(folder.glob(pattern)):
            yield loaded(path, "trusted certificate")


def _vouches_for(issuer: x509.Certificate, certificate: x509.Certificate, now: datetime) -> bool:
    try:
        is_ca = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        certificate.verify_directly_issued_by(issuer)
    except (x509.ExtensionNotFound, ValueError, TypeError, InvalidSignature):
        return False
    return is_ca and issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc


def _revoked(certificate: x509.Certificate, issuer: x509.Certificate, folder: Path) -> bool:
    for path in sorted(folder.glob("*.crl")):
        content = path.read_bytes()
        is_pem = content.lstrip().startswith(b"-----")
        revoked = x509.load_pem_x509_crl(content) if is_pem else x509.load_der_x509_crl(content)
        if revoked.issuer != issuer.subject or not revoked.is_signature_valid(issuer.public_key()):  # type: ignore[arg-type]  # an RSA key: policies know no other
            continue
        if revoked.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            return True
    return False


def _hosts(certificate: x509.Certificate) -> Sequence[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = [
        address
        for address in names.get_values_for_type(x509.IPAddress)
        if isinstance(address, ipaddress.IPv4Address | ipaddress.IPv6Address)
    ]
    return [*(name.lower() for name in names.get_values_for_type(x509.DNSName)), *map(str, addresses)]
