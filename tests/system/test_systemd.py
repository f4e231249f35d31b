"""The units: nothing in them for systemd to complain of, little to attack, and the commands they start keep time."""

import asyncio
import configparser
import os
import re
import shlex
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import pytest

from drivers.registry import OURS
from tests.support.brokers import free_port
from tests.support.processes import ROOT, Process

UNITS = ROOT / "systemd"
AGENT, CENTRAL, PERMITS = "neurohub-agent@.service", "neurohub-central.service", "neurohub-permits.service"
API = "neurohub-api.service"
# The highest exposure allowed, times ten. The agent's is the price of its devices (no PrivateDevices, no PrivateUsers,
# groups dialout and lp); what is left in both is the network they are for.
EXPOSURE = {AGENT: 15, CENTRAL: 11, PERMITS: 11, API: 11}


def copy(unit: str, folder: Path) -> Path:
    """The unit with its programs replaced by one that is on every machine."""
    text = (UNITS / unit).read_text(encoding="utf-8")
    placed = folder / unit
    placed.write_text(re.sub(r"/opt/neurohub/bin/[\w-]+", "/bin/true", text), encoding="utf-8")
    return placed


def analyze(*arguments: str | Path) -> str:
    """What systemd-analyze says, all of it. Fails when it finds fault."""
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", "--man=no", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("unit", "instance"), [(AGENT, "neurohub-agent@P03-A.service"), (CENTRAL, CENTRAL), (PERMITS, PERMITS), (API, API)]
)
def test_systemd_reads_the_unit_without_a_word(unit: str, instance: str, tmp_path: Path) -> None:
    placed = copy(unit, tmp_path).rename(tmp_path / instance)
    said = analyze("verify", "--recursive-errors=no", placed)
    assert [line for line in said.splitlines() if "neurohub" in line] == []


def test_a_mistake_in_a_unit_is_seen(tmp_path: Path) -> None:
    placed = copy(CENTRAL, tmp_path)
    placed.write_text(placed.read_text().replace("WatchdogSec=60s", "WatchdogSecs=60s"))
    with pytest.raises(AssertionError, match="WatchdogSecs"):
        assert "neurohub" not in analyze("verify", "--recursive-errors=no", placed)


@pytest.mark.parametrize("unit", [AGENT, CENTRAL, PERMITS, API])
def test_the_unit_leaves_little_to_attack(unit: str, tmp_path: Path) -> None:
    analyze("security", "--offline=true", f"--threshold={EXPOSURE[unit]}", copy(unit, tmp_path))


def test_the_user_of_the_units_is_made_with_access_to_its_devices(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", UNITS / "neurohub.sysusers.conf"], check=True, capture_output=True
    )
    groups = (tmp_path / "etc" / "group").read_text()
    for group in settings_of(AGENT)["supplementarygroups"].split():
        assert re.search(rf"^{group}:x:\d+:neurohub$", groups, re.MULTILINE)
    for unit in (AGENT, CENTRAL, PERMITS, API):
        assert settings_of(unit)["user"] == "neurohub"


SERIAL_PORT = ({"char-ttyS", "char-ttyUSB", "char-ttyACM", "char-ttyAMA"}, "dialout")
USB_PRINTER = ({"char-usb"}, "lp")  # the kernel's drivers/usb/core/file.c: major 180, "usb"; usblp's minors are in it
NEEDS = {
    ("opcua", "url"): None,
    ("modbus", "tcp"): None,
    ("modbus", "udp"): None,
    ("modbus", "tls"): None,
    ("modbus", "rtu_over_tcp"): None,
    ("modbus", "rtu"): SERIAL_PORT,
    ("modbus", "ascii"): SERIAL_PORT,
    ("serial", "port"): SERIAL_PORT,
    ("serial", "url"): None,
    ("label", "tcp"): None,
    ("label", "serial"): SERIAL_PORT,
    ("label", "usb"): USB_PRINTER,
    ("process", "run"): None,  # its tool's devices are the site's to allow
}
"""Protocol and way of connecting -> the device classes and the group that opens their nodes."""


def ways_to_connect() -> Iterator[tuple[str, str]]:
    """Every protocol with each transport its settings know; the keys of an address where it has no transports."""
    for name, folder in OURS.items():
        connect = folder.settings().model_fields.get("connect")
        if connect is None:
            yield name, "run"
            continue
        for model in get_args(connect.annotation) or (connect.annotation,):
            if "transport" in model.model_fields:
                yield from ((name, transport) for transport in get_args(model.model_fields["transport"].annotation))
            else:
                yield from ((name, key) for key in ("port", "url") if key in model.model_fields)


def test_the_unit_allows_every_device_that_a_protocol_is_connected_by() -> None:
    assert set(ways_to_connect()) == set(NEEDS), "say here which devices a new way of connecting opens"
    lines = (UNITS / AGENT).read_text(encoding="utf-8").splitlines()
    allowed = {line.removeprefix("DeviceAllow=") for line in lines if line.startswith("DeviceAllow=")}
    groups = settings_of(AGENT)["supplementarygroups"].split()
    for way, needed in NEEDS.items():
        if needed is not None:
            classes, group = needed
            assert {f"{one} rw" for one in classes} <= allowed, way
            assert group in groups, way


def test_what_a_unit_points_to_is_where_the_installation_puts_it() -> None:
    placed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["data-files"]
    there = {f"file:///opt/neurohub/{folder}/{file}" for folder, files in placed.items() for file in files}
    for unit in (AGENT, CENTRAL, API):
        assert re.findall(r"^Documentation=(.+)$", (UNITS / unit).read_text(), re.MULTILINE)[0] in there


def settings_of(unit: str) -> Mapping[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNITS / unit, encoding="utf-8")
    return parser["Service"]


def command_of(unit: str, **places: str) -> list[str]:
    """What the unit starts, from this environment instead of /opt/neurohub, with these places put in."""
    command = settings_of(unit)["execstart"].replace("/opt/neurohub/bin", str(Path(sys.executable).parent))
    for old, new in places.items():
        command = command.replace({"station": "/etc/neurohub/stations/%i.yaml"}[old], new)
    return shlex.split(command)


@pytest.mark.parametrize(
    ("state_dir", "ends_with", "says", "tried_again"),
    [
        ("/proc/neurohub", 1, "may this user write there?", True),
        ("{tmp_path}/file", 1, "is no folder; let state_dir name a folder", True),
        ("var/lib", 2, "an absolute path is needed", False),
    ],
)
def test_only_a_wrong_file_ends_a_station_for_good(
    state_dir: str, ends_with: int, says: str, tried_again: bool, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    override = "state_dir=" + state_dir.format(tmp_path=tmp_path)
    command = command_of(AGENT, station=str(ROOT / "config" / "stations" / "P03-A.yaml"))
    done = subprocess.run([*command, "--set", override], capture_output=True, text=True, check=False, timeout=30)

    assert says in done.stderr
    assert done.returncode == ends_with
    assert (str(ends_with) not in settings_of(AGENT)["restartpreventexitstatus"].split()) == tried_again


class Notifications:
    """The receiving end of sd_notify: what a service tells systemd, one message after the other."""

    def __init__(self, path: Path) -> None:
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "100000"}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    async def next(self) -> str:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            return (await loop.sock_recv(self._socket, 4096)).decode()

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notifications]:
    ours = Notifications(tmp_path_factory.mktemp("n") / "s")  # a unix socket's path is bounded
    yield ours
    ours.close()


async def keeps_time(systemd: Notifications, process: Process) -> None:
    """READY first, then the watchdog's food in its rhythm, and a clean end on SIGTERM."""
    assert await systemd.next() == "READY=1"
    assert [await systemd.next() for _ in range(5)] == ["WATCHDOG=1"] * 5
    assert await process.stop() == 0, process.output


async def test_a_station_is_ready_and_keeps_time_without_broker_and_machine(
    systemd: Notifications, tmp_path: Path
) -> None:
    station = tmp_path / "P03-A.yaml"
    text = (ROOT / "config" / "stations" / "P03-A.yaml").read_text(encoding="utf-8")
    station.write_text(f"{text}\nstate_dir: {tmp_path / 'state'}\n")
    command = [*command_of(AGENT, station=str(station)), "--set", f"broker.url=mqtt://127.0.0.1:{free_port()}"]
    command += [
        "--set",
        "machines.tester.connect.host=127.0.0.1",
        "--set",
        f"machines.tester.connect.port={free_port()}",
    ]
    async with Process(command, env=systemd.environment) as process:
        await keeps_time(systemd, process)


async def test_a_wrong_station_file_ends_with_the_code_that_is_not_started_again(tmp_path: Path) -> None:
    station = tmp_path / "P03-A.yaml"
    station.write_text("station: {id: P03-A}\n")
    async with Process(command_of(AGENT, station=str(station))) as process:
        assert await process.ended() == int(settings_of(AGENT)["restartpreventexitstatus"])


async def test_central_is_ready_and_keeps_time_without_a_broker_and_a_file_of_its_own(
    systemd: Notifications, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without central.env, which the minus lets be absent, it keeps a SQLite file in the folder the unit gives it."""
    assert settings_of(CENTRAL)["environmentfile"].startswith("-/")
    monkeypatch.delenv("DATABASE_URL", raising=False)
    environment = {"BROKER_URL": f"mqtt://127.0.0.1:{free_port()}"}
    migrate = [*command_of(CENTRAL)[:-1], settings_of(CENTRAL)["execstartpre"].split()[-1]]
    async with Process(migrate, env=environment, cwd=tmp_path) as process:
        assert await process.ended() == 0, process.output
    async with Process(command_of(CENTRAL), env={**environment, **systemd.environment}, cwd=tmp_path) as process:
        await keeps_time(systemd, process)
    assert "neurohub.db" in os.listdir(tmp_path)
