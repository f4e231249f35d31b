"""The API as processes: one socket, one or several workers behind it."""

import os
import socket
import tempfile

import structlog
import uvicorn
from sdnotify import SystemdNotifier
from uvicorn.supervisors import Multiprocess

from contracts.errors import SetupError

log = structlog.get_logger()

SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Where workers count together: the metrics library looks for it when it is imported, which is not here."""

_GRACE_S = 15
_BACKLOG = 2048


def serve(host: str, port: int, workers: int) -> None:
    """Answer requests until SIGTERM or Ctrl-C. Port 0 is any free one; the log tells which.

    Raises SetupError where the address cannot be used. The settings are read by each worker from its environment.
    """
    config = uvicorn.Config(
        "central.api.app:from_environment",
        factory=True,
        workers=workers,
        log_config=None,
        access_log=False,  # it would repeat queries; the API tells of each request itself
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    try:
        listening = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=_BACKLOG
        )
    except (OSError, OverflowError) as error:
        raise SetupError(
            f"the API cannot listen on {host} port {port}: {error}; name another --host or --port"
        ) from error
    listening.set_inheritable(True)
    log.info("api listening", host=host, port=listening.getsockname()[1], workers=workers)
    SystemdNotifier().notify("READY=1")  # whoever asks now is answered as soon as a worker is there
    with listening:
        if workers == 1:
            uvicorn.Server(config).run([listening])
        else:
            with tempfile.TemporaryDirectory(prefix="neurohub-api-") as shared:
                os.environ[SHARED_FOLDER] = shared  # the workers count together
                Multiprocess(config, sockets=[listening]).run()
    log.info("api stopped")
