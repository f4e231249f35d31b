"""What most likely keeps a station from a machine, from the error of whoever tried. Pure."""

import errno
import socket
from collections.abc import Iterator, Mapping

_CAUSES: Mapping[int, str] = {
    errno.ECONNREFUSED: "the computer is there and nothing listens at this port: check the port, and that the "
    "machine's server is switched on",
    errno.EHOSTUNREACH: "no route: the address is not on this network, or the machine is off (ip route, ping)",
    errno.ENETUNREACH: "no route: this computer has no network that leads there (ip addr, ip route)",
    errno.ETIMEDOUT: "nothing answers at this address: check the address, the cable, and firewalls between",
    errno.ECONNRESET: "the other side hung up: another protocol at this port, or all its connections are in use",
}


def likely_cause(error: BaseException) -> str | None:
    """In a technician's words; None where the error's own text is all there is."""
    for one in _chain(error):
        if isinstance(one, socket.gaierror):
            return "this computer knows no such name: check the spelling, or write the address in numbers"
        if isinstance(one, OSError) and (cause := _CAUSES.get(one.errno or 0)) is not None:
            return cause
        if isinstance(one, OSError) and "Multiple exceptions" in str(one) and "Connect call failed" in str(one):
            return _CAUSES[errno.ECONNREFUSED]
        if type(one) is TimeoutError and not isinstance(one.__context__, OSError):
            return _CAUSES[errno.ETIMEDOUT] if "no connection" in str(error) or "reached" in str(error) else None
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
