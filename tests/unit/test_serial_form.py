"""What a code reader says when it reads nothing is no unit's number, at the station and at central."""

import pytest

from central.settings import load_settings
from contracts.errors import SetupError
from contracts.serial_form import SerialForm

SITE = SerialForm("SN-[0-9]{6}-[0-9]{3}", others=("GOLDEN-.*",))


WORDS = [
    "NOREAD",
    "NoRead",
    "NO READ",
    "NO-READ",
    "no_read",
    "ERROR",
    "read.error",
    "???",
    "??????",
    "XXXX",
    "BR",
    "N/A",
]


@pytest.mark.parametrize("word", WORDS)
def test_what_a_reader_says_for_nothing_is_no_number(word: str) -> None:
    assert SerialForm().refusal(word) == f"{word!r} is what a code reader says when it reads nothing"


@pytest.mark.parametrize("number", ["SN-241118-001", "WF-KR-241118D-001-0001", "ERROR-001", "X01", "BR-17", "111"])
def test_any_other_number_is_one_where_the_site_says_nothing(number: str) -> None:
    assert SerialForm().refusal(number) is None


def test_the_site_says_what_its_numbers_look_like() -> None:
    assert SITE.refusal("SN-241118-001") is None
    assert SITE.refusal("GOLDEN-1") is None, "no product"
    assert SITE.refusal("SN-241118-0011") == (
        "'SN-241118-0011' is not of the form of the site's numbers, SN-[0-9]{6}-[0-9]{3}"
    )
    assert SerialForm(no_read=()).refusal("NOREAD") is None
    assert SerialForm(no_read=("LEER",)).refusal("leer") is not None


def test_central_is_told_by_its_environment() -> None:
    told = load_settings({"SERIAL_FORM": "SN-.*", "NO_READ_WORDS": "LEER, NICHTS"}).serial_form
    assert (told.pattern, told.refusal("SN-1"), told.refusal("NOREAD") is None) == ("SN-.*", None, False)
    assert told.refusal("nichts") == "'nichts' is what a code reader says when it reads nothing"
    assert load_settings({}).serial_form == SerialForm()
    with pytest.raises(SetupError, match="is not a regular expression"):
        load_settings({"SERIAL_FORM": "SN-["})
