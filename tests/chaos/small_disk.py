"""A file system of a station's own (tmpfs), which can be filled to the last byte and freed again. Needs root."""

import os
import shutil
import subprocess
from pathlib import Path

SIZE_MB = 64
_FILLER = "filler"


def can_mount() -> bool:
    """True where this user may mount a file system."""
    return os.geteuid() == 0 and shutil.which("mount") is not None


class SmallDisk:
    """Mounted at ``place``."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._mounted = False

    def mount(self) -> None:
        """Raises CalledProcessError where it is not allowed (some containers)."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", self._place], check=True)
        self._mounted = True

    def fill(self) -> None:
        """Leave no byte to anybody."""
        with (self._place / _FILLER).open("ab", buffering=0) as filler:
            size = 2**20
            while size:
                try:
                    filler.write(b"\0" * size)
                except OSError:
                    size //= 2

    def free(self) -> None:
        """Give it back."""
        (self._place / _FILLER).unlink(missing_ok=True)

    def keep_content(self) -> None:
        """Copy what is on it to the folder it covers, for whoever looks at the run afterwards, and unmount it."""
        if not self._mounted:
            return
        aside = self._place.with_name(f"{self._place.name}.kept")
        shutil.copytree(self._place, aside, ignore=_sockets)
        self.unmount()
        shutil.rmtree(self._place)
        aside.rename(self._place)

    def unmount(self) -> None:
        """Take it away with what is on it."""
        if self._mounted:
            subprocess.run(["umount", self._place], check=True)
            self._mounted = False


def _sockets(folder: str, names: list[str]) -> list[str]:
    """What is a killed agent's: it cannot be copied."""
    return [name for name in names if Path(folder, name).is_socket()]
