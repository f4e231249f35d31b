"""An embedded MQTT 5 broker (iotcore) for the demo and for trying things: ``python -m demo.broker``.

It keeps nothing on disk. That costs nothing: a result is settled by central's commit, never by a broker.
"""

import json
import signal
import socket
import tempfile
import threading
from pathlib import Path
from string import Template
from typing import Annotated

import typer
from iotcore import Broker

_CONFIG = Template("""\
id = 0
[router]
id = 0
max_connections = 1000
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "neurohub"
listen = "$host:$port"
next_connection_delay_ms = 0
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = $max_packet
    max_inflight_count = 500
    dynamic_filters = true
""")


def main(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 0,
    max_packet: Annotated[int, typer.Option(help="Largest message in bytes.")] = 1_048_576,
) -> None:
    """Run the embedded broker until SIGTERM or Ctrl-C; prints its URL as a JSON line when it listens."""
    if port == 0:
        with socket.socket() as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with tempfile.TemporaryDirectory(prefix="neurohub-broker-") as folder:
        config = Path(folder) / "broker.toml"
        config.write_text(_CONFIG.substitute(host=host, port=port, max_packet=max_packet), encoding="utf-8")
        broker = Broker(config_path=str(config))
        broker.start()
        try:
            print(json.dumps({"url": f"mqtt://{host}:{port}"}), flush=True)
            ended.wait()
        finally:
            broker.stop()


if __name__ == "__main__":
    typer.run(main)
