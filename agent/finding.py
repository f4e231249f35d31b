"""What ``browse``, ``scan`` and ``sniff`` print: what is there, before a file says what it means."""

import asyncio
import re
import time
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError
from rich.markup import escape

from agent.terminal import console, table
from contracts.errors import SetupError
from drivers.modbus.addresses import TABLES, Table
from drivers.modbus.connect import Connect, RtuConnect, SerialConnect, TcpConnect
from drivers.modbus.scanning import SHORT_WAIT_S, Found, answering, readable
from drivers.opcua.connect import Connect as Endpoint
from drivers.serial.guessing import guesses
from drivers.serial.noise import is_text, shown
from drivers.serial.sniffing import Heard, Parity, likeliest_speed, listen

_NAME = re.compile(r"[^A-Za-z0-9_]+")
_connect: TypeAdapter[TcpConnect | RtuConnect] = TypeAdapter(TcpConnect | RtuConnect)


def show_tree(url: str, search: str | None, start: str, depth: int, *, as_yaml: bool) -> int:
    """Print a server's nodes. How many were shown. Raises LinkError or SetupError."""
    from drivers.opcua.browsing import BrowsedNode, browse  # noqa: PLC0415  # asyncua costs 45 MB

    async def found() -> list[BrowsedNode]:
        return [node async for node in browse(_endpoint(url), start, depth)]

    nodes = asyncio.run(found())
    if search is not None:
        wanted = search.casefold()
        nodes = [node for node in nodes if wanted in node.path.casefold() or wanted in node.node_id.casefold()]
    out = console()
    if as_yaml:
        variables = [node for node in nodes if node.is_variable]
        out.print("points:", markup=False)
        for name, node in zip(_names([node.name for node in variables]), variables, strict=True):
            kind = f", type: {node.type}" if node.type is not None else ""
            array = ", array: true" if node.is_list else ""
            out.print(f'  {name}: {{node_id: "{node.node_id}"{kind}{array}}}', markup=False)
        return len(variables)
    for node in nodes:
        indent = "" if search is not None else "  " * node.depth
        where = node.path if search is not None else node.name
        what = f" = {node.value} ({node.type or 'structure or other'})" if node.is_variable else ""
        out.print(f"{indent}[bold]{escape(where)}[/bold]  {escape(node.node_id)}{escape(what)}")
    return len(nodes)


def show_devices(connect: Connect, ids: Sequence[int]) -> int:
    """Print which device ids answer. How many do. Raises LinkError or SetupError."""
    wait_s = SHORT_WAIT_S if isinstance(connect, SerialConnect) else SHORT_WAIT_S / 3

    async def found() -> int:
        count = 0
        async for device_id in answering(connect, ids, wait_s):
            console().print(f"device_id: {device_id} answers")
            count += 1
        return count

    return asyncio.run(found())


def show_registers(connect: Connect, tables: Sequence[Table], start: int, count: int) -> int:
    """Print what can be read of a device. How many registers or bits. Raises LinkError or SetupError."""
    out, seen = console(), 0
    for one in tables:
        found = asyncio.run(readable(connect, one, start, count))
        seen += sum(len(part.values) for part in found)
        for part in found:
            out.print(_registers(part))
    return seen


def _registers(part: Found) -> object:
    title = f"{part.table} {part.start} to {part.start + len(part.values) - 1}"
    shown_table = table("address", "value", "raw", title=title)
    for place, value in enumerate(part.values):
        if value:
            shown_table.add_row(str(part.start + place), str(value), f"{value:04x}")
    return shown_table


def sniff(port: str, baudrate: int | None, parity: Parity, seconds: float) -> bool:
    """Print what comes on a port, and what it may be. Whether anything came. Raises LinkError or SetupError."""
    out = console()
    if baudrate is None:
        found = likeliest_speed(
            port, parity, seconds, lambda speed, data: out.print(f"{speed} baud: {escape(_heard(data))}")
        )
        if found is None:
            out.print("at no common speed text came: let the machine make results, try --parity E, or --baudrate")
            return False
        baudrate = found[0]
    began, pieces = time.monotonic(), []
    for heard in listen(port, baudrate, parity, seconds):
        pieces.append(heard.data)
        out.print(escape(_line(heard)))
    out.print(f"{sum(map(len, pieces))} bytes in {time.monotonic() - began:.0f} s at {baudrate} baud, parity {parity}")
    if not pieces:
        out.print("nothing came: let the machine make a result; is it this port, are RX and TX exchanged?")
    elif not is_text(b"".join(pieces)):
        out.print("this is no text: a binary protocol, or another baudrate or parity")
    for guess in guesses(pieces):
        out.print(escape(guess))
    return bool(pieces)


def modbus_at(target: str, baudrate: int, parity: str, device_id: int) -> Connect:
    """``host``, ``host:port`` or a serial port, as a machine's ``connect``. Raises SetupError."""
    host, colon, port = target.rpartition(":")
    keys: dict[str, object] = {"device_id": device_id}
    if target.startswith("/"):
        keys |= {"transport": "rtu", "port": target, "baudrate": baudrate, "parity": parity}
    else:
        keys |= {"transport": "tcp", "host": host if colon else target}
        keys |= {"port": int(port)} if colon and port.isdecimal() else {}
    try:
        return _connect.validate_python(keys)
    except ValidationError as error:
        first = error.errors(include_url=False)[-1]
        raise SetupError(f"{target}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def table_named(name: str | None) -> tuple[Table, ...]:
    """The table, or all. Raises SetupError."""
    if name is None:
        return TABLES
    found = next((one for one in TABLES if one == name), None)
    if found is None:
        raise SetupError(f"--table {name}: there are {', '.join(TABLES)}")
    return (found,)


def numbers(text: str) -> list[int]:
    """``1-10,247`` as numbers from 0 to 255. Raises SetupError."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part.strip())
        if match is None or int(match[2] or match[1]) > 255:
            raise SetupError(f"--ids {text}: device ids from 0 to 255 are needed, for example 1-10,247")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def _endpoint(url: str) -> Endpoint:
    try:
        return Endpoint(url=url)
    except ValidationError as error:
        raise SetupError(f"{url}: {error.errors(include_url=False)[0]['msg']}") from error


def _names(names: Sequence[str]) -> list[str]:
    """Names a file can have for points, each once."""
    found: list[str] = []
    for name in names:
        plain = _NAME.sub("_", name).strip("_").lower()
        plain = plain if plain[:1].isalpha() else f"p_{plain}"
        found.append(plain if plain not in found else f"{plain}_{len(found)}")
    return found


def _heard(data: bytes) -> str:
    if not data:
        return "nothing came"
    return f"{len(data)} bytes, {'text' if is_text(data) else 'noise'}: {shown(data)}"


def _line(heard: Heard) -> str:
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in heard.data)
    return f"{heard.at:%H:%M:%S.%f}  {heard.data.hex(' ')}  {text}"
