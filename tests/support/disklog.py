"""What a process did to its disk, and the disk as a power cut at any moment would have left it.

``async with`` a process whose environment is ``DiskLog.environment()``; then ``entries()`` says what happened, and
``Disk`` replays it. Of what was not synced a power cut keeps nothing, everything, or any part, in any order, sectors
of 512 bytes each for itself. Names (creating, renaming, deleting) are as lasting as data: they last once their folder,
or for a new file the file itself, is synced.
"""

import random
import shutil
import struct
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).with_name("disklog.c")
SECTOR = 512
_HEAD = struct.Struct("<cHQI")


@dataclass(frozen=True)
class Entry:
    """One thing the process did; see disklog.c."""

    operation: str
    path: str
    offset: int
    data: bytes


class DiskLog:
    """Watches the files in ``folder``. Needs a C compiler (Debian: gcc, libc6-dev)."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder = folder
        self._log = log
        self._library = log.with_name("disklog.so")

    def environment(self) -> Mapping[str, str]:
        """What a process needs to be watched."""
        if not self._library.exists():
            compiler = shutil.which("gcc") or shutil.which("cc")
            assert compiler is not None, "a C compiler is needed for the tests: apt-get install gcc libc6-dev"
            subprocess.run(
                [compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", self._library, SOURCE, "-ldl"],
                check=True,
            )
        return {
            "LD_PRELOAD": str(self._library),
            "DISKLOG_FOLDER": str(self.folder),
            "DISKLOG_FILE": str(self._log),
        }

    def refuse(self, what: str, refused: bool) -> None:
        """From now on syncs (``sync``) or writes (``write``) of watched files fail with EIO, or no longer."""
        flag = self._log.with_name(f"{self._log.name}.{what}")
        if refused:
            flag.touch()
        else:
            flag.unlink()

    def entries(self) -> list[Entry]:
        """All that happened so far."""
        content = self._log.read_bytes()
        entries: list[Entry] = []
        at = 0
        while at + _HEAD.size <= len(content):
            operation, path_length, offset, size = _HEAD.unpack_from(content, at)
            at += _HEAD.size
            path = content[at : at + path_length].decode()
            data = content[at + path_length : at + path_length + size]
            at += path_length + size
            entries.append(Entry(operation.decode(), path, offset, data))
        return entries


@dataclass
class _File:
    current: bytearray = field(default_factory=bytearray)
    """As processes see it."""
    durable: bytearray = field(default_factory=bytearray)
    """As the disk has it."""
    pending: list[Entry] = field(default_factory=list)
    """Writes and truncations that the next sync makes lasting."""


class Disk:
    """A disk, entry by entry. ``left(...)`` is what a cut now would leave."""

    def __init__(self) -> None:
        self._names: dict[str, _File] = {}
        self._lasting: dict[str, _File] = {}

    def apply(self, entry: Entry) -> None:
        """This happened."""
        match entry.operation:
            case "C":
                self._names[entry.path] = _File()
            case "W" | "T":
                file = self._names.setdefault(entry.path, _File())
                file.pending.append(entry)
                _change(file.current, entry)
            case "S":
                file = self._names[entry.path]
                for change in file.pending:
                    _change(file.durable, change)
                file.pending.clear()
                self._lasting[entry.path] = file
            case "E":
                # A kernel that could not write a page may call it clean all the same: no later sync writes it.
                self._names[entry.path].pending.clear()
            case "D":
                folder = entry.path.rstrip("/") + "/"
                for name in [name for name in self._lasting if name.startswith(folder)]:
                    del self._lasting[name]
                self._lasting |= {name: file for name, file in self._names.items() if name.startswith(folder)}
            case "U":
                self._names.pop(entry.path, None)
            case "R" | "L":
                file = self._names[entry.path]
                self._names[entry.data.decode()] = file
                if entry.operation == "R":
                    del self._names[entry.path]

    def kill(self) -> Mapping[str, bytes]:
        """What is left when the process alone is killed: everything."""
        return {name: bytes(file.current) for name, file in self._names.items()}

    def cut(self, chance: random.Random | None = None) -> Mapping[str, bytes]:
        """What a power cut leaves: what was synced, and by ``chance`` some of the rest."""
        if chance is None:
            return {name: bytes(file.durable) for name, file in self._lasting.items()}
        names = self._names if chance.random() < 0.5 else self._lasting
        return {name: _with(file, _some(file.pending, chance)) for name, file in names.items()}


def _some(pending: Sequence[Entry], chance: random.Random) -> list[Entry]:
    """Any sectors of any writes."""
    kept: list[Entry] = []
    for change in pending:
        if change.operation == "T":
            if chance.random() < 0.5:
                kept.append(change)
            continue
        whole = chance.random() < 0.3
        for start in range(0, len(change.data), SECTOR):
            if whole or chance.random() < 0.5:
                kept.append(Entry("W", change.path, change.offset + start, change.data[start : start + SECTOR]))
    return kept


def _with(file: _File, changes: Sequence[Entry]) -> bytes:
    content = bytearray(file.durable)
    for change in changes:
        _change(content, change)
    return bytes(content)


def _change(content: bytearray, change: Entry) -> None:
    if change.operation == "T":
        del content[change.offset :]
        content.extend(bytes(change.offset - len(content)))
        return
    content.extend(bytes(max(0, change.offset - len(content))))
    content[change.offset : change.offset + len(change.data)] = change.data
