"""A topic names its station and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.client import topic_matches_sub

from contracts.topics import ALL_ROUTES, StationTopics, all_stations, lot_of, parse, route

names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,31}\Z")


@given(names, names, names)
def test_a_stations_topics_are_read_back_and_caught_by_the_filter(site: str, line: str, station: str) -> None:
    topics = StationTopics(site, line, station)
    leaves = ("records", "commits", "state", "interlock", "permits")
    for leaf in leaves:
        topic = getattr(topics, leaf)
        assert parse(topic) == (topics, leaf)
        for other in leaves:
            assert topic_matches_sub(all_stations(other), topic) is (other == leaf)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "f2x/v1/gimcheon/KR01/P03-A",
        "f2x/v1/gimcheon/KR01/P03-A/permits/x",
        "f2x/v1/gimcheon/KR01/P03-A/other",
        "f2x/v2/gimcheon/KR01/P03-A/records",
        "/f2x/v1/gimcheon/KR01/P03-A/records",
        "f2x/v1/gimcheon/KR01//records",
        "f2x/v1/gimcheon/KR01/P 3/records",
        "f2x/v1/gimcheon/+/P03-A/records",
        "f2x/v1/gimcheon/KR01/P03-A/records\n",
        f"f2x/v1/gimcheon/KR01/{'x' * 33}/records",
    ],
)
def test_any_other_topic_is_no_stations(topic: str) -> None:
    assert parse(topic) is None


@given(st.text())
def test_a_topic_that_is_understood_is_the_one_it_came_from(topic: str) -> None:
    found = parse(topic)
    assert found is None or getattr(found[0], found[1]) == topic


def test_a_route_digest_is_no_stations_topic_and_a_stations_topic_no_route_digest() -> None:
    topic = route("WF-KR-241118D-001")
    assert lot_of(topic) == "WF-KR-241118D-001"
    assert topic_matches_sub(ALL_ROUTES, topic)
    assert parse(topic) is None
    assert lot_of(StationTopics("gimcheon", "KR01", "P03-A").permits) is None
