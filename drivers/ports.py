"""Names of ports and hosts: which stay the same, what is none, and what a failure to open a port means."""

import errno
import os
import re
import termios
from pathlib import Path

from contracts.errors import LinkError, SetupError
from drivers.base import NeededFile

_BY_ID = Path("/dev/serial/by-id")
_COUNTED = re.compile(r"^/dev/tty(USB|ACM)\d+$")


def unstable(port: str, by_id: Path = _BY_ID) -> str | None:
    """Why a port's name may mean another device tomorrow, and which to use instead; None for a name that lasts."""
    if _COUNTED.match(port) is None:
        return None
    names = sorted(link for link in by_id.glob("*") if os.path.realpath(link) == port) if by_id.is_dir() else []
    remedy = f"write {names[0]}" if names else f"write its name below {by_id}/ (ls -l {by_id} shows them)"
    return f"{port} is given out in the order the adapters are found: after a restart it may be another one; {remedy}"


def host_alone(host: str) -> str:
    """The name or address of a computer. Raises ValueError where a port or a whole URL stands in its place."""
    if "/" in host or host != host.strip():
        raise ValueError("the name or address alone is needed, without // and spaces")
    name, colon, port = host.rpartition(":")
    if colon and ":" not in name and port.isdecimal():
        raise ValueError(f"the port has a key of its own: host: {name}, port: {port}")
    return host


def needed(port: str) -> NeededFile:
    """A serial port as a file that this computer has to have."""
    return NeededFile(
        Path(port), f"plug the adapter in, or correct the name (ls -l {_BY_ID} shows the ports there are)"
    )


def open_error(error: Exception, machine: str, address: str) -> LinkError | SetupError:
    """What a failure to open means: try again, or have someone change something."""
    where = f"machine {machine}: serial port {address}"
    if "://" in address:
        return LinkError(f"{where} cannot be reached: {error}; check host and port, and that the serial server is on")
    cause = error.__context__ if isinstance(error.__context__, termios.error) else error
    code = cause.args[0] if cause.args else None
    if code in (errno.EACCES, errno.EPERM):
        return SetupError(
            f"{where} may not be used: permission denied; add the agent's user to the group dialout "
            "(usermod -aG dialout USER) and start the agent again"
        )
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return LinkError(
            f"{where} is not there: check that the adapter is plugged in and that connect.port is right; "
            f"ls -l {_BY_ID} shows the ports there are"
        )
    if code in (errno.EAGAIN, errno.EBUSY):
        return LinkError(
            f"{where} is in use: close the other program on it, or give each machine a port of its own (connect.port)"
        )
    if code in (errno.ENOTTY, errno.EISDIR, errno.EINVAL) or isinstance(error, ValueError):
        return SetupError(f"{where} is no serial port, or cannot work with these line settings: {error}; check connect")
    return LinkError(f"{where} cannot be opened: {error}")


def lost_error(error: Exception, machine: str, address: str, notice: str | None) -> LinkError:
    """The link of an open port broke; ``notice`` is what a serial server said about it."""
    told = f"the serial server says {notice!r}" if notice else str(error)
    return LinkError(f"machine {machine}: serial port {address} was lost: {told}; check the cable and the adapter")
