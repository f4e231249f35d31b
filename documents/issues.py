"""One mistake in a settings file, as a technician reads it, and the error that carries all of them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from contracts.errors import SetupError
from contracts.masking import masked

KeyPath = tuple[str | int, ...]
"""Where a value stands: the keys (and places in lists, from 0) that lead to it."""


@dataclass(frozen=True)
class Place:
    """Where something was written: a file with line and column (both from 1), or an option of the command line."""

    file: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Issue:
    """One mistake. ``path`` is the dotted key path; empty where the file as a whole is meant.

    ``str()`` shows it as ``shown``.
    """

    file: str
    line: int | None
    column: int | None
    path: str
    message: str
    expected: str | None = None
    found: str | None = None
    hint: str | None = None

    @property
    def shown(self) -> "Issue":
        """The same without a password, neither of an address nor of a key that is to hold one."""
        texts: dict[str, Any] = {name: masked(text) for name, text in vars(self).items() if isinstance(text, str)}
        if "password" in self.path:
            texts["found"] = None
        return replace(self, **texts)

    def __str__(self) -> str:
        shown = self.shown
        place = str(Place(shown.file, shown.line, shown.column))
        subject = f"{place} {shown.path}" if shown.path and shown.line is not None else place
        parts = [shown.message]
        if shown.expected is not None and shown.found is not None:
            parts.append(f"expected {shown.expected}, found {shown.found}")
        elif shown.expected is not None:
            parts.append(f"expected {shown.expected}")
        elif shown.found is not None:
            parts.append(f"found {shown.found}")
        if shown.hint is not None:
            parts.append(shown.hint)
        return f"{subject}: {'; '.join(parts)}"


class SettingsError(SetupError):
    """A settings file was refused. ``issues`` holds every mistake, by position; ``str()`` gives one line each."""

    def __init__(self, issues: Iterable[Issue]) -> None:
        self.issues = tuple(sorted(issues, key=_by_position))
        super().__init__("\n".join(map(str, self.issues)))


def issue_at(
    place: Place,
    path: KeyPath,
    message: str,
    *,
    expected: str | None = None,
    found: str | None = None,
    hint: str | None = None,
) -> Issue:
    """An issue at this place."""
    return Issue(place.file, place.line, place.column, dotted(path), message, expected, found, hint)


def dotted(path: KeyPath) -> str:
    """``("machines", "tester", "companions", 0)`` -> ``machines.tester.companions.0``."""
    return ".".join(map(str, path))


_ALSO_CALLED = {
    "min": ("lower",),
    "minimum": ("lower",),
    "max": ("upper",),
    "maximum": ("upper",),
    "target": ("nominal",),
    "ok": ("pass",),
    "ng": ("fail",),
    "ip": ("host", "url"),
    "host": ("url",),
    "address": ("host", "url"),
    "interval": ("poll", "sampling"),
}
"""What other programs and languages call it, in lower case -> what it may be called here. What manuals of machines call
a thing stands with the drivers' settings."""


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant, or None."""
    names = list(known)
    for meant in _ALSO_CALLED.get(name.casefold(), ()):
        if meant in names:
            return meant
    folded = {known_name.casefold(): known_name for known_name in reversed(names)}
    matches = get_close_matches(name.casefold(), folded, n=1, cutoff=0.6)
    if matches:
        return folded[matches[0]]
    if len(name) < 3:
        return None
    return next((long for short, long in folded.items() if short.startswith(name.casefold())), None)


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """``did you mean "protocol"?``, or None where nothing is near."""
    meant = closest(name, known)
    return None if meant is None else f'did you mean "{meant}"?'


def one_of(names: Iterable[str]) -> str:
    """``one of a, b, c``; a single name stands alone."""
    known = list(names)
    return known[0] if len(known) == 1 else "one of " + ", ".join(known)


def _by_position(issue: Issue) -> tuple[bool, int, int, str]:
    return issue.line is None, issue.line or 0, issue.column or 0, issue.path
