"""Room for results: a reserve that is held back, and an end to the outbox's growth.

A file beside the outbox keeps blocks of the disk. While it is held, results are kept. When the disk is full it gives
way: deliveries are still noted and old copies deleted in its place, and new results are refused, so that their
machines are not acknowledged and wait. A machine that cannot wait may use what it left.
"""

import os
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import structlog

from contracts.errors import StoreError

log = structlog.get_logger()

MB = 1_000_000
NEARLY_FULL = 0.9
"""Part of its size at which the outbox begins to give up settled copies before their time."""


@dataclass(frozen=True)
class Limits:
    """How large the outbox may become, and how much of the disk is held back for it; bytes."""

    max_size: int = 2000 * MB
    reserve: int = 16 * MB

    @property
    def results_end_at(self) -> int:
        """So large the file may become by results; the rest is for what is noted about them."""
        return self.max_size - self.reserve

    @property
    def unwaiting_end_at(self) -> int:
        """The same for results of machines that cannot wait: half of the reserve is theirs."""
        return self.max_size - self.reserve // 2

    @property
    def room_again_at(self) -> int:
        """Once results were refused for its size, the file must hold no more than this before there is room again."""
        return self.results_end_at - self.reserve // 4

    @property
    def wal_pages(self) -> int:
        """So long the -wal may become: it must find room in half of the reserve."""
        return min(1000, self.reserve // 2 // 4096)


class Room:
    """Says whether a result can be kept. ``trouble`` is why it cannot, in a technician's words, or None.

    Belongs to the outbox's writer: one thread uses it.
    """

    def __init__(self, outbox: Path, limits: Limits) -> None:
        self._outbox = outbox
        self._limits = limits
        self._reserve = outbox.with_name(outbox.name + ".reserve")
        self._held = False
        self._gave_way = False
        self._admitted = False
        self._outgrown = False
        self.trouble: str | None = None

    def take(self) -> bool:
        """Hold the reserve; True when it is held. Once it gave way, the disk must have room for two of it."""
        if self._held:
            return True
        try:
            if self._gave_way and shutil.disk_usage(self._outbox.parent).free < 2 * self._limits.reserve:
                return False
            with self._reserve.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, self._limits.reserve)
                os.ftruncate(file.fileno(), self._limits.reserve)
        except OSError:
            self._let_go()
        else:
            self._held = True
        return self._held

    def give_way(self) -> bool:
        """The disk refused: give the reserve back to it. True when that may help: try again what was refused."""
        self._admitted = False
        self._refuse(self._disk_full())
        if not self._held:
            return False
        self._let_go()
        return True

    def admit(self, connection: sqlite3.Connection, *, can_wait: bool) -> None:
        """Return when a result may be kept. Raises StoreError when not: its machine waits.

        A result that ``can_wait`` is refused before the reserve is touched, any other when its half of it is used.
        """
        used, free = self._bytes(connection)
        if used > self._limits.results_end_at:
            self._outgrown = True
            why = (
                f"the outbox has reached outbox.max_size ({self._limits.max_size // MB} MB) and nothing in it is "
                "delivered; bring central back, or raise outbox.max_size"
            )
        elif not self.take() and free < self._limits.reserve:
            why = self._disk_full()
        else:
            self._admitted = self._has_room_again(used)
            return
        self._admitted = False
        self._refuse(why)
        if can_wait or used > self._limits.unwaiting_end_at:
            raise StoreError(f"outbox {self._outbox}: {why}")

    def committed(self) -> None:
        """What was admitted is on the disk: there is room."""
        if self._admitted:
            self._admitted = False
            self._allow()

    def is_pressed(self, connection: sqlite3.Connection) -> bool:
        """True while settled copies should go before their time."""
        used, free = self._bytes(connection)
        if self.take() and used <= self._limits.results_end_at and self._has_room_again(used):
            self._allow()
        if used > NEARLY_FULL * self._limits.results_end_at:
            return True
        return not self._held and free < 2 * self._limits.reserve

    def _bytes(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """In use, and free for reuse, inside the file."""
        ((pages,), (free,), (size,)) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size, free * size

    def _has_room_again(self, used: int) -> bool:
        # Results that come and go at the very end of it would have it told of again and again.
        return not self._outgrown or used <= self._limits.room_again_at

    def _disk_full(self) -> str:
        try:
            left = f"{shutil.disk_usage(self._outbox.parent).free / MB:.1f} MB left"
        except OSError as error:
            left = str(error)
        return f"the disk of {self._outbox.parent} is full ({left}); free at least {2 * self._limits.reserve / MB:g} MB"

    def _refuse(self, why: str) -> None:
        if self.trouble is None:
            log.error("no room for results, machines are not acknowledged", why=why)
        self.trouble = why

    def _allow(self) -> None:
        if self.trouble is not None:
            log.info("room for results again")
        self.trouble = None
        self._outgrown = False

    def _let_go(self) -> None:
        self._held = False
        self._gave_way = True
        self._reserve.unlink(missing_ok=True)
