"""The embedded MQTT 5 broker, in the foreground: ``python -m demo.broker --port 1883``.

Prints one line, ``{"url": "mqtt://127.0.0.1:1883"}``, once it accepts connections, and runs until SIGTERM or SIGINT.
Nothing is written to disk: what the broker holds ends with it. The broker runs inside this process, so that no way
of ending it leaves one behind.
"""

import ctypes
import json
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Annotated

import typer
from iotcore import IotCoreBroker

CONFIG = Path(__file__).resolve().parent.parent / "config" / "broker" / "iotcore.toml"
START_TIMEOUT_S = 10.0
FREE_PORT_TRIES = 5
ENDING = {signal.SIGTERM, signal.SIGINT}
PR_SET_PDEATHSIG = 1


class Broker(threading.Thread):
    """rumqttd in a thread. It has no way to be stopped: it ends with the process."""

    def __init__(self, address: str, max_packet: int) -> None:
        """Raises ValueError when the broker refuses its configuration."""
        super().__init__(name="broker", daemon=True)
        text = configuration(CONFIG.read_text(encoding="utf-8"), address, max_packet)
        with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            self._native = IotCoreBroker(config_path=file.name)
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            self._native.run_forever()
        except OSError as error:
            self.error = error


def configuration(template: str, address: str, max_packet: int) -> str:
    """The broker's configuration with these two values in place. Raises ValueError where the template has none."""
    text = template
    values = {
        r'^listen = ".*?"': f'listen = "{address}"',
        r"^max_payload_size = \d+": f"max_payload_size = {max_packet}",
    }
    for line, value in values.items():
        text, replaced = re.subn(line, value, text, flags=re.MULTILINE)
        if replaced != 1:
            raise ValueError(f"{CONFIG.name}: one line like {line!r} expected, {replaced} found")
    return text


def start(host: str, port: int, max_packet: int) -> tuple[Broker, str]:
    """A broker that accepts connections, and its URL; port 0 takes a free one.

    Raises OSError when the port is taken, TimeoutError when the broker does not come up.
    """
    is_v6 = isinstance(ip_address(host), IPv6Address)
    name = f"[{host}]" if is_v6 else host
    for remaining in reversed(range(FREE_PORT_TRIES if port == 0 else 1)):
        chosen = port or _free_port(host, is_v6)
        broker = Broker(f"{name}:{chosen}", max_packet)
        broker.start()
        try:
            _wait_until_open(broker, host, chosen)
        except OSError:
            if not remaining or broker.is_alive():
                raise
            continue  # somebody took the free port before the broker did
        return broker, f"mqtt://{name}:{chosen}"
    raise AssertionError("unreachable: the last try returns or raises")


def _free_port(host: str, is_v6: bool) -> int:
    with socket.create_server((host, 0), family=socket.AF_INET6 if is_v6 else socket.AF_INET) as server:
        return int(server.getsockname()[1])


def _wait_until_open(broker: Broker, host: str, port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        broker.join(0.01)
        if broker.error is not None:
            raise broker.error
        try:
            socket.create_connection((host, port), timeout=1.0).close()
        except OSError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the broker does not answer at {host}:{port} ({error})") from error
        else:
            broker.join(0.05)  # was it the broker that answered, or whoever else took the port?
            if broker.error is not None:
                raise broker.error
            return


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the process that started this one ends, however it ends."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)


def main(
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port")] = 1883,
    max_packet: Annotated[int, typer.Option(min=1024, help="largest MQTT packet, in bytes")] = 1024 * 1024,
    with_parent: Annotated[bool, typer.Option("--with-parent", help="end when the starting process ends")] = False,
) -> None:
    """Run an MQTT 5 broker for trying things out: no TLS, no passwords, nothing kept on disk."""
    if with_parent:
        end_with_parent()
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # before the broker's threads begin: they inherit it
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)  # it reports every closed connection as an error
    try:
        broker, url = start(host, port, max_packet)
    except (OSError, ValueError) as error:
        typer.echo(f"broker: {error}", err=True)
        raise typer.Exit(1) from error
    print(json.dumps({"url": url}), flush=True)
    while broker.is_alive():
        if signal.sigtimedwait(ENDING, 1.0) is not None:
            return
    typer.echo(f"broker: ended by itself: {broker.error}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
