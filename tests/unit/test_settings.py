"""What load() makes of a right file: defaults, derived settings, overrides; and that no file makes it stumble."""

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.settings import Issue, SettingsError, StationSettings, load
from contracts.criteria import Outcome, judge
from contracts.errors import SetupError
from contracts.measurement import Measurement
from contracts.record import Part
from documents.issues import closest
from documents.reading import MAX_BYTES
from documents.scalars import plain_scalar
from drivers import registry
from tests.support.wire import BROKEN, WIRE, WireSettings

STATIONS = sorted((Path(__file__).parents[2] / "config" / "stations").glob("*.yaml"))

YAML = """\
station: {id: P03-A, site: gimcheon, line: KR01, process: P03_SENSOR_INSPECTION}
broker: {url: mqtt://127.0.0.1}
machines:
  tester:
    protocol: wire
    connect: {transport: tcp, host: tester.line}
    trigger: {point: n}
    points:
      n: {at: 0, type: uint16}
      serial_number: {at: 1}
      temperature: {at: 2, unit: degC}
      forces: {at: 3, unit: kgf}
      targets: {at: 4, unit: kgf}
      judgement: {at: 5}
      seconds: {at: 6, unit: s}
    cycle_key: n
    cycle_time: seconds
    machine_verdict: {point: judgement, pass: 1, fail: 2}
    tables: {test_points: {force: forces, target: targets}}
criteria:
  temperature: {nominal: 60, tolerance: 1, unit: degC}
"""

Load = Callable[..., StationSettings]
Refused = Callable[..., list[str]]


@pytest.fixture(autouse=True)
def _wire(monkeypatch: pytest.MonkeyPatch) -> None:
    plugins = [
        SimpleNamespace(name="wire", load=lambda: WIRE),
        SimpleNamespace(name="broken", load=lambda: BROKEN),
        SimpleNamespace(name="gone", value="gone:PROTOCOL", load=lambda: import_module("no_such_package")),
        SimpleNamespace(name="other", value="other:main", load=lambda: print),
        SimpleNamespace(name="modbus", load=lambda: WIRE),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: plugins)


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    def _load(text: str = YAML, *overrides: str) -> StationSettings:
        file = tmp_path / "station.yaml"
        file.write_text(text, encoding="utf-8")
        return load(file, overrides)

    return _load


@pytest.fixture
def refused(tmp_path: Path, loaded: Load) -> Refused:
    """The lines of the refusal, the folder left out."""

    def _refused(text: str = YAML, *overrides: str) -> list[str]:
        with pytest.raises(SettingsError) as error:
            loaded(text, *overrides)
        return str(error.value).replace(f"{tmp_path}/", "").splitlines()

    return _refused


def changed(old: str, new: str) -> str:
    assert YAML.count(old) == 1, f"{old!r} stands {YAML.count(old)} times in the test's file"
    return YAML.replace(old, new)


# -- a right file ----------------------------------------------------------------------------------------------------


def test_defaults_are_filled_in_from_the_points(loaded: Load) -> None:
    station = loaded()
    tester = station.machines["tester"]

    assert (station.retention, station.resend_after) == (30 * 86400.0, 10.0)
    assert station.state_dir == Path("/var/lib/neurohub/P03-A")
    assert tester.unit.serial_number == "serial_number"
    assert tester.unit.lot_number is None
    assert tester.measurements == ("temperature",), "trigger, identity, verdict, time and columns are none"
    assert tester.measurement_names == ("temperature", "test_points")
    assert tester.counter_modulus == 65536
    assert tester.unit_of("forces") == "kgf"
    assert isinstance(tester.protocol_settings, WireSettings)
    assert (tester.records, tester.companions) == (True, ())
    assert (tester.reconnect.initial, tester.reconnect.max) == (1.0, 30.0)


@pytest.mark.parametrize(
    ("change", "modulus"),
    [
        (("type: uint16", "type: uint32"), 2**32),
        (("type: uint16", "type: float32"), None),
        (("cycle_key: n\n", "cycle_key: n\n    counter_modulus: 1000\n"), 1000),
        (("    cycle_key: n\n", ""), None),
    ],
)
def test_where_the_counter_wraps(loaded: Load, change: tuple[str, str], modulus: int | None) -> None:
    assert loaded(changed(*change)).machines["tester"].counter_modulus == modulus


def test_a_listed_identity_is_a_measurement_too(loaded: Load) -> None:
    text = changed("cycle_key: n\n", "cycle_key: n\n    measurements: [serial_number, temperature]\n")
    assert loaded(text).machines["tester"].measurements == ("serial_number", "temperature")


def test_companions_measurements_carry_their_machines_name(loaded: Load) -> None:
    text = changed("cycle_key: n\n", "cycle_key: n\n    companions: [{machine: printer, timeout: 3s}]\n")
    text = text.replace("criteria:\n", "criteria:\n  printer.printed: {equals: true}\n")
    text = text.replace(
        "criteria:\n",
        "  printer: {protocol: wire, connect: {transport: rtu, port: C}, points: {printed: {at: 1}}, records: false}\n"
        "criteria:\n",
    )
    station = loaded(text)
    assert station.machines["tester"].companions[0].timeout == 3.0
    assert station.machines["printer"].measurements == ("printed",)
    assert not station.machines["printer"].records


def test_criteria_revision_names_their_content(loaded: Load) -> None:
    first = loaded().criteria_set()
    reordered = loaded(changed("{nominal: 60, tolerance: 1, unit: degC}", "{unit: degC, tolerance: 1, nominal: 60}"))
    other = loaded(changed("tolerance: 1", "tolerance: 2"))

    assert re.fullmatch(r"yaml-[0-9a-f]{12}", first.revision)
    assert reordered.criteria_set().revision == first.revision
    assert other.criteria_set().revision != first.revision
    measurement = Measurement(name="temperature", value=60.5, unit="degC")
    assert judge([measurement], first).outcome is Outcome.PASS


def test_a_station_without_criteria_never_passes(loaded: Load) -> None:
    criteria = loaded(YAML[: YAML.index("criteria:")]).criteria_set()
    assert criteria.criteria == {}
    assert judge([Measurement(name="temperature", value=60)], criteria).outcome is Outcome.ERROR


def test_part_patterns_match_the_whole_number(loaded: Load) -> None:
    patterns = loaded(
        "part_patterns: {golden_sample: GOLD-.*, dry_run: DRY, calibration: CAL-.}\n" + YAML
    ).part_patterns
    assert patterns.part("GOLD-1") is Part.GOLDEN_SAMPLE
    assert patterns.part("DRY") is Part.DRY_RUN
    assert patterns.part("CAL-7") is Part.CALIBRATION
    assert patterns.part("CAL-77") is Part.PRODUCT
    assert patterns.part("SN-DRY") is Part.PRODUCT
    assert patterns.part(None) is Part.PRODUCT


def test_the_brokers_address(loaded: Load) -> None:
    plain = loaded().broker.addresses()[0]
    assert (str(plain), plain.tls) == ("mqtt://127.0.0.1:1883", False)
    url = "{url: mqtts://mes:8884, ca: /c, cert: /p, key: /k, username: u, password_file: /s}"
    secure = loaded(changed("{url: mqtt://127.0.0.1}", url)).broker.addresses("geheim")[0]
    assert (str(secure), secure.username, secure.password) == ("mqtts://mes:8884", "u", "geheim")
    assert (secure.ca, secure.cert, secure.key) == (Path("/c"), Path("/p"), Path("/k"))


def test_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + YAML.encode())
    assert load(file).station.id == "P03-A"


@pytest.mark.parametrize("file", STATIONS, ids=lambda path: path.stem)
def test_the_lines_own_stations_load(file: Path) -> None:
    station = load(file)
    assert station.station.id == file.stem
    assert station.criteria
    for machine in station.machines.values():
        if machine.records:
            assert machine.unit.serial_number is not None
            assert machine.cycle_key is not None
            assert machine.counter_modulus is None or machine.counter_modulus > 1


def test_there_is_a_station_for_every_process() -> None:
    assert {file.stem for file in STATIONS} == {f"P0{number}-A" for number in range(1, 9)} | {"P03-B"}


# -- overrides -------------------------------------------------------------------------------------------------------


def test_an_override_changes_and_adds_values(loaded: Load) -> None:
    station = loaded(
        YAML,
        "broker.url=mqtt://127.0.0.1:41883",
        "machines.tester.connect.port=1502",
        "machines.tester.connect.host=127.0.0.1",
        "state_dir=/tmp/neurohub",
        "resend_after=500ms",
        "criteria.temperature.tolerance=2.5",
        "operator=",
    )
    connect = station.machines["tester"].protocol_settings.connect  # type: ignore[attr-defined]  # wire's own
    assert (connect.host, connect.port) == ("127.0.0.1", 1502)
    assert str(station.broker.addresses()[0]) == "mqtt://127.0.0.1:41883"
    assert station.state_dir == Path("/tmp/neurohub")
    assert station.resend_after == 0.5
    assert station.criteria["temperature"].tolerance == 2.5
    assert station.operator is None


def test_an_override_reaches_into_lists_and_keys_with_dots(loaded: Load) -> None:
    text = changed("cycle_key: n\n", "cycle_key: n\n    tags: [a, b]\n    companions: [{machine: printer}]\n")
    text = text.replace(
        "criteria:\n",
        "  printer: {protocol: wire, connect: {transport: rtu, port: COM1}, points: {grade: {at: 1}}, records: false}\n"
        "criteria:\n  printer.grade: {upper: 3}\n",
    )
    station = loaded(
        text,
        "machines.tester.companions.0.timeout=2s",
        "machines.tester.tags.1=c",
        "criteria.printer.grade.upper=4",
    )
    assert station.machines["tester"].companions[0].timeout == 2.0
    assert station.machines["tester"].protocol_settings.tags == ("a", "c")  # type: ignore[attr-defined]  # wire's own
    assert station.criteria["printer.grade"].upper == 4


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("machines.tester.connect.port=70000", "out of range; expected at most 65535, found 70000"),
        (
            "machines.tester.connect.port='1502'",
            'wrong type; expected a whole number, found the text "1502"; take the quotes away',
        ),
        ("machines.testr.cycle_key=n", 'machines has no testr; did you mean "tester"?'),
        ("machines.tester.companions.0.timeout=1s", "machines.tester has no companions"),
        ("machines.tester.trigger.point=m", 'unknown point "m"; expected one of n, serial_number,'),
    ],
)
def test_a_wrong_override_is_told_where_it_was_given(refused: Refused, override: str, line: str) -> None:
    (told,) = refused(YAML, override)
    assert told.startswith(f"--set {override.partition('=')[0]}: {line}")


def test_a_list_tells_its_size(refused: Refused) -> None:
    text = changed("cycle_key: n\n", "cycle_key: n\n    tags: [a, b]\n")
    assert refused(text, "machines.tester.tags.2=c") == [
        "--set machines.tester.tags.2: machines.tester.tags has 2 entries; expected 0 to 1"
    ]


# -- mistakes --------------------------------------------------------------------------------------------------------


def test_an_error_holds_every_issue_by_position(loaded: Load) -> None:
    text = changed("host: tester.line", "host: 5").replace("tolerance: 1", "tolerance: -1")
    with pytest.raises(SettingsError) as error:
        loaded(text, "retention=1")
    assert isinstance(error.value, SetupError)
    assert [(issue.line, issue.column, issue.path) for issue in error.value.issues] == [
        (6, 37, "machines.tester.connect.host"),
        (21, 41, "criteria.temperature.tolerance"),
        (None, None, "retention"),
    ]
    assert all(isinstance(issue, Issue) and issue.message for issue in error.value.issues)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "transport: tcp, host",
            "transport: tpc, host",
            "6:26 machines.tester.connect.transport: unknown value; expected one of tcp, rtu, "
            'found the text "tpc"; did you mean "tcp"?',
        ),
        (
            "transport: tcp, host: tester.line",
            "host: tester.line",
            "6:5 machines.tester.connect.transport: missing key; expected one of tcp, rtu",
        ),
        (
            "transport: tcp, host: tester.line",
            "transport: tcp",
            "6:5 machines.tester.connect.host: missing key",
        ),
        (
            "transport: tcp, host: tester.line",
            "transport: rtu, port: 5, tcp: x",
            "6:37 machines.tester.connect.port: wrong type; expected a text, found 5; put it in quotes",
        ),
        (
            "transport: tcp, host: tester.line",
            "transport: tcp, hots: tester.line",
            "6:31 machines.tester.connect.hots: unknown key; expected one of transport, host, port; "
            'did you mean "host"?',
        ),
        (
            "    trigger: {point: n}\n",
            "    trigger: {point: n}\n    ready: {low: 1, hihg: 2}\n",
            "8:21 machines.tester.ready.hihg: unknown key; expected one of text, length, low, high; "
            'did you mean "high"?',
        ),
        (
            "    trigger: {point: n}\n",
            "    trigger: {point: n}\n    ready: {text: a, length: 0}\n",
            "8:30 machines.tester.ready.length: out of range; expected at least 1, found 0",
        ),
        (
            "    trigger: {point: n}\n",
            "    trigger: {point: n}\n    ready: 5\n",
            "8:12 machines.tester.ready: wrong type; expected keys with values, found 5",
        ),
        (
            "    trigger: {point: n}\n",
            "    trigger: {point: n}\n    tags: [a, 1]\n",
            "8:15 machines.tester.tags.1: wrong type; expected a text, found 1; put it in quotes",
        ),
        (
            "serial_number: {at: 1}",
            "serial.number: {at: 1}",
            "10:7 machines.tester.points.serial.number: a point's name holds no dot; machine.point names",
        ),
        (
            "serial_number: {at: 1}",
            '"serial (1)": {at: 1}',
            "10:7 machines.tester.points.serial (1): a point's name becomes a measurement's; expected letters, digits",
        ),
        (
            "protocol: wire",
            "protocol: broken",
            "5:15 machines.tester.protocol: protocol cannot be loaded: No module named 'no_such_package'; "
            "install it again",
        ),
        (
            "protocol: wire",
            "protocol: gone",
            "5:15 machines.tester.protocol: protocol cannot be loaded: No module named 'no_such_package'; install",
        ),
        (
            "protocol: wire",
            "protocol: other",
            "5:15 machines.tester.protocol: protocol cannot be loaded: other:main is no ProtocolFolder; install it",
        ),
        ("protocol: wire", "protocol: [wire]", "5:5 machines.tester.protocol: unknown protocol; expected one of"),
        (
            "tables: {test_points:",
            "tables: {temperature:",
            '19:14 machines.tester.tables.temperature: a point is named "temperature" too; rename one',
        ),
        (
            "    cycle_key: n\n",
            "    measurements: [temperature, temperature]\n    cycle_key: n\n",
            '16:33 machines.tester.measurements.1: "temperature" is listed twice',
        ),
        (
            "    cycle_key: n\n",
            "    counter_modulus: 10\n",
            "16:22 machines.tester.counter_modulus: counts nothing without cycle_key; add cycle_key",
        ),
        (
            "    cycle_key: n\n",
            "    acknowledge: done {cycle_key}\n",
            "16:18 machines.tester.acknowledge: {cycle_key} has no value: the machine has no cycle_key",
        ),
        (
            "    cycle_key: n\n",
            "    cycle_key: n\n    companions: [{machine: tester}]\n",
            "17:28 machines.tester.companions.0.machine: a machine is not its own companion",
        ),
        (
            "    cycle_key: n\n",
            "    cycle_key: n\n    records: false\n",
            "17:14 machines.tester.records: nothing would use this machine; "
            "list it as a companion of another machine, let a machine's unit or a step's from name its points, or take "
            "records: false away",
        ),
        (
            "    cycle_key: n\n",
            "    cycle_key: n\n    reconnect: {initial: 1m}\n",
            '17:26 machines.tester.reconnect.initial: the first wait is longer than max; found the text "1m"',
        ),
        ("{nominal: 60, tolerance: 1, unit: degC}", "5", "21:16 criteria.temperature: wrong type; expected keys"),
        (
            "{nominal: 60, tolerance: 1, unit: degC}",
            "{nominal: 60, tolerance: 1, unit: degC, defect: x}",
            "21:64 criteria.temperature.defect: not of the right form; expected a defect code",
        ),
        (
            "{nominal: 60, tolerance: 1, unit: degC}",
            "{same_as: temperature, unit: degC}",
            "21:26 criteria.temperature.same_as: every value is the same as itself",
        ),
        (
            "{nominal: 60, tolerance: 1, unit: degC}",
            "{each: {column: force, target: target, tolerance: 1}}",
            "21:17 criteria.temperature.each: the rule each is for a table",
        ),
        (
            "  temperature: {nominal: 60, tolerance: 1, unit: degC}",
            "  test_points: {upper: 60}",
            "21:3 criteria.test_points: a table takes the rule each",
        ),
        (
            "  temperature: {nominal: 60, tolerance: 1, unit: degC}",
            "  test_points: {each: {column: forces, target: target, tolerance: 1}, unit: kgf}",
            '21:32 criteria.test_points.each.column: unknown column "forces"; expected one of force, target; '
            'did you mean "force"?',
        ),
        (
            "  temperature: {nominal: 60, tolerance: 1, unit: degC}",
            "  test_points: {each: {column: force, target: target, tolerance: 1}}",
            '21:3 criteria.test_points.unit: unit is not that of column "force"; expected kgf, found no unit',
        ),
        ("  temperature: {nominal", "  9temp: {nominal", "21:3 criteria.9temp: unknown criteria name"),
        ("  temperature: {nominal", '  "\\ud800": {nominal', "21:3 criteria: half a surrogate pair is no character"),
        ("  temperature: {nominal", "  [a]: {nominal", "21:3 criteria.?: a key is a single text; found the key ?"),
        (
            "broker: {url: mqtt://127.0.0.1}",
            "broker: {url: mqtt://127.0.0.1, password_file: /p}",
            "2:48 broker.password",
        ),
        (
            "broker: {url: mqtt://127.0.0.1}",
            "broker:",
            "2:1 broker: wrong type; expected keys with values, found nothing",
        ),
        ("host: tester.line", "host: @tester", "6:37: not YAML: found character '@' that cannot start any token"),
    ],
)
def test_a_mistake_is_told_once(refused: Refused, old: str, new: str, told: str) -> None:
    lines = refused(changed(old, new))
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"station.yaml:{told}")


@pytest.mark.parametrize(
    ("tail", "told"),
    [
        ("machines: 5\n", "3:11 machines: wrong type; expected machines by name, found 5"),
        ("machines: {tester: 5}\n", "3:20 machines.tester: wrong type; expected keys with values, found 5"),
        ("criteria: [a]\n", "20:1 criteria: wrong type; expected criteria by measurement, found a list"),
    ],
)
def test_a_section_of_the_wrong_kind(refused: Refused, tail: str, told: str) -> None:
    cut = YAML.index(tail.partition(":")[0] + ":")
    assert refused(YAML[:cut] + tail) == [f"station.yaml:{told}"]


def test_two_companions_of_one_name_and_companions_of_companions(refused: Refused) -> None:
    text = changed("cycle_key: n\n", "cycle_key: n\n    companions: [{machine: printer}, {machine: printer}]\n")
    text = text.replace(
        "criteria:\n",
        "  printer:\n    protocol: wire\n    connect: {transport: rtu, port: COM1}\n    points: {grade: {at: 1}}\n"
        "    records: false\n    companions: [{machine: printer}]\ncriteria:\n",
    )
    assert refused(text) == [
        'station.yaml:17:48 machines.tester.companions.1.machine: "printer" is listed twice',
        "station.yaml:26:5 machines.printer.companions: only a machine that makes records has companions",
        "station.yaml:26:28 machines.printer.companions.0.machine: a machine is not its own companion",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match=r"station\.yaml: cannot be read: No such file or directory; check the path"
    ):
        load(tmp_path / "station.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot be read: Is a directory"):
        load(tmp_path)


def test_a_file_too_large_to_be_settings(tmp_path: Path) -> None:
    file = tmp_path / "station.yaml"
    with file.open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    with pytest.raises(SettingsError, match="larger than 4 MB"):
        load(file)


def test_nesting_without_end_is_refused(refused: Refused) -> None:
    assert refused("a: " + "[" * 5000) == ["station.yaml:1:34 a.0.0: more than 30 levels deep"]


WITH_A_PASSWORD = [
    "{url: http://line:geheim@127.0.0.1:99999}",
    "mqtt://line:geheim@host",
    "{url: mqtt//line:geheim@host}",
    '{url: "mqtt://line:ge heim@host"}',
    '{url: "mqtt://line:x@geheim@host"}',
    "[mqtt://line:geheim@host]",
    "{urls: mqtt://line:geheim@host}",
    "{urls: [http://line:geheim@host]}",
    "{url: [mqtt://line:geheim@host]}",
    "{url: {mqtt://line:geheim@host: 1}}",
    "{mqtt://line:geheim@host: 1}",
    "{url: line:geheim@host}",
    "line:geheim@host",
    '{url: "mqtt://host?password=geheim"}',
    '{url: "mqtt://[line:geheim@host"}',
    "{url: mqtt://host, username: line, password: geheim}",
    "{url: mqtt://host, username: line, password_file: geheim}",
    "{url: mqtt://host, username: line, password_file: [geheim]}",
]


@pytest.mark.parametrize("broker", WITH_A_PASSWORD)
def test_a_password_is_never_repeated(refused: Refused, broker: str) -> None:
    """Wherever somebody may write it, with each kind of mistake that quotes what was found."""
    lines = refused(re.sub("^broker:.*$", f"broker: {broker}", YAML, flags=re.MULTILINE))
    assert lines
    assert not any("geheim" in line or "heim@" in line for line in lines), lines


def test_only_the_password_is_left_out(refused: Refused) -> None:
    assert refused(YAML.replace("mqtt://127.0.0.1", "mqtt//line:geheim@host")) == [
        "station.yaml:2:15 broker.url: a broker URL starts with mqtt:// or mqtts://; use the keys username and "
        'password_file; found the text "mqtt//***@host"'
    ]


@pytest.mark.parametrize(
    "override",
    [
        "broker.url=mqtt://line:geheim@host",
        "broker=mqtt://line:geheim@host",
        "broker.url.mqtt://line:geheim@host",
        "broker.password=geheim",
        "broker.password_file=geheim",
        "broker.password_file=[geheim]",
        "broker.url=[mqtt://line:geheim@host]",
    ],
)
def test_a_password_on_the_command_line_is_never_repeated(tmp_path: Path, override: str) -> None:
    file = tmp_path / "station.yaml"
    file.write_text(YAML, encoding="utf-8")
    with pytest.raises(SettingsError) as raised:
        load(file, [override])
    assert "geheim" not in str(raised.value)


# -- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1e3", 1000.0),
        ("-.5", -0.5),
        ("+3", 3),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("2026-11-23", "2026-11-23"),
        ("0b11", "0b11"),
        ("-.inf", float("-inf")),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("prot", ["connect", "protocol"], "protocol"),
        ("Protocol", ["protocol"], "protocol"),
        ("serial", ["serial_number"], "serial_number"),
        ("xy", ["xylophone"], None),
        ("temperature", ["tof_i2c"], None),
    ],
)
def test_what_was_meant(name: str, known: list[str], meant: str | None) -> None:
    assert closest(name, known) == meant


PIECES = st.sampled_from(
    [
        *YAML.splitlines(keepends=True),
        "\t",
        "  ",
        "- ",
        "{",
        "[",
        "}",
        "&a ",
        "*a",
        "!t ",
        "? ",
        "'",
        '"',
        "x",
        ": ",
        "5",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=60))
def test_any_text_gives_settings_or_a_settings_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "station.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    issues: tuple[Issue, ...] = ()
    try:
        load(file)
    except SettingsError as error:
        issues = error.issues
    assert issues, "no made-up text is a whole station"
    assert all(str(issue).startswith(f"{file}") for issue in issues)
