"""The secure channel: exactly the policy and mode the settings ask for, with a server that is trusted, or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.crypto.uacrypto import CertProperties, load_private_key
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from contracts.errors import SetupError
from drivers.opcua.certificates import (
    SOON,
    UntrustedError,
    application_uri,
    check_trusted,
    fingerprint,
    leaf,
    loaded,
)
from drivers.opcua.connect import Connect, Security, User

_POLICIES: dict[str, type[security_policies.SecurityPolicy]] = {
    "Basic256Sha256": security_policies.SecurityPolicyBasic256Sha256,
    "Aes128_Sha256_RsaOaep": security_policies.SecurityPolicyAes128Sha256RsaOaep,
    "Aes256_Sha256_RsaPss": security_policies.SecurityPolicyAes256Sha256RsaPss,
}
_MODES = {
    "Sign": ua.MessageSecurityMode.Sign,
    "SignAndEncrypt": ua.MessageSecurityMode.SignAndEncrypt,
}

log = structlog.get_logger()


class SecureClient(Client):
    """asyncua's client, which would send a password in plain text where the server asks for that."""

    async def activate_session(
        self, username: str | None = None, password: str | None = None, certificate: x509.Certificate | None = None
    ) -> ua.ActivateSessionResult:
        """As Client.activate_session. Raises SetupError where the password could be read on its way."""
        if username is not None and self.security_policy.Mode is not ua.MessageSecurityMode.SignAndEncrypt:
            policy = self.server_policy(ua.UserTokenType.UserName)
            if policy.SecurityPolicyUri in (None, "", security_policies.SecurityPolicyNone.URI):
                raise SetupError(
                    "the server wants the password in plain text over a channel that is not encrypted; "
                    "set connect.security.mode: SignAndEncrypt"
                )
        return await super().activate_session(username, password, certificate)


@dataclass(frozen=True)
class Presented:
    """What a server shows of itself: its certificate, and every endpoint it offers, in words."""

    certificate: x509.Certificate
    offers: Sequence[str]


async def presented(client: Client, security: Security) -> Presented:
    """Ask the server for its endpoints. Raises SetupError where the one wanted is not among them, and asyncua's."""
    try:
        endpoints = await client.connect_and_get_server_endpoints()
    except AssertionError as error:  # a channel that is refused with a fault, which asyncua trips over
        raise SetupError(
            "the server tells nobody what it offers, and so shows no certificate; "
            "switch its discovery on at the machine"
        ) from error
    offers = sorted({offer_in_words(endpoint) for endpoint in endpoints})
    wanted = _POLICIES[security.policy].URI
    for endpoint in endpoints:
        if endpoint.SecurityPolicyUri == wanted and endpoint.SecurityMode == _MODES[security.mode]:
            try:
                return Presented(leaf(endpoint.ServerCertificate), offers)
            except ValueError as error:
                raise SetupError(f"the server shows no usable certificate: {error}") from error
    raise SetupError(
        f"the server does not offer {security.policy} with {security.mode}; it offers {', '.join(offers)}; "
        "change connect.security, or the server's settings"
    )


def offer_in_words(endpoint: ua.EndpointDescription) -> str:
    """``Basic256Sha256 with Sign``; ``no security``."""
    if endpoint.SecurityMode == ua.MessageSecurityMode.None_:
        return "no security"
    policy = str(endpoint.SecurityPolicyUri).rpartition("#")[2]
    return f"{policy} with {ua.MessageSecurityMode(endpoint.SecurityMode).name.rstrip('_')}"


async def secure(client: Client, machine: str, connect: Connect) -> None:
    """Prepare the client: certificates, policy, user. Raises SetupError, and asyncua's errors of the way there."""
    security = connect.security
    if security is None:
        return
    shown = await presented(client, security)
    require_trust(shown.certificate, machine, connect.url, security, datetime.now(UTC))
    own = loaded(security.certificate, "the station's certificate")
    _warn_of_end(machine, "the station's certificate", own)
    client.application_uri = application_uri(own, security.certificate)
    password = None if security.key_password_file is None else secret_in(security.key_password_file)
    key, form = _private_key(security.key, "the station's key")
    try:
        await client.set_security(
            _POLICIES[security.policy],
            CertProperties(own.public_bytes(Encoding.DER), extension="der"),
            CertProperties(key, extension=form, password=password),
            server_certificate=CertProperties(shown.certificate.public_bytes(Encoding.DER), extension="der"),
            mode=_MODES[security.mode],
        )
    except (ValueError, TypeError) as error:
        raise SetupError(f"the station's key {security.key} cannot be used: {error}") from error
    if connect.user is not None:
        await _become(client, connect.user)


def require_trust(certificate: x509.Certificate, machine: str, url: str, security: Security, now: datetime) -> None:
    """Raises SetupError, with what to compare and how to trust, for a certificate that is not trusted."""
    try:
        check_trusted(certificate, security.trusted, str(urlsplit(url).hostname), now)
    except UntrustedError as error:
        raise SetupError(
            f"the server's certificate ({certificate.subject.rfc4514_string()}) {error}; its SHA-256 fingerprint is "
            f"{fingerprint(certificate)}; compare it with what the machine shows, then trust it with "
            f"neurohub-agent trust FILE {machine}, or by copying it into {security.trusted}"
        ) from error
    _warn_of_end(machine, "the server's certificate", certificate)


def secret_in(path: Path) -> str:
    """The password a file holds. Raises SetupError, without showing it."""
    try:
        return path.read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise SetupError(f"password file {path} cannot be read: {reason}") from None


async def _become(client: Client, user: User) -> None:
    if user.name is not None and user.password_file is not None:
        client.set_user(user.name)
        client.set_password(secret_in(user.password_file))
    elif user.certificate is not None and user.key is not None:
        client.user_certificate = loaded(user.certificate, "the user's certificate")
        key, form = _private_key(user.key, "the user's key")
        try:
            client.user_private_key = await load_private_key(key, None, form)
        except (ValueError, TypeError) as error:
            raise SetupError(f"the user's key {user.key} cannot be used: {error}") from error


def _private_key(path: Path, what: str) -> tuple[bytes, str]:
    """The file's content, and its form."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SetupError(f"{what} {path} cannot be read: {error.strerror}") from error
    return content, "pem" if content.lstrip().startswith(b"-----") else "der"


def _warn_of_end(machine: str, what: str, certificate: x509.Certificate) -> None:
    left = certificate.not_valid_after_utc - datetime.now(UTC)
    if left < SOON:
        log.warning("certificate ends soon", machine=machine, which=what, days=max(left.days, 0))
