"""What a station's YAML says of requests: right, or refused with file and line and what to do."""

from pathlib import Path

import pytest

from agent.settings import SettingsError, load

TEXT = Path("config/stations/P03-A.yaml").read_text(encoding="utf-8")
LINES = {line.split(":")[0].strip(): number for number, line in enumerate(TEXT.splitlines(), start=1)}


def loaded(tmp_path: Path, old: str, new: str, name: str = "P03-A") -> str:
    """The errors of a station's file with this text replaced."""
    text = Path(f"config/stations/{name}.yaml").read_text(encoding="utf-8")
    assert old in text
    file = tmp_path / f"{name}.yaml"
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(file)
    return str(caught.value)


def test_the_points_of_a_request_are_no_part_of_a_result() -> None:
    settings = load(Path("config/stations/P03-A.yaml"), ["machines.tester.interlock.enabled=true"])
    tester = settings.machines["tester"]
    assert tester.measurements == ("temperature", "tof_i2c")
    assert {"request_number", "request_serial"} & set(tester.protocol_settings.result_points) == set()
    asking = tester.protocol_settings.asking()
    assert asking is not None
    assert (asking.limit, asking.offline) == (0.5, "allow_and_flag")


def test_it_is_switched_on_by_a_person() -> None:
    for file in Path("config/stations").glob("*.yaml"):
        assert all(m.protocol_settings.asking() is None for m in load(file).machines.values()), file


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("request: {point: request_number}", "request: {point: request_numbr}", 'unknown point "request_numbr"'),
        ("serial_number: request_serial\n", "serial_number: serial\n", 'unknown point "serial"'),
        ("      serial_number: request_serial\n", "", "give the point that says which unit is meant, or numbers"),
        ("limit: 500ms", "limit: 500", "with its unit"),
        ("offline: allow_and_flag", "offline: allow", "offline"),
        ("offline: allow_and_flag", "offline: {allow: 0}", "offline.allow"),
        ('value: "{attempt}"', 'value: "{attempts}"', "an answer has no attempts"),
        ('value: "{request}"', 'value: "{granted}"', "the last value is the flag that the machine looks at"),
        ("request: {point: request_number}", "request: {point: result_counter}", "has a point of its own"),
        ("      offline: allow_and_flag", "      numbers: {block: 20}", "with numbers the unit has none yet"),
        ("machine_verdict: {point: judgement", "machine_verdict: {point: request_number", "is no part of a result"),
        ("holding_register: 128, type: uint16", "input_register: 128, type: uint16", "cannot be written"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy(tmp_path: Path, old: str, new: str, told: str) -> None:
    said = loaded(tmp_path, old, new)
    assert told in said
    assert f"{tmp_path}/P03-A.yaml:" in said
    assert "machines.tester" in said


@pytest.mark.parametrize(
    ("name", "old", "new", "told"),
    [
        ("P07-A", "PERMIT {request};", "PERMIT ;", "the last value is the flag"),
        ("P07-A", "request: {point: ask}", "request: {point: ask, on: rising}", "there is no flag"),
        ("P01-A", "      lot_number: request_lot\n", "", "numbers belong to a LOT"),
        ("P06-A", 'value: "{product_model}"', 'value: "{model}"', "an answer has no model"),
    ],
)
def test_each_protocol_tells_its_own(tmp_path: Path, name: str, old: str, new: str, told: str) -> None:
    assert told in loaded(tmp_path, old, new, name)
