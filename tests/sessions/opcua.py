"""A force tester on node-opcua: from ``init`` to its first record in central."""

from tests.sessions.recorder import Desk
from tests.support.node_opcua import NodeTester

ABOUT = """\
The machine is a server on node-opcua (`tests/interop/opcua/machine.mjs`, after `tools/node-packages
tests/interop/opcua`), the broker is mosquitto, central runs on SQLite. What the technician knows of the machine is its
URL, and that it waits until the number of its result is written back."""
EDIT = (
    "sed -i -e 's/marker:/tester:/' -e 's/ns=2/ns=3/' -e 's/Marker.ResultCounter/Tester.n/'"
    " -e 's/Marker.SerialNumber/Tester.serial/' -e 's/Marker.Acknowledge/Tester.ack/'"
    """ -e 's/marking_depth:  {.*/force: {node_id: "ns=3;s=Tester.force", type: float, unit: kN}/'"""
    " -e 's/marking_depth: {.*/force: {lower: 1, upper: 4, unit: kN}/'"
    """ -e "/^broker:/a state_dir: $PWD/state" P02-C.yaml"""
)


async def typed(desk: Desk) -> str:
    """Type it. What central has at the end."""
    machine = NodeTester(desk.folder.parent)
    await machine.start()
    try:
        desk.begin()
        return await _at_the_machine(desk, machine.url)
    finally:
        await machine.kill()


async def _at_the_machine(desk: Desk, url: str) -> str:
    desk.say("The station's file: process 2 with an OPC-UA machine, from the protocol's sample")
    await desk.type(
        f"neurohub-agent init --station P02-C --site gimcheon --line KR01 --process 2 --protocol opcua"
        f" --broker {desk.broker} --connect marker.url={url}"
    )
    desk.say("What does the machine have?")
    told = await desk.type(f"neurohub-agent browse {url} --search Tester --yaml")
    assert 'force: {node_id: "ns=3;s=Tester.force", type: float}' in told
    desk.say(
        "Counter, serial number, force and acknowledgement are put in the sample's places, and the force's limits.\n"
        "(Typed here, in an editor there. Results stay in this folder: it is a desk, and nobody is root.)"
    )
    await desk.type(EDIT)
    await desk.type("neurohub-agent check P02-C.yaml")
    await desk.type("neurohub-agent probe P02-C.yaml")
    desk.say(
        "It is read as it should be. In a second terminal (in the plant: systemctl enable --now neurohub-agent@P02-C)"
    )
    async with desk.second_terminal("neurohub-agent run P02-C.yaml", until="result kept"):
        first = await desk.first_record()
        desk.say("Results as they come, and how the station is")
        await desk.type("neurohub-agent watch P02-C.yaml --count 1")
        await desk.type("neurohub-agent status P02-C.yaml")
        desk.say("What central has")
        await desk.type("neurohub-central streams --station P02-C")
        return first
