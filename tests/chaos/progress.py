"""What the person who watches sees: a line that changes in a terminal, a line now and then elsewhere."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

EVERY_S = 15.0


class Progress:
    """Says lines, and shows a state that is asked for."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, highlight=False)
        self._began = time.monotonic()

    def say(self, line: str) -> None:
        """A line, at once."""
        self._console.print(Text(line), soft_wrap=True)

    @contextmanager
    def shown(self, state: Callable[[], str]) -> Iterator[None]:
        """Keep the state in sight. Needs a running event loop."""

        def line() -> Text:
            return Text(f"{time.monotonic() - self._began:5.0f} s   {state()}")

        if self._console.is_terminal:
            with Live(get_renderable=line, console=self._console, refresh_per_second=2):
                yield
            return
        telling = asyncio.create_task(self._tell(line))
        try:
            yield
        finally:
            telling.cancel()

    async def _tell(self, line: Callable[[], Text]) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            self._console.print(line(), soft_wrap=True)
