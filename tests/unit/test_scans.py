"""A scan belongs to the first result after it, once, and to no result where anything speaks against it."""

from datetime import UTC, datetime, timedelta

import pytest

from agent.clock import CentralClock
from agent.scans import Scans
from drivers.base import MachineEvent, Reading
from tests.support.drivers import reading


class Station:
    """A scanner, a machine and two clocks."""

    def __init__(self) -> None:
        self.boot_s = 1000.0
        self.started = datetime.now(UTC)
        self.scans = Scans("scanner", ["code"], 300.0, CentralClock(since_boot=lambda: self.boot_s, boot_id="b"))

    def at(self, second: float) -> MachineEvent:
        return MachineEvent(self.started + timedelta(seconds=second))

    def scan(self, code: str, second: float = 0.0) -> None:
        self.scans.heard(self.at(second), reading({"n": second, "code": code}))

    def result(self, second: float, *, is_the_next: bool = True) -> str:
        found = self.scans.before(self.at(second), is_the_next=is_the_next)
        return str(found.values["code"].value) if isinstance(found, Reading) else found


@pytest.fixture
def station() -> Station:
    return Station()


def test_a_scan_is_used_once(station: Station) -> None:
    station.scan("SN-001")
    assert station.result(10) == "SN-001"
    assert station.result(10) == "SN-001", "the record could not be kept: it is made again"
    station.scans.used()
    assert station.result(20) == "scanner read nothing before this result; scan the unit again and repeat it"


@pytest.mark.parametrize(("age", "taken"), [(0, True), (299.9, True), (300, True), (300.1, False), (9999, False)])
def test_a_scan_older_than_allowed_is_refused(station: Station, age: float, taken: bool) -> None:
    station.scan("SN-001")
    told = f"scanner read SN-001 {age:.0f} s before this result, unit.within allows 300 s"
    assert station.result(age).partition(";")[0] == ("SN-001" if taken else told)


def test_two_codes_are_nobodys(station: Station) -> None:
    """The unit on the machine, and the next one scanned too early: or one scanned in error, and then the right one."""
    station.scan("SN-001")
    station.scan("SN-002", 5)
    assert station.result(10).startswith("scanner read 2 codes before this result: SN-001, SN-002")
    station.scans.used()
    assert station.result(20).startswith("scanner read nothing")


def test_the_same_code_again_is_the_same_scan(station: Station) -> None:
    station.scan("SN-001")
    station.scan("SN-001", 5)
    assert station.result(304) == "SN-001"


def test_a_scan_after_a_result_waits_for_the_next_one(station: Station) -> None:
    """A result may wait for the disk while the next unit is scanned."""
    station.scan("SN-001")
    station.scan("SN-002", 20)
    assert station.result(10) == "SN-001"
    station.scans.used()
    assert station.result(30) == "SN-002"


def test_an_old_scan_that_was_not_used_says_nothing_beside_a_new_one(station: Station) -> None:
    station.scan("SN-001")
    station.scan("SN-002", 400)
    assert station.result(410) == "SN-002"


def test_a_result_that_may_not_be_the_next_takes_no_scan_and_leaves_none(station: Station) -> None:
    station.scan("SN-001")
    assert station.result(10, is_the_next=False).startswith("scanner read SN-001, maybe for a result that was missed")
    station.scans.used()
    assert station.result(20).startswith("scanner read nothing")


def test_what_was_scanned_before_the_scanner_was_away_is_nobodys(station: Station) -> None:
    station.scan("SN-001")
    station.scans.forget("the link to the scanner ended")
    assert station.result(10).startswith("scanner read nothing")


def test_a_clock_that_was_set_makes_a_scan_nobodys(station: Station) -> None:
    """By the clock it is 10 s old; it may be hours."""
    station.scan("SN-001")
    station.boot_s += 3600
    assert station.result(10).startswith("the station's clock was set since scanner read SN-001")
