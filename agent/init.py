"""``neurohub-agent init``: a station's file to begin with, made of the example of its process or of its protocol.

Examples are the files in config/stations, one for each process and its machines, and the sample of each protocol. They
are copied as text, comments and all; the names of the station and the addresses of its machines are put in.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import drivers
from agent.check import checked, machines_of
from contracts.errors import SetupError
from contracts.processes import BY_CODE
from documents.document import MappingNode, ScalarNode
from documents.issues import KeyPath, did_you_mean, one_of
from documents.reading import read_document
from drivers.registry import OURS

_CHECKOUT = Path(__file__).parents[1] / "config" / "stations"
_INSTALLED = Path(sys.prefix) / "share" / "doc" / "neurohub-edge" / "config" / "stations"
_SCALAR = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\']|\'\')*\'|[^,}\]#\n]+?(?=\s*(?:[,}\]\n]|\s#|$))')
_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./:@-]*")
_ADDRESS_KEYS = ("url", "host", "port", "device")


@dataclass(frozen=True)
class Template:
    """An example: its file, the process it is of, and its machines with their protocols."""

    file: Path
    process: str
    machines: Mapping[str, str]

    @property
    def name(self) -> str:
        """``P03-A``, or ``modbus`` for a protocol's sample."""
        return self.file.parent.name if self.file.name == "sample.yaml" else self.file.stem


@cache
def templates() -> tuple[Template, ...]:
    """Every example, those of processes first."""
    folder = _CHECKOUT if _CHECKOUT.is_dir() else _INSTALLED
    samples = [Path(drivers.__file__).parent / name / "sample.yaml" for name in OURS]
    return tuple(_template(file) for file in (*sorted(folder.glob("*.yaml")), *samples))


def _template(file: Path) -> Template:
    process = read_document(file).node(("station", "process"))
    assert isinstance(process, ScalarNode)
    return Template(file, str(process.value), machines_of(file))


def chosen(process: str, protocol: str | None) -> Template:
    """The example for a process, or where that has no such machine the sample of the protocol. Raises SetupError."""
    if process not in BY_CODE:
        raise SetupError(f"--process {process}: unknown; {did_you_mean(process, BY_CODE) or one_of(BY_CODE)}")
    if protocol is not None and protocol not in OURS:
        raise SetupError(f"--protocol {protocol}: unknown; {did_you_mean(protocol, OURS) or one_of(OURS)}")
    for template in templates():
        if template.process == process and protocol in (None, *template.machines.values()):
            return template
    return next(template for template in templates() if template.name == protocol)


def addresses(template: Template) -> dict[str, str]:
    """``machine.key`` -> what the example has there: what a technician has to say of each machine's ``connect``."""
    document = read_document(template.file)
    found: dict[str, str] = {}
    for machine in template.machines:
        connect = document.node(("machines", machine, "connect"))
        for key in _ADDRESS_KEYS:
            node = connect.get(key) if isinstance(connect, MappingNode) else None
            if isinstance(node, ScalarNode):
                found[f"{machine}.{key}"] = str(node.value)
    return found


def made(template: Template, identity: Mapping[str, str], broker: str, connect: Mapping[str, str]) -> str:
    """The new file's text. ``connect`` is ``machine.key`` -> value. Raises SetupError for what the example has not."""
    text = template.file.read_text(encoding="utf-8")
    known = addresses(template)
    for name in connect:
        if name not in known:
            hint = did_you_mean(name, known) or (f"there are {', '.join(known)}" if known else "there is none")
            raise SetupError(f"--connect {name}: template {template.name} has no such address; {hint}")
    values: dict[KeyPath, str] = {("station", key): value for key, value in identity.items()}
    values[("broker", "url")] = broker
    for name, value in connect.items():
        machine, _, key = name.partition(".")
        values[("machines", machine, "connect", key)] = value
    document = read_document(template.file)
    places = {path: document.place(path) for path in values}
    lines = text.split("\n")
    # From the end, so that what stands before keeps its place.
    for path in sorted(values, key=lambda one: (places[one].line or 0, places[one].column or 0), reverse=True):
        line, column = places[path].line, places[path].column
        assert line is not None
        assert column is not None
        lines[line - 1] = _with_value(lines[line - 1], column - 1, values[path])
    return "\n".join([*_headed(lines, template, identity["id"])])


def _with_value(line: str, at: int, value: str) -> str:
    found = _SCALAR.match(line, at)
    assert found is not None
    is_number = found[0].isdecimal() and value.isdecimal()
    written = value if is_number or _is_plain(value) else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return line[:at] + written + line[found.end() :]


def _is_plain(value: str) -> bool:
    return _PLAIN.fullmatch(value) is not None and not value.replace(".", "").isdecimal() and ": " not in value


def _headed(lines: Iterable[str], template: Template, station: str) -> list[str]:
    """The comment at the top is the example's: what it says of the machine stays, its own name and path go."""
    rest = [line for line in lines if not line.startswith(("# yaml-language-server", "# Check this file"))]
    if rest and rest[0].startswith(f"# {template.name}: "):
        rest[0] = rest[0].replace(f"# {template.name}: ", f"# {station}: ", 1)
    steps = (
        "# yaml-language-server: $schema=/etc/neurohub/schema.json",
        f"# Made from the template {template.name}: points, addresses and limits are examples; write your machine's.",
        "# Then: neurohub-agent check FILE, probe FILE (reads every point once), run FILE.",
    )
    return [*steps, *rest]


def write(file: Path, text: str, *, replace: bool) -> str:
    """Write the file and check it. What ``check`` says of it. Raises SetupError."""
    if file.exists() and not replace:
        raise SetupError(f"{file} is there already; give another name with --output, or --force to replace it")
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SetupError(f"{file} cannot be written: {error.strerror or error}") from error
    found = checked(file)
    if found.settings is None:
        raise SetupError("\n".join(map(str, found.issues)))
    return found.summary
