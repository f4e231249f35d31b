"""What a site sets of permits and serial numbers: right, or refused with the variable's name."""

import pytest

from central.settings import load_settings
from contracts.errors import SetupError


def test_without_a_word_numbers_are_made_of_the_lot() -> None:
    settings = load_settings({}).permits
    assert settings.lease_s is None
    assert settings.serial_number("WF-KR-241118D-001", 7) == "WF-KR-241118D-001-0007"


def test_a_site_has_its_own() -> None:
    settings = load_settings({"PERMIT_LEASE": "5m", "SERIAL_PATTERN": "SN-{lot}.{sequence}"}).permits
    assert settings.lease_s == 300
    assert settings.serial_number("WF-KR-241118D-001", 7) == "SN-WF-KR-241118D-001.7"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("PERMIT_LEASE", "300", "with its unit"),
        ("SERIAL_PATTERN", "SN-{sequence}", "gives two units one number"),
        ("SERIAL_PATTERN", "{lot}", "gives two units one number"),
        ("SERIAL_PATTERN", "{lot} {sequence}", "makes no serial numbers"),
        ("SERIAL_PATTERN", "{lot}-{number}", "makes no serial numbers"),
        ("SERIAL_PATTERN", "{lot.x}-{sequence}", "makes no serial numbers"),
        ("SERIAL_PATTERN", "{lot}-{sequence:q}", "makes no serial numbers"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: str, told: str) -> None:
    with pytest.raises(SetupError, match=f"^{name}.*{told}"):
        load_settings({name: value})
