"""Log lines: fixed phrases with keys, as text on a terminal and as JSON everywhere else."""

import logging
import sys

import structlog


def configure_logging(*, verbose: bool = False) -> None:
    """Write to stderr: JSON lines, or coloured text where stderr is a terminal. Libraries speak from WARNING up."""
    rendering: list[structlog.typing.Processor] = [structlog.dev.ConsoleRenderer()]
    if not sys.stderr.isatty():
        rendering = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
