"""A sensor tester on libmodbus: from ``init`` to its first record in central."""

import subprocess

from tests.sessions.recorder import Desk
from tests.support.processes import ROOT, Process

ABOUT = """\
The machine is a slave on libmodbus (`tests/support/modbus_machine.c`), the broker is mosquitto, central runs on SQLite.
What the technician has is the machine's manual: counter in 40001, serial number in 40011 and following (22 letters),
temperature in 40031 (float, high word first), sensor found in 10005, no verdict of its own; the counter is to be
written to 40051."""


async def typed(desk: Desk) -> str:
    """Type it. What central has at the end."""
    program = desk.folder.parent / "modbus_machine"
    source = ROOT / "tests" / "support" / "modbus_machine.c"
    subprocess.run(["gcc", "-O1", "-I/usr/include/modbus", source, "-lmodbus", "-o", program], check=True)  # noqa: ASYNC221  # before the session
    async with Process([program, "tcp", "0", "7", "1", "echo"]) as machine:
        port = (await machine.line("listening")).split()[1]
        desk.begin()
        return await _at_the_machine(desk, port)


async def _at_the_machine(desk: Desk, port: str) -> str:
    desk.say("The station's file, from the example of process 3")
    await desk.type(
        f"neurohub-agent init --station P03-C --site gimcheon --line KR01 --process 3 --broker {desk.broker}"
        f" --connect tester.host=127.0.0.1 --connect tester.port={port}"
    )
    desk.say("What does the machine say?")
    told = await desk.type("neurohub-agent probe P03-C.yaml", exit_code=1)
    assert "with word_order: big it is 60" in told
    desk.say(
        "The words come the other way round, as the manual says too; and this machine gives no verdict.\n"
        "(Typed here, in an editor there. Results stay in this folder: it is a desk, and nobody is root.)"
    )
    await desk.type(
        "sed -i -e 's/word_order: little/word_order: big/' -e 's/length: 24/length: 22/' -e '/judgement/d'"
        ' -e "/^broker:/a state_dir: $PWD/state" P03-C.yaml'
    )
    await desk.type("neurohub-agent check P03-C.yaml")
    await desk.type("neurohub-agent probe P03-C.yaml")
    desk.say(
        "It is read as it should be. In a second terminal (in the plant: systemctl enable --now neurohub-agent@P03-C)"
    )
    async with desk.second_terminal("neurohub-agent run P03-C.yaml", until="result kept"):
        first = await desk.first_record()
        desk.say("Results as they come, and how the station is")
        await desk.type("neurohub-agent watch P03-C.yaml --count 1")
        await desk.type("neurohub-agent status P03-C.yaml")
        desk.say("What central has")
        await desk.type("neurohub-central streams --station P03-C")
        return first
