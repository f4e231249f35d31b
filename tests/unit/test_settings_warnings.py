"""What is allowed in a settings file and likely to be regretted: told with its place, and no mistake."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli import app
from agent.settings import SettingsError, load
from drivers.ports import unstable

STATION = """\
station: {id: P02-A, site: gimcheon, line: KR01, process: P02_LMA_ASSEMBLY}
broker: {url: mqtt://127.0.0.1:1883}
machines:
  scanner:
    protocol: serial
    connect: {port: /dev/ttyUSB0}
    frame: {idle: 20ms}
    message: {format: whole}
    points: {serial_number: {whole: true}}
"""


def test_check_warns_with_the_place_and_the_remedy_and_is_content(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(STATION, encoding="utf-8")

    result = CliRunner().invoke(app, ["check", str(file)])

    assert result.exit_code == 0
    absent, port, idle = result.stderr.splitlines()
    assert absent.startswith(f"{file}:6:21 machines.scanner.connect.port: warning: there is no /dev/ttyUSB0 on this")
    assert port.startswith(f"{file}:6:21 machines.scanner.connect.port: warning: /dev/ttyUSB0 is given out")
    assert "/dev/serial/by-id/" in port
    assert idle.startswith(f"{file}:7:19 machines.scanner.frame.idle: warning: ")
    assert "right; station P02-A" in result.stdout


@pytest.mark.parametrize(
    ("api", "told"),
    [
        ("url: 'http://mes.local'", "interlock.http.url: warning: over http:// the password can be read"),
        (
            "url: 'https://mes.local', ca: /nowhere/ca.pem",
            "interlock.http.ca: warning: there is no file /nowhere/ca.pem",
        ),
        ("url: 'http://127.0.0.1:8000'", None),
    ],
)
def test_a_second_way_that_is_open_or_cannot_work_is_told(api: str, told: str | None, tmp_path: Path) -> None:
    file, port, secret = tmp_path / "station.yaml", tmp_path / "usb-FTDI_A1", tmp_path / "secret"
    port.touch()
    secret.write_text("12345\n", encoding="utf-8")
    text = STATION.replace("/dev/ttyUSB0", str(port)).replace("{idle: 20ms}", '{end: "\\r"}')
    http = f"{{{api}, username: P02-A, password: 'file:{secret}'}}"
    file.write_text(f"{text}interlock: {{http: {http}}}\n", encoding="utf-8")
    warnings = [str(warning) for warning in load(file).warnings]
    assert len(warnings) == (told is not None)
    assert all(told is not None and told in warning for warning in warnings)


def test_a_lasting_name_is_no_warning(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    port = tmp_path / "usb-FTDI_A1"
    port.touch()
    lasting = STATION.replace("/dev/ttyUSB0", str(port)).replace("{idle: 20ms}", '{end: "\\r"}')
    file.write_text(lasting, encoding="utf-8")
    assert load(file).warnings == ()


@pytest.mark.parametrize(
    ("frame", "is_told"),
    [
        ("{fixed: 8, checksum: {type: xor}}", True),
        ('{fixed: 8, start: "\\x02", checksum: {type: xor}}', False),
        ("{fixed: 8, checksum: {type: crc16-modbus}}", False),
        ('{end: "\\r", checksum: {type: sum8}}', False),
    ],
)
def test_a_checksum_that_noise_meets_is_told(frame: str, is_told: bool, tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(STATION.replace("{idle: 20ms}", frame), encoding="utf-8")
    told = [issue for issue in map(str, load(file).warnings) if "frame.checksum: warning: 8 bits alone" in issue]
    assert bool(told) == is_told


@pytest.mark.parametrize("port", ["/dev/ttyUSB0", "/dev/ttyACM12"])
def test_the_lasting_name_of_a_port_that_is_there_is_told(port: str, tmp_path: Path) -> None:
    (tmp_path / "usb-FTDI_A1-if00-port0").symlink_to(port)
    (tmp_path / "usb-other").symlink_to("/dev/ttyUSB7")
    assert f"write {tmp_path}/usb-FTDI_A1-if00-port0" in str(unstable(port, tmp_path))


@pytest.mark.parametrize("port", ["/dev/ttyS0", "/dev/ttyAMA0", "/dev/serial/by-id/usb-FTDI_A1", "/dev/scanner"])
def test_ports_that_are_no_adapters_keep_their_names(port: str) -> None:
    assert unstable(port) is None


def test_a_file_that_is_not_there_is_told_before_the_station_runs(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    secured = f"broker: {{url: mqtts://mes.local, ca: {tmp_path}/ca.crt}}\nstate_dir: {file}"
    file.write_text(STATION.replace("broker: {url: mqtt://127.0.0.1:1883}", secured), encoding="utf-8")

    ca, state_dir, *_ = map(str, load(file).warnings)

    assert ca == (
        f"{file}:2:38 broker.ca: warning: there is no file {tmp_path}/ca.crt on this computer; "
        "without it the station reaches no broker"
    )
    assert state_dir.endswith(f"state_dir: warning: {file} is no folder on this computer; let state_dir name a folder")


def test_what_a_machine_needs_and_this_computer_has_not_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Ports, printers, programs and certificates; what is there is not told."""
    there = tmp_path / "user.crt"
    there.touch()
    file = tmp_path / "station.yaml"
    station, _, _ = STATION.partition("machines:")
    file.write_text(
        f"""{station}machines:
  tester:
    protocol: opcua
    connect:
      url: opc.tcp://tester.line:4840
      security: {{policy: Basic256Sha256, certificate: /absent/own.crt, key: {there}, trusted: {tmp_path}}}
      user: {{certificate: {there}, key: /absent/user.key}}
    trigger: {{point: n}}
    points: {{n: {{node_id: "ns=2;s=n"}}, serial_number: {{node_id: "ns=2;s=code"}}}}
    companions: [{{machine: flasher, timeout: 2m}}, {{machine: printer, timeout: 2m}}, {{machine: gauge, timeout: 2m}}]
  flasher:
    protocol: process
    run: {{program: /absent/JLinkExe}}
    points: {{flashed: {{run: verdict}}}}
    records: false
  printer:
    protocol: label
    connect: {{transport: usb, device: /dev/absent/lp0}}
    template: "^XA^FD{{serial_number}}^FS^XZ"
    points: {{printed: {{status: printed}}}}
    records: false
  gauge:
    protocol: serial
    connect: {{port: /dev/serial/by-id/absent}}
    message: {{format: whole}}
    request: {{send: "?"}}
    points: {{force: {{whole: true, type: float}}}}
    records: false
""",
        encoding="utf-8",
    )

    told = {issue.path.removeprefix("machines."): issue for issue in load(file).warnings}

    assert set(told) == {
        "tester.connect.security.certificate",
        "tester.connect.user.key",
        "flasher.run.program",
        "printer.connect.device",
        "gauge.connect.port",
    }
    assert "no /absent/JLinkExe on this computer; install the tool" in str(told["flasher.run.program"])
    assert "neurohub-agent trust makes it" in str(told["tester.connect.security.certificate"])
    assert told["flasher.run.program"].line == 15


@pytest.mark.parametrize(("written", "meant"), [("STX", r"\x02"), ("<CR>", r"\r"), ("crlf", r"\r\n")])
def test_the_name_of_a_control_character_is_told_to_be_letters(written: str, meant: str, tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(STATION.replace("{idle: 20ms}", f'{{end: "{written}"}}'), encoding="utf-8")
    told = [str(issue) for issue in load(file).warnings if issue.path.endswith("frame.end")]
    assert [f'write "{meant}" for the one byte' in one for one in told] == [True]


@pytest.mark.parametrize(
    ("more", "acknowledge", "warned"),
    [
        ("", "write: {coil: 1, value: true}", True),
        (", counter: n", "write: {coil: 1, value: true}", False),
        ("", "four_phase: {ready: {coil: 0}, ack: {coil: 1}}", False),
    ],
)
def test_a_flag_that_is_acknowledged_by_one_write_is_warned_of(
    more: str, acknowledge: str, warned: bool, tmp_path: Path
) -> None:
    file = tmp_path / "station.yaml"
    station, _, _ = STATION.partition("machines:")
    file.write_text(
        f"""{station}machines:
  scale:
    protocol: modbus
    connect: {{transport: tcp, host: scale}}
    trigger: {{point: ready, on: rising, poll: 100ms{more}}}
    points: {{ready: {{coil: 0}}, n: {{holding_register: 0, type: uint16}}}}
    acknowledge: {{{acknowledge}}}
""",
        encoding="utf-8",
    )
    told = [issue for issue in load(file).warnings if issue.path == "machines.scale.trigger.on"]
    assert bool(told) is warned


def test_a_duration_that_is_too_short_is_told_a_duration(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(STATION.replace("idle: 20ms", "idle: 1ms"), encoding="utf-8")
    with pytest.raises(SettingsError, match="out of range; expected at least 2ms"):
        load(file)


OPCUA = """machines:
  marker:
    protocol: opcua
    connect: {url: opc.tcp://marker.line:4840}
    trigger: {point: ready, on: rising}
    points: {ready: {node_id: "ns=2;s=ready"}, n: {node_id: "ns=2;s=n"}, serial_number: {node_id: "ns=2;s=code"}}
    acknowledge: {four_phase: {ready: {node_id: "ns=2;s=ready"}, ack: {node_id: "ns=2;s=ack"}}}
"""


def test_a_handshake_without_a_number_is_told_to_leave_repeats_open(tmp_path: Path) -> None:
    """Ready says that a result waits, not which: after a crash it may be the one that is kept."""
    file = tmp_path / "station.yaml"
    station, _, _ = STATION.partition("machines:")
    file.write_text(station + OPCUA, encoding="utf-8")
    (told,) = map(str, load(file).warnings)
    assert told.startswith(f"{file}:9:5 machines.marker.acknowledge: warning: without cycle_key a result")
    assert "let cycle_key name the point" in told
    file.write_text(f"{station}{OPCUA}    cycle_key: n\n", encoding="utf-8")
    assert load(file).warnings == ()


@pytest.mark.parametrize(
    ("trigger", "warned"),
    [
        ("{point: ready, on: rising, poll: 100ms}", True),
        ("{point: ready, on: value, equals: true, poll: 100ms}", True),
        ("{point: ready, on: rising}", False),
        ("{point: n, poll: 100ms}", False),
    ],
)
def test_a_flag_that_is_asked_for_is_warned_of(trigger: str, warned: bool, tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    station, _, _ = STATION.partition("machines:")
    marker, _, _ = OPCUA.partition("    acknowledge")
    file.write_text(station + marker.replace("{point: ready, on: rising}", trigger), encoding="utf-8")
    told = [issue for issue in load(file).warnings if issue.path == "machines.marker.trigger.poll"]
    assert bool(told) is warned
