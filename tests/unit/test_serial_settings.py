"""What a serial machine's settings refuse, with the key to change."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import drivers.serial
from drivers.fields.messages import Message, values_of
from drivers.serial.building import frame_of, message_of
from drivers.serial.settings import SerialSettings

GOOD: dict[str, Any] = {
    "connect": {"port": "/dev/serial/by-id/gauge"},
    "message": {"format": "whole"},
    "points": {"v": {"whole": True, "type": "float"}},
}
MARKS = {"start": "\x02", "end": "\x03"}
ASKED = {"send": "?\r\n", "every": "1s"}


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"connect": {}}, "give either port"),
        ({"connect": {"port": "/dev/ttyS0", "url": "socket://host:1"}}, "give either port"),
        ({"connect": {"url": "telnet://host:1"}}, "a serial server is needed, for example"),
        ({"acknowledge": {"send": "ACK {w}"}}, "acknowledge.send: w is no name for this text; there are cycle_key, v"),
        ({"acknowledge": {"send": "ACK {0}"}}, "is not a plain name"),
        ({"handshake": {}}, "handshake: needs frames with a start mark"),
        ({"handshake": {}, "frame": {"start": "\x05", "end": "\x03"}}, "handshake: needs frames with a start mark"),
        ({"handshake": {}, "frame": MARKS, "acknowledge": {"send": "A"}}, "acknowledge: the handshake's accept"),
        ({"handshake": {"accept": "\x15"}, "frame": MARKS}, "each control byte means one thing"),
        ({"trigger": {"point": "v"}}, "trigger: only a machine that is asked at an interval"),
        ({"request": {"every": "1s"}}, "give send, or steps"),
        ({"request": {**ASKED, "steps": [{"send": "?"}]}}, "give send, or steps"),
        ({"request": {"steps": [{"send": "?"}], "timeout": "1s"}}, "timeout: belongs to a step"),
        ({"request": {**ASKED, "after": "x"}}, "after: give every or after"),
        ({"request": {"send": "?", "after": "x"}}, "request.after: unknown kind x; there are no kinds"),
        ({"request": {**ASKED, "expect": "nothing"}}, "expect: only a message has|the last answer is the result"),
        ({"request": {**ASKED, "send": "? {v}"}}, "request.send: v is no name for this text; it is not known whom"),
        ({"request": {"send": "? {v}"}}, "request.send: v is no name for this text; there are"),
        ({"request": {"send": "?", "until": "R"}}, "within: a unit does not wait for ever"),
        ({"request": {"steps": [{"expect": "accept"}, {"send": "?"}]}}, "send: without it a message is waited for"),
        (
            {"request": {**ASKED, "steps": []}, "on_open": [{"send": "A", "expect": "accept"}]},
            "on_open.0.expect: accept",
        ),
        ({"on_open": [{"send": "HELLO"}]}, "on_open.0.answer: needed"),
        ({"keep_alive": {"send": "PING"}}, "keep_alive.answer: needed"),
        ({"message": {"format": "whole", "example": "12 apples!"}}, "message.example: point v has no value in it"),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(keys: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        SerialSettings.model_validate({**GOOD, **keys})
    assert any(part in str(refused.value) for part in told.split("|"))


@pytest.mark.parametrize(
    ("request_", "longest_s"),
    [
        ({"send": "?", "timeout": "1s", "retries": 2}, 5.0),  # three questions, and silence after two of them
        ({"send": "?", "timeout": "1s", "retries": 0, "pause": "500ms"}, 1.5),
        ({"steps": [{"send": "A", "retries": 0}, {"send": "B", "until": "R", "within": "30s", "retries": 0}]}, 32.0),
        ({"send": "?", "every": "1s"}, None),
    ],
)
def test_how_long_a_job_may_take_follows_from_its_questions(request_: dict[str, Any], longest_s: float | None) -> None:
    """``check`` compares it with the patience of the machine that asks."""
    assert SerialSettings.model_validate({**GOOD, "request": request_}).longest_job_s == longest_s


README = (Path(drivers.serial.__file__).parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("written", re.findall(r"\| `(frame: \{.*\})` \|", README))
def test_the_readmes_frames_can_be_written_so(written: str) -> None:
    SerialSettings.model_validate({**GOOD, **YAML(typ="safe", pure=True).load(written)})


@pytest.mark.parametrize("block", re.findall(r"```yaml\n((?:request|layout):.*?)```", README, re.DOTALL))
def test_the_readmes_blocks_can_be_written_so(block: str) -> None:
    written = YAML(typ="safe", pure=True).load(block)
    if "layout" in written:
        points = {"forces": {"item": "steps.force"}}
        written = {"message": {"format": "binary", **written}, "points": points}
    SerialSettings.model_validate({**GOOD, **written})


def test_the_readmes_example_of_a_length_field_reads_what_it_says() -> None:
    """The field's bytes belong to the message: who forgets them reads a plausible, wrong number."""
    [block] = re.findall(r"```yaml\n(frame:.*?)```", README, re.DOTALL)
    settings = SerialSettings.model_validate({"connect": GOOD["connect"], **YAML(typ="safe", pure=True).load(block)})
    [told] = re.findall(r"`aa ([0-9a-f ]+)`", README)
    carried = bytes.fromhex(told)
    frame = frame_of(carried, settings.frame)
    assert frame[: 1 + len(carried)] == b"\xaa" + carried
    found = values_of([Message(message_of(frame, settings.frame))], settings)
    assert {name: point.value for name, point in found.items()} == {"tool": 5, "force": 12345}


@pytest.mark.parametrize(
    ("keys", "again"),
    [
        ({}, False),
        ({"request": ASKED}, True),
        ({"request": ASKED, "trigger": {"point": "v"}}, False),
        ({"request": {"send": "?", "after": "r"}, "kinds": {"r": {"match": "R", "role": "ignore"}, "v": {}}}, False),
        ({"request": ASKED, "kinds": {"no": {"match": "^NONE", "role": "empty"}, "one": {}}}, False),
        ({"request": {"steps": [{"send": "M"}, {"send": "?", "until": "^R"}, {"send": "D"}], "every": "1s"}}, False),
    ],
)
def test_a_machine_that_cannot_say_that_it_has_nothing_new_answers_with_its_last_result(
    keys: dict[str, Any], again: bool
) -> None:
    assert SerialSettings.model_validate_json(json.dumps({**GOOD, **keys})).answers_again is again
