"""The schedule of faults: the same seed makes the same ones again, every kind comes, nothing impossible is drawn."""

from collections import Counter

import pytest

from tests.chaos.mqtt_packets import is_publish, split
from tests.chaos.schedule import KINDS, Kind, schedule

TARGETS = {
    "station": ["A", "B"],
    "small disk": ["B"],
    "machine": ["A.tester", "B.tester"],
    "networked machine": ["A.tester"],
    "ingestor": ["ingestor-1"],
    "broker": ["broker"],
    "database": ["database"],
}


def test_the_same_seed_makes_the_same_faults_and_another_seed_others() -> None:
    first = schedule(7, 10, 30, list(Kind), TARGETS)
    assert first == schedule(7, 10, 30, list(Kind), TARGETS)
    assert first != schedule(8, 10, 30, list(Kind), TARGETS)


def test_every_kind_comes_equally_often_and_to_something_it_can_happen_to() -> None:
    faults = schedule(1, len(Kind), 30, list(Kind), TARGETS)
    assert set(Counter(fault.kind for fault in faults).values()) == {30}
    for fault in faults:
        about = KINDS[fault.kind]
        assert fault.target in TARGETS[about.happens_to]
        assert about.shortest_s <= fault.lasts_s <= about.longest_s
    assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)


def test_only_the_kinds_that_are_wanted_come() -> None:
    assert {fault.kind for fault in schedule(1, 5, 30, [Kind.BROKER_WIPED], TARGETS)} == {Kind.BROKER_WIPED}


def test_every_kind_is_described() -> None:
    assert list(KINDS) == list(Kind)


def test_mqtt_packets_are_told_apart_wherever_they_are_cut() -> None:
    large = b"\x32\xac\x02" + b"x" * 300  # PUBLISH, remaining length 300 in two bytes
    stream = b"\xc0\x00" + large + b"\x40\x02\x00\x01"
    for cut in range(len(stream)):
        arrived = bytearray(stream[:cut])
        packets = split(arrived)
        arrived += stream[cut:]
        packets += split(arrived)
        assert packets == [b"\xc0\x00", large, b"\x40\x02\x00\x01"]
        assert not arrived
    assert [is_publish(packet) for packet in packets] == [False, True, False]


def test_what_is_no_mqtt_is_refused() -> None:
    with pytest.raises(ValueError, match="no MQTT"):
        split(bytearray(b"\x30\xff\xff\xff\xff\x01"))
