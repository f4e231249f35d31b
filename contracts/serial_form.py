"""What a site's serial numbers look like, and what a code reader says when it reads nothing (domain.md, Identity)."""

import re
from dataclasses import dataclass
from functools import cached_property

from contracts.patterns import compiled

NO_READ = (
    "NOREAD", "NO READ", "NR", "BR", "BADREAD", "READ ERROR", "READ FAIL", "ERROR", "ERR", "FAIL", "FAILED", "TIMEOUT",
    "NODATA", "NOCODE", "NOMATCH", "NONE", "NULL", "NAN", "N/A", "UNKNOWN", "XXX", "???",
)  # fmt: skip
"""Words that readers are set to say, by their makers or by hand. Of any length: ``?`` and ``X`` alone, as ``XXXXX``."""

_BETWEEN = re.compile(r"[\s._/-]+")


@dataclass(frozen=True)
class SerialForm:
    """The form of a site's numbers. ``pattern`` None: any. ``others`` are patterns of parts that are no product."""

    pattern: str | None = None
    no_read: tuple[str, ...] = NO_READ
    others: tuple[str, ...] = ()

    @cached_property
    def _words(self) -> frozenset[str]:
        return frozenset(_word(word) for word in self.no_read)

    def refusal(self, number: str) -> str | None:
        """Why this can be no unit's number, None where it can. Small and capital letters are one in ``no_read``."""
        if _word(number) in self._words:
            return f"{number!r} is what a code reader says when it reads nothing"
        if self.pattern is None or any(compiled(pattern).fullmatch(number) for pattern in (self.pattern, *self.others)):
            return None
        return f"{number!r} is not of the form of the site's numbers, {self.pattern}"


def _word(text: str) -> str:
    """A word as it is compared: no matter what stands between its letters, or how often one letter alone is said."""
    bare = _BETWEEN.sub("", text).casefold()
    return bare[:1] * 3 if len(set(bare)) == 1 and len(bare) >= 3 else bare
