"""Who a simulated server is, and whom it lets in: what the settings ask for, with certificates made on the spot."""

from collections.abc import Mapping
from pathlib import Path
from secrets import compare_digest, token_urlsafe
from typing import Any

from asyncua import Server, ua
from asyncua.crypto.cert_gen import dump_private_key_as_pem, generate_private_key, generate_self_signed_app_certificate
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.user_managers import UserManager
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from drivers.opcua.certificates import make_own, trust
from drivers.opcua.connect import Connect, Security

_URI = "urn:neurohub:simulated"
_POLICIES = {
    ("Basic256Sha256", "Sign"): ua.SecurityPolicyType.Basic256Sha256_Sign,
    ("Basic256Sha256", "SignAndEncrypt"): ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ("Aes128_Sha256_RsaOaep", "Sign"): ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
    ("Aes128_Sha256_RsaOaep", "SignAndEncrypt"): ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ("Aes256_Sha256_RsaPss", "Sign"): ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
    ("Aes256_Sha256_RsaPss", "SignAndEncrypt"): ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
}


class SimulatedIdentity(UserManager):
    """asyncua's user manager too. ``settings`` are the files a station is let in with."""

    def __init__(self, folder: Path, connect: Connect) -> None:
        self._folder = folder
        self._connect = connect
        self._password = token_urlsafe(12)
        self.settings: Mapping[str, str | int] = {}

    async def show(self, server: Server) -> None:
        """Give the server its certificate, its one endpoint, and its users."""
        security = self._connect.security
        if security is None:
            server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
            return
        key = generate_private_key()
        certificate = generate_self_signed_app_certificate(
            key,
            "simulated machine",
            {},
            [x509.UniformResourceIdentifier(_URI), x509.DNSName("localhost")],
            [ExtendedKeyUsageOID.SERVER_AUTH],
        )
        await server.set_application_uri(_URI)
        der = certificate.public_bytes(Encoding.DER)
        await server.load_certificate(der, "der")
        await server.load_private_key(dump_private_key_as_pem(key), None, "pem")
        server.set_security_policy([_POLICIES[security.policy, security.mode]])
        trust(der, self._folder / "trusted")
        self.settings = self._station(security)
        if self._connect.user is not None:
            server.set_identity_tokens([ua.UserNameIdentityToken, ua.X509IdentityToken])

    def _station(self, security: Security) -> dict[str, str | int]:
        """The station's own files: its certificate, the servers it trusts, and its password."""
        own = security.model_copy(
            update={"certificate": self._folder / "station.der", "key": self._folder / "station.pem"}
        )
        make_own(own, "simulated station")
        found: dict[str, str | int] = {
            "connect.security.certificate": str(own.certificate),
            "connect.security.key": str(own.key),
            "connect.security.trusted": str(self._folder / "trusted"),
        }
        user = self._connect.user
        if user is not None and user.name is not None:
            password_file = self._folder / "password"
            password_file.write_text(self._password, encoding="utf-8")
            found["connect.user.password_file"] = str(password_file)
        elif user is not None:
            found["connect.user.certificate"] = str(own.certificate)
            found["connect.user.key"] = str(own.key)
        return found

    def get_user(
        self, _server: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> User | None:
        """asyncua asks whether somebody may come in."""
        wanted = self._connect.user
        if wanted is None:
            return User(role=UserRole.User)
        if wanted.name is not None:
            is_known = username == wanted.name and compare_digest(password or "", self._password)
        else:
            is_known = certificate is not None
        return User(role=UserRole.User) if is_known else None
