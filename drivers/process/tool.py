"""A tool made of software, as a simulated station runs it: ``python -I -S tool.py FOLDER ARGUMENT...``

It does what ``next.json`` in its folder says: prints ``output``, ends with code ``exit``. A file ``fault`` makes the
next run go wrong once: ``hang`` stays for ever, and so does a child of it that has left the session; ``crash`` ends in
the middle; ``noise`` prints bytes of no meaning first. Each run's arguments are a line of ``runs.jsonl``.
"""

import json
import os
import signal
import sys

_NOISE = b"\x00\xff\x1b[2K~#\r\n"


def main(folder: str, arguments: list[str]) -> int:
    """One run. The exit code."""
    with open(os.path.join(folder, "runs.jsonl"), "a", encoding="utf-8") as runs:
        runs.write(json.dumps(arguments) + "\n")
    with open(os.path.join(folder, "next.json"), encoding="utf-8") as plan:
        wanted = json.load(plan)
    output = bytes.fromhex(wanted["output"])
    fault = _fault(os.path.join(folder, "fault"))
    if fault == "noise":
        os.write(1, _NOISE)
    if fault in ("hang", "crash"):
        os.write(1, output[: len(output) // 2])
    if fault == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "hang":
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
    os.write(1, output)
    return int(wanted["exit"])


def _fault(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            fault = file.read()
        os.unlink(path)
    except FileNotFoundError:
        return ""
    return fault


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
