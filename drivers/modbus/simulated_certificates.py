"""Certificates for a simulated device behind TLS, and for the station that speaks with it. Good for a day."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class CertificateFiles:
    """PEM files: the authority's certificate, the station's and the device's, with their keys."""

    ca: Path
    cert: Path
    key: Path
    device_cert: Path
    device_key: Path


def make_certificates(folder: Path) -> CertificateFiles:
    """An authority of its own, which signs a certificate for each side. Raises OSError."""
    files = CertificateFiles(*(folder / name for name in ("ca.crt", "cert.pem", "key.pem", "device.crt", "device.pem")))
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _signed("authority", authority_key, None, authority_key)
    files.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name, cert, key in (("station", files.cert, files.key), ("device", files.device_cert, files.device_key)):
        own_key = ec.generate_private_key(ec.SECP256R1())
        cert.write_bytes(_signed(name, own_key, authority, authority_key).public_bytes(serialization.Encoding.PEM))
        key.touch(mode=0o600)
        key.write_bytes(
            own_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return files


def server_context(files: CertificateFiles) -> ssl.SSLContext:
    """What a device demands: a certificate of the station (Modbus/TCP Security, 8)."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=files.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files.device_cert, files.device_key)
    return context


def _signed(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate | None,
    authority_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"simulated {name}")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if authority is None else authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
    )
    return builder.sign(authority_key, hashes.SHA256())
