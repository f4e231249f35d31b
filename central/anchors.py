"""The anchor file: hashes of the audit trail's chain, kept outside the database, a line each, only ever added to."""

import fcntl
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from central.store import Anchor
from contracts.errors import SetupError, StoreError


class AnchorFile:
    """Where anchors are added. Several processes may add to one file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the file where it is missing. Raises SetupError where it cannot be added to."""
        try:
            os.close(self._open())
        except OSError as error:
            raise SetupError(
                f"AUDIT_ANCHOR_FILE {self.path}: {error.strerror}; name a file that this user may add to"
            ) from error

    def add(self, anchor: Anchor) -> None:
        """Add a line, and see it on the disk. Raises StoreError."""
        line = anchor.model_dump_json().encode() + b"\n"
        try:
            handle = self._open()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                if self._torn():  # a crash within a line: the next one begins a new one
                    line = b"\n" + line
                if os.write(handle, line) != len(line):
                    raise StoreError(f"anchor file {self.path}: the line was written in part: is the disk full?")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise StoreError(f"anchor file {self.path}: {error.strerror}") from error

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def _torn(self) -> bool:
        if self.path.stat().st_size == 0:
            return False
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"


@dataclass
class KnownAnchors:
    """Anchors of one database, from files and from the broker, by the seal's number. ``wrong``: two that contradict
    each other. ``unread``: lines that are no anchor; a crash can leave half a line, and so can a hand."""

    epoch: str
    by_number: dict[int, Anchor] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    others: int = 0

    def read(self, path: Path) -> None:
        """Add those of a file; those of other databases are counted. Raises SetupError where it cannot be read."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SetupError(f"anchor file {path}: {error.strerror}; --anchors names the file") from error
        for number, line in enumerate(content.split(b"\n"), start=1):
            if line:
                self._take(line, f"{path}:{number}")

    def _take(self, line: bytes, where: str) -> None:
        try:
            anchor = Anchor.model_validate_json(line)
        except ValidationError:
            self.unread.append(f"{where}: this line is no anchor")
            return
        self.add([anchor], where)

    def add(self, anchors: Iterable[Anchor], where: str) -> None:
        """Add these."""
        for anchor in anchors:
            if anchor.epoch != self.epoch:
                self.others += 1
                continue
            known = self.by_number.setdefault(anchor.number, anchor)
            if known != anchor:
                self.wrong.append(f"{where}: seal {anchor.number} is anchored twice, and not with the same hash")
