"""Settings of the link to a server: where it is, and how both sides prove who they are. No client library here."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from contracts.duration import Duration
from drivers.base import NeededFile, Strict
from drivers.manuals import POLICY, called

_ENDPOINT = re.compile(r"opc\.tcp://[^\s/:@]+(:[0-9]{1,5})?(/\S*)?")


class Security(Strict):
    """A secure channel. There is no way back to an insecure one: a server that does not offer this is refused."""

    policy: Annotated[
        Literal["Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"],
        called(POLICY),
    ]
    """Security policy, by its name in OPC 10000-7. The server has to offer it."""
    mode: Literal["Sign", "SignAndEncrypt"] = "SignAndEncrypt"
    """``Sign``: nobody can change what is sent; ``SignAndEncrypt``: nobody can read it either."""
    certificate: Path
    """The station's certificate (DER or PEM). ``neurohub-agent trust`` makes it where there is none."""
    key: Path
    """The private key of ``certificate`` (PEM), readable to the agent alone."""
    key_password_file: Path | None = None
    """File that holds the password of ``key``, where it has one."""
    trusted: Path
    """Folder of the servers' certificates (or their issuers', with *.crl) that are trusted; see ``trust``."""


class User(Strict):
    """Who the station is to the server: a name with a password, or a certificate."""

    name: Annotated[str, Field(min_length=1)] | None = None
    """User name."""
    password_file: Path | None = None
    """File that holds the user's password, and nothing else."""
    certificate: Path | None = None
    """The user's certificate, instead of a name."""
    key: Path | None = None
    """The private key of the user's certificate."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = {key for key in ("name", "password_file", "certificate", "key") if getattr(self, key) is not None}
        if given not in ({"name", "password_file"}, {"certificate", "key"}):
            raise ValueError("give name and password_file, or certificate and key")
        return self


def _endpoint(url: str) -> str:
    if not _ENDPOINT.fullmatch(url):
        raise ValueError("the server's endpoint is needed, for example opc.tcp://10.0.0.5:4840")
    return url


class Connect(Strict):
    """The server's endpoint, and how it is reached."""

    url: Annotated[str, AfterValidator(_endpoint)]
    """``opc.tcp://host:port/path`` of the server's endpoint."""
    timeout: Annotated[Duration, Field(gt=0)] = 4.0
    """Longest wait for the connection or for one answer."""
    silence: Annotated[Duration, Field(ge=0.5)] = 10.0
    """How long the server may say nothing (no keep-alive of the subscription, no answer, a trigger with a bad status)
    before the link is opened anew."""
    security: Security | None = None
    """None: anonymous or not, everybody on the network can read and change what is sent."""
    user: User | None = None
    """None: anonymous."""

    @model_validator(mode="after")
    def _user_is_safe(self) -> Self:
        if self.user is not None and self.security is None:
            raise ValueError("user: is not shown over an insecure link; add security")
        return self

    def needed_files(self) -> Mapping[str, NeededFile]:
        """See ProtocolSettings.needed_files."""
        found: dict[str, NeededFile] = {}
        for place, holder in (("security", self.security), ("user", self.user)):
            for key in ("certificate", "key", "key_password_file", "password_file", "trusted"):
                path = getattr(holder, key, None)
                made = place == "security" and key in ("certificate", "key", "trusted")
                remedy = "neurohub-agent trust makes it" if made else "put it there, or correct the name"
                if path is not None:
                    found[f"connect.{place}.{key}"] = NeededFile(path, remedy)
        return found
