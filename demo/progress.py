"""What the person who watches the demo sees: a table that grows in a terminal, a line now and then elsewhere."""

import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from contracts.processes import PROCESSES
from demo.line import Made


class Progress:
    """Units and cycles so far, of what ``made`` and ``finished`` hold at the moment of looking."""

    def __init__(self, made: Sequence[Made], units: int) -> None:
        self.finished = 0
        self.committed = 0
        self._made = made
        self._units = units
        self._started_at = time.monotonic()
        self._console = Console(file=sys.stdout, highlight=False)
        self._live: Live | None = None

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self._started_at

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep a table in the terminal while the units move."""
        if not self._console.is_terminal:
            yield
            return
        with Live(get_renderable=self._table, console=self._console, refresh_per_second=4) as self._live:
            yield
        self._live = None

    def tick(self) -> None:
        """A line of figures, where no table shows them."""
        if self._live is None:
            self.say(self._line())

    def say(self, line: str) -> None:
        """A line, above the table where there is one; at once."""
        self._console.print(Text(line), soft_wrap=True)

    def _line(self) -> str:
        return (
            f"{self.seconds:5.0f} s   units finished {self.finished}/{self._units}   "
            f"cycles {len(self._made)}   committed {self.committed}"
        )

    def _table(self) -> Group:
        counts = Counter((made.process, made.expected) for made in self._made)
        table = Table("process", *(Column(title, justify="right") for title in ("pass", "fail", "rework")))
        for process in PROCESSES:
            table.add_row(
                process.code, *(str(counts[process.number, outcome]) for outcome in ("PASS", "FAIL", "REWORK"))
            )
        return Group(table, Text(self._line()))
