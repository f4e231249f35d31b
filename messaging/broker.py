"""Where the broker is and who we are to it."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from contracts.errors import SetupError


@dataclass(frozen=True)
class BrokerAddress:
    """A broker's address and our credentials. The password never shows in a repr, a log or an error."""

    host: str
    port: int
    tls: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"

    def ssl_context(self) -> ssl.SSLContext | None:
        """The TLS settings, or None without TLS. Raises SetupError naming the file that cannot be used."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise SetupError(f"broker {self}: CA file {self.ca} cannot be used: {error}") from error
        if self.cert is not None:
            try:
                context.load_cert_chain(self.cert, self.key)
            except (OSError, ssl.SSLError) as error:
                raise SetupError(f"broker {self}: certificate {self.cert} or key {self.key}: {error}") from error
        return context


def parse_broker_url(url: str) -> tuple[str, int, bool]:
    """Host, port and whether TLS is wanted, of ``mqtt://host[:1883]`` or ``mqtts://host[:8883]``.

    Raises ValueError for another scheme, a missing host, a path, a port out of range, or credentials in the URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # its text repeats the URL
        raise ValueError("a broker URL looks like mqtt://host:1883") from None
    if parts.scheme not in ("mqtt", "mqtts"):
        raise ValueError("a broker URL starts with mqtt:// or mqtts://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("no user name or password in the broker URL: they end up in logs")
    if not parts.hostname:
        raise ValueError("a broker URL names a host: mqtt://host:1883")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("a broker URL ends after the port: mqtt://host:1883")
    tls = parts.scheme == "mqtts"
    try:
        port = parts.port
    except ValueError as error:
        raise ValueError("the broker's port is a number from 1 to 65535") from error
    if port == 0:
        raise ValueError("the broker's port is a number from 1 to 65535")
    return parts.hostname, port or (8883 if tls else 1883), tls
