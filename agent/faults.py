"""What becomes of a mistake of our own: told with its traceback, counted, and survived."""

from collections.abc import Iterator
from contextlib import contextmanager

from structlog.typing import FilteringBoundLogger

from contracts.errors import LinkError, NeuroHubError


class Faults:
    """Keeps a mistake in one part of the agent from ending the others.

    ``count`` is how many there were. Errors the program knows, and cancellation, pass through untouched.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._told = ""
        self.count = 0

    @contextmanager
    def as_lost_link(self) -> Iterator[None]:
        """Around one life of a link: an error nobody expected ends this life, and the next one begins after a wait."""
        try:
            yield
        except NeuroHubError:
            raise
        except Exception as error:
            raise LinkError(self.tell(error)) from error

    def tell(self, error: Exception) -> str:
        """Count it, log it with its traceback unless it is the last one again; what to say of it elsewhere."""
        self.count += 1
        text = f"unexpected error: {type(error).__name__}: {error}".encode("utf-8", "backslashreplace").decode("utf-8")
        if text != self._told:
            self._log.error("unexpected error, please report it", faults=self.count, exc_info=error)
            self._told = text
        return text
