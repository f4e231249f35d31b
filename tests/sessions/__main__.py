"""``python -m tests.sessions [WHICH ...]``: type a technician's sessions anew and write docs/sessions."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.sessions import modbus, opcua
from tests.sessions.recorder import desk
from tests.support.processes import ROOT

SESSIONS = {"modbus": modbus, "opcua": opcua}
FOLDER = ROOT / "docs" / "sessions"


async def recorded(name: str) -> str:
    """The page of one session."""
    with tempfile.TemporaryDirectory() as folder:
        async with desk(Path(folder)) as typing:
            first = await SESSIONS[name].typed(typing)
            return "\n".join(
                [
                    f"# A session: {name}, from init to the first record in central",
                    "",
                    SESSIONS[name].ABOUT,
                    "",
                    f"Recorded by `python -m tests.sessions {name}`, which types it again. On a machine with two busy",
                    f"cores: {typing.commands} commands in {typing.lasted_s:.0f} s; what a person reads and types comes"
                    f" on top. Central's first record: {first}.",
                    "",
                    "```text",
                    *typing.lines[1:],
                    "```",
                    "",
                ]
            )


if __name__ == "__main__":
    for which in sys.argv[1:] or SESSIONS:
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{which}.md").write_text(asyncio.run(recorded(which)), encoding="utf-8")
