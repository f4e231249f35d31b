"""What a printer answers: understood to the letter, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import DataError
from drivers.label.answers import (
    CONDITIONS,
    HOST_IDENTIFICATION,
    HOST_STATUS,
    LABEL_COUNT,
    PRINT_LENGTH,
    HostStatus,
    host_identification,
    host_status,
    label_count,
    parse_host_identification,
    parse_host_status,
    parse_label_count,
    parse_print_length,
    print_length,
)

IDLE = b"\x02030,0,0,1245,000,0,0,0,000,0,0,0\x03\r\n\x02000,0,0,0,0,2,4,0,00000000,1,000\x03\r\n\x021234,0\x03\r\n"

states = st.builds(
    HostStatus,
    **dict.fromkeys((*CONDITIONS, "partial_format", "label_waiting"), st.booleans()),
    formats_waiting=st.integers(0, 999),
    labels_remaining=st.integers(0, 99_999_999),
)


@given(states)
def test_an_answer_says_the_state_it_was_made_from(status: HostStatus) -> None:
    answer = host_status(status)
    whole = HOST_STATUS.whole.match(answer)
    assert whole is not None
    assert whole[0] == answer
    assert parse_host_status(answer) == status


LETTERS = (
    "aaa,b,c,dddd,eee,f,g,h,iii,j,k,l",
    "mmm,n,o,p,q,r,s,t,uuuuuuuu,v,www",
    "xxxx,y",
)
"""Zebra, Programming Guide P1099958, ~HS: the three strings."""


@pytest.mark.parametrize(
    ("letter", "name", "value"),
    [
        ("b", "paper_out", True),
        ("c", "paused", True),
        ("eee", "formats_waiting", 12),
        ("g", "diagnostic_mode", True),
        ("h", "partial_format", True),
        ("j", "configuration_lost", True),
        ("l", "head_too_hot", True),
        ("o", "head_open", True),
        ("p", "ribbon_out", True),
        ("t", "label_waiting", True),
        ("uuuuuuuu", "labels_remaining", 345),
        *(
            (letter, None, 1)
            for letter in ("aaa", "dddd", "f", "k", "mmm", "n", "q", "r", "s", "v", "www", "xxxx", "y")
        ),
    ],
)
def test_each_field_stands_where_the_manual_has_it(letter: str, name: str | None, value: int) -> None:
    """And one that says nothing of a label's fate changes nothing."""
    strings = [
        ",".join(str(int(value) if one == letter else 0).zfill(len(one)) for one in string.split(",")).encode()
        for string in LETTERS
    ]
    status = parse_host_status(b"".join(b"\x02" + string + b"\x03\r\n" for string in strings))
    assert status == HostStatus(**({} if name is None else {name: value}))


@given(states, st.data())
def test_half_an_answer_is_none(status: HostStatus, data: st.DataObject) -> None:
    answer = host_status(status)
    cut = data.draw(st.integers(0, len(answer) - 3))  # without the last CR LF it is whole
    assert HOST_STATUS.whole.match(answer[:cut]) is None


@given(st.binary(max_size=200))
def test_what_is_no_answer_is_refused(noise: bytes) -> None:
    for parse in (parse_host_status, parse_print_length, parse_label_count):
        with pytest.raises(DataError):
            parse(noise + b"\x00")


@pytest.mark.parametrize("flag", [b"2", b"x", b""])
def test_a_flag_that_is_none_is_refused(flag: bytes) -> None:
    with pytest.raises(DataError, match="host status not understood"):
        parse_host_status(IDLE.replace(b"030,0,", b"030," + flag + b","))


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_printer_with_a_condition_is_not_ready_and_the_text_says_what_to_do(name: str) -> None:
    status = HostStatus(**{name: True})
    assert not status.ready
    assert list(status.conditions) == [name]
    assert ":" in status.conditions[name]


@pytest.mark.parametrize(
    "busy", [HostStatus(formats_waiting=1), HostStatus(labels_remaining=1), HostStatus(partial_format=True)]
)
def test_a_printer_with_work_left_is_in_order_and_not_ready(busy: HostStatus) -> None:
    assert not busy.conditions
    assert not busy.ready


@pytest.mark.parametrize(
    ("answer", "cm"),
    [
        (b'\x02\r\nPRINT METERS\r\n TOTAL NONRESETTABLE: 8560 "\r\n USER RESETTABLE CNTR1: 9 "\r\n\x03', 21742.4),
        (b"\x02PRINT METERS\r\nTOTAL NONRESETTABLE: 21744 cm\r\nUSER RESETTABLE CNTR1: 24 cm\r\n\x03\r\n", 21744.0),
        (print_length(7), 7.0),
    ],
)
def test_the_odometer_is_told_in_cm_whatever_the_printer_is_set_to(answer: bytes, cm: float) -> None:
    assert PRINT_LENGTH.whole.fullmatch(answer) is not None
    assert parse_print_length(answer) == cm


def test_the_count_of_labels_and_a_printer_that_keeps_none() -> None:
    assert LABEL_COUNT.whole.fullmatch(label_count(123)) is not None
    assert parse_label_count(b'\r\n"123"\r\n') == 123
    with pytest.raises(DataError, match="keeps no count"):
        parse_label_count(b'"?"')


@pytest.mark.parametrize(
    ("answer", "printer"),
    [
        (b"\x02ZT411-200dpi,V92.21.17Z,8,16384KB,\x03\r\n", "ZT411-200dpi V92.21.17Z"),
        (b"\x02GK420d-200dpi,V61.17.17Z,8,2104KB,\x03\r\n", "GK420d-200dpi V61.17.17Z"),
        (host_identification("X", "V1"), "X V1"),
    ],
)
def test_a_printer_says_who_it_is(answer: bytes, printer: str) -> None:
    assert HOST_IDENTIFICATION.whole.fullmatch(answer)
    assert parse_host_identification(answer) == printer


@pytest.mark.parametrize("answer", [b"\x02\x03\r\n", b"\x02030,0,1\x03\r\n", b"\x02,V1,8,1KB\x03", b"ZT411,V1,8,1KB"])
def test_what_names_no_printer_is_refused(answer: bytes) -> None:
    with pytest.raises(DataError, match="host identification not understood"):
        parse_host_identification(answer)
