"""Commands for a machine that no file describes yet: ``browse``, ``scan``, ``sniff``. None of them writes to it."""

from collections.abc import Callable
from typing import Annotated, Literal

import typer

from contracts.errors import NeuroHubError


def add_to(app: typer.Typer) -> None:
    """Make them commands of this app."""
    for command in (browse, scan, sniff):
        app.command()(command)


def browse(
    url: Annotated[str, typer.Argument(metavar="URL", help="The server's endpoint: opc.tcp://host:4840.")],
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only nodes whose path or id holds it.")] = None,
    start: Annotated[str, typer.Option(metavar="NODE_ID", help="Begin below this node.")] = "i=85",
    depth: Annotated[int, typer.Option(metavar="N", help="So many levels.", min=1)] = 10,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="The variables as points, to be copied to a file.")] = False,
) -> None:
    """Show what an OPC-UA server has, as a tree, with values and types; the server's own nodes are left out.

    Exit code 0 when there was something, 1 when not, 2 when the server cannot be reached.

    Example: neurohub-agent browse opc.tcp://10.0.3.5:4840 --search depth --yaml
    """
    from agent.finding import show_tree

    _end(lambda: show_tree(url, search, start, depth, as_yaml=as_yaml))


def scan(
    target: Annotated[str, typer.Argument(metavar="HOST[:PORT]|PORT", help="A Modbus device, gateway or serial port.")],
    device_id: Annotated[
        int | None, typer.Option(metavar="N", help="Read this device's registers instead of looking for devices.")
    ] = None,
    ids: Annotated[str, typer.Option(metavar="IDS", help="Device ids to look for.")] = "1-247",
    table: Annotated[
        str | None, typer.Option(metavar="TABLE", help="holding_register, input_register, coil, discrete_input; all.")
    ] = None,
    first: Annotated[int, typer.Option(metavar="N", help="The first address, from 0.", min=0, max=65535)] = 0,
    count: Annotated[int, typer.Option(metavar="N", help="How many addresses.", min=1, max=65536)] = 256,
    baudrate: Annotated[int, typer.Option(metavar="N", help="Of a serial port.")] = 19200,
    parity: Annotated[str, typer.Option(metavar="N|E|O", help="Of a serial port.")] = "N",
) -> None:
    """Find Modbus devices by the ids that answer; of one device, find the registers that can be read.

    Addresses count from 0, as holding_register does; values that are 0 are not listed. Exit code 0 when something was
    found, 1 when not, 2 when there is no connection.

    Example: neurohub-agent scan 10.0.3.21 --device-id 1 --table holding_register --count 100
    """
    from agent.finding import modbus_at, numbers, show_devices, show_registers, table_named

    def found() -> int:
        connect = modbus_at(target, baudrate, parity, device_id or 1)
        if device_id is None:
            return show_devices(connect, numbers(ids))
        return show_registers(connect, table_named(table), first, count)

    _end(found)


def sniff(
    port: Annotated[str, typer.Argument(metavar="PORT", help="The serial port: /dev/serial/by-id/...")],
    baudrate: Annotated[int | None, typer.Option(metavar="N", help="Without it the common ones are tried.")] = None,
    parity: Annotated[Literal["N", "E", "O"], typer.Option(metavar="N|E|O", help="None, even or odd.")] = "N",
    seconds: Annotated[float, typer.Option(metavar="N", help="How long to listen, at each baudrate.")] = 5.0,
) -> None:
    """Listen to a serial port: bytes in hexadecimal and as text with their times, and guesses of speed and framing.

    Let the machine make results meanwhile. Exit code 0 when something came, 1 when not, 2 when the port cannot be
    used.

    Example: neurohub-agent sniff /dev/serial/by-id/usb-FTDI_A1 --seconds 10
    """
    from agent.finding import sniff as listen_and_guess

    _end(lambda: int(listen_and_guess(port, baudrate, parity, seconds)))


def _end(work: Callable[[], int]) -> None:
    try:
        found = work()
    except NeuroHubError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(0 if found else 1)
