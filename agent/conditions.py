"""What a machine says keeps it from working: told once when it appears, once when it is over, and counted.

What is wrong with what it says is counted beside that."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from structlog.typing import FilteringBoundLogger


@dataclass(frozen=True)
class Condition:
    """One that stands: what is wrong and what to do (``text``), and since when it is known."""

    text: str
    since_at: datetime


class Conditions:
    """``standing``: those known to stand, by name. ``count``: how often each has appeared, or happened.
    ``happened_last``: the text of what does not stand, as it was last."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self.standing: dict[str, Condition] = {}
        self.count: Counter[str] = Counter()
        self.happened_last: dict[str, str] = {}

    def heard(self, found: Mapping[str, str]) -> None:
        """The machine has said how it is: these conditions (name -> text) stand, and no others."""
        now = datetime.now(UTC)
        for name in [name for name in self.standing if name not in found]:
            ended = self.standing.pop(name)
            lasted_s = round((now - ended.since_at).total_seconds(), 1)
            self._log.info("machine condition over", condition=name, lasted_s=lasted_s)
        for name, text in found.items():
            if name not in self.standing:
                self.standing[name] = Condition(text, now)
                self.count[name] += 1
                self._log.warning("machine condition", condition=name, text=text, times=self.count[name])

    def happened(self, name: str, text: str) -> None:
        """Something that does not stand, at one moment: counted, and told unless it is what was told last."""
        self.count[name] += 1
        if self.happened_last.get(name) != text:
            self.happened_last[name] = text
            self._log.warning("machine condition", condition=name, text=text, times=self.count[name])
