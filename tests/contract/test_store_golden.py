"""A failed golden sample puts every unit since the last good one on hold: once, whatever comes when, and as a list."""

import json
from datetime import timedelta
from itertools import permutations
from math import factorial

from typer.testing import CliRunner, Result

from central.cli import app
from central.store import Arrival, Store
from contracts.facts import HoldReleased
from tests.support.stores import delivery, minutes, permit, record, rows, sample

FAILED = "GOLDEN_SAMPLE_FAILED"


def at(seq: int, content: str, group: int = 1, *, stream: int | None = None, name: str = "master") -> Arrival:
    """A station's record at the minute of its number: a unit's, or ``good`` or ``bad`` of its golden sample."""
    station, moment = f"P03-{group}", minutes(seq)
    if content in ("good", "bad"):
        made = sample(good=content == "good", name=name, station=station, completed_at=moment)
    else:
        made = record(serial_number=f"SN-{group:03d}-{content}", station=station, completed_at=moment)
    return delivery([(seq, made)], stream_id=f"{stream or group:032x}", station=station)


def held(store: Store, group: int = 1) -> dict[str, list[str]]:
    """The station's units on hold, and what holds them."""
    return {
        row["serial_number"].rpartition("-")[2]: [hold["hold_id"] for hold in row["holds"]]
        for row in store.canonical_rows()["serials"]
        if row["on_hold"] and row["serial_number"].startswith(f"SN-{group:03d}-")
    }


def hold_id(seq: int, stream: int = 1) -> str:
    return f"{FAILED}:{stream:032x}:{seq}"


def test_every_unit_between_the_good_checks_around_it_is_held_in_any_order(store: Store) -> None:
    told = ("a", "good", "b", "bad", "c", "d", "good", "e")
    for group, order in enumerate(list(permutations(range(1, 9)))[:: factorial(8) // 30], start=1):
        line = {seq: at(seq, content, group) for seq, content in enumerate(told, 1)}
        for seq in order:
            store.ingest([line[seq]])
        found = [hold_id(4, group)]
        assert held(store, group) == dict.fromkeys("bcd", found), order
        assert [(row.good, row.on_hold) for row in store.golden(f"P03-{group}")] == [
            (True, ()),
            (False, tuple(f"SN-{group:03d}-{name}" for name in "bcd")),
        ]
    assert {(alarm.kind, alarm.occurrences) for alarm in store.alarms()} == {("a golden sample failed", 1)}


def test_a_good_check_that_arrives_late_frees_the_units_before_it(store: Store) -> None:
    store.ingest([at(1, "good"), at(2, "a"), at(4, "b"), at(5, "bad")])
    assert list(held(store)) == ["a", "b"]
    store.ingest([at(3, "good")])
    assert list(held(store)) == ["b"]


def test_each_sample_of_a_machine_has_checks_of_its_own(store: Store) -> None:
    store.ingest([at(1, "good"), at(2, "good", name="faulty"), at(3, "a"), at(4, "good"), at(5, "bad", name="faulty")])
    assert held(store) == {"a": [hold_id(5)]}, "the good sample says nothing of the fault that the other would show"


def test_another_station_machine_and_a_later_unit_are_left_alone(store: Store) -> None:
    store.ingest([at(1, "good"), at(2, "a", 2), at(3, "a"), at(4, "bad"), at(5, "good"), at(6, "b")])
    assert (list(held(store, 1)), held(store, 2)) == (["a"], {})
    assert [(row.station, row.good, len(row.on_hold)) for row in store.golden()] == [
        ("P03-1", True, 0),
        ("P03-1", False, 1),
    ]


def test_in_one_stream_the_numbers_say_what_came_first_whatever_the_clock_did(store: Store) -> None:
    late = sample(station="P03-1", good=False, completed_at=minutes(0))
    store.ingest([at(1, "good"), at(2, "a"), delivery([(3, late)], stream_id=f"{1:032x}", station="P03-1")])
    assert held(store) == {"a": [hold_id(3)]}


def test_work_in_an_earlier_stream_of_the_station_is_found_by_its_time(store: Store) -> None:
    store.ingest([at(1, "good", stream=9), at(2, "a", stream=9), at(3, "bad", stream=8)])
    assert held(store) == {"a": [hold_id(3, 8)]}


def test_work_after_a_failed_check_is_found_in_the_next_stream_of_the_station(store: Store) -> None:
    line = [at(1, "bad", stream=9), at(2, "a", stream=8), at(3, "good", stream=8), at(4, "b", stream=8)]
    store.ingest(line)
    assert held(store) == {"a": [hold_id(1, 9)]}
    late = [at(seq + 10, content, 2, stream=stream) for seq, content, stream in ((2, "a", 7), (1, "bad", 6))]
    for arrival in late:
        store.ingest([arrival])
    assert held(store, 2) == {"a": [hold_id(11, 6)]}, "the check came last"


def test_between_two_failed_checks_each_has_to_be_released(store: Store) -> None:
    store.ingest([at(1, "bad"), at(2, "a"), at(3, "bad")])
    assert held(store) == {"a": [hold_id(1), hold_id(3)]}
    store.release(hold_id(1), "park", "the sample was dirty")
    assert held(store) == {"a": [hold_id(3)]}


def test_a_permit_for_the_work_after_a_failed_check_was_not_wrong(store: Store) -> None:
    """The hold begins with that work: before it nothing was known of this unit."""
    given = permit(station="P03-1", serial_number="SN-001-a", asked_at=minutes(2), answered_at=minutes(2))
    store.ingest([at(1, "bad"), delivery([(2, given)], stream_id=f"{1:032x}", station="P03-1"), at(3, "a")])
    [unit] = store.canonical_rows()["serials"]
    assert [one["code"] for one in unit["exceptions"] if "on hold" in one["detail"]] == []
    assert unit["on_hold"]


def test_a_machine_that_was_never_checked_before_holds_the_last_days(store: Store) -> None:
    long_ago = record(serial_number="SN-001-old", station="P03-1", completed_at=minutes(0) - timedelta(days=8))
    store.ingest([delivery([(1, long_ago)], stream_id=f"{1:032x}", station="P03-1"), at(2, "new"), at(3, "bad")])
    assert list(held(store)) == ["new"]


def test_a_manager_releases_all_of_it_or_one_unit(store: Store) -> None:
    store.ingest([at(1, "good"), at(2, "a"), at(3, "b"), at(4, "c"), at(5, "bad")])
    store.add_decision(
        HoldReleased(author="kim", decided_at=minutes(6), reason="measured again", hold_id=hold_id(5),
                     serial_number="SN-001-b")
    )  # fmt: skip
    assert list(held(store)) == ["a", "c"]
    assert store.release(hold_id(5), "park", "the sample was dirty") == ["SN-001-a", "SN-001-c"]
    assert held(store) == {}
    store.ingest([at(5, "bad"), at(7, "good")])
    assert held(store) == {}, "what is said again holds nobody again"
    assert store.release(hold_id(5), "park", "again") == []


def test_a_disputed_check_decides_nothing(store: Store) -> None:
    store.ingest([at(1, "good"), at(2, "a"), at(3, "bad")])
    store.ingest([at(3, "good")])
    assert held(store) == {}


def test_a_permit_given_before_the_check_was_not_wrong(store: Store) -> None:
    """The hold begins with the check: who let the unit go on before could not know."""
    given = permit(
        station="P04-1", process="P04_FIRMWARE_UPLOAD", serial_number="SN-001-a", asked_at=minutes(3),
        answered_at=minutes(3),
    )  # fmt: skip
    store.ingest([at(1, "good"), at(2, "a"), at(5, "bad")])
    store.ingest([delivery([(1, given)], stream_id=f"{4:032x}", station="P04-1")])
    [unit] = store.canonical_rows()["serials"]
    assert [one["code"] for one in unit["exceptions"] if "hold" in one["detail"]] == []
    assert unit["on_hold"]


def test_a_refusal_of_a_unit_that_does_not_exist_stops_nothing(store: Store) -> None:
    """It lies between two checks of its machine, and names what no table has."""
    where = {"station": "P03-1", "asked_at": minutes(2), "answered_at": minutes(2)}
    refused = permit(serial_number="SN-NOBODY", granted=False, refusal="SERIAL_NOT_FOUND", **where)
    store.ingest([at(1, "good"), delivery([(2, refused)], stream_id=f"{1:032x}", station="P03-1")])
    assert store.ingest([at(3, "bad")]).inserted == 1
    assert held(store) == {}


def test_golden_samples_stay_out_of_serials_lots_and_incomplete(store: Store) -> None:
    store.ingest([at(1, "good"), at(2, "bad")])
    found = store.canonical_rows()
    assert (found["serials"], found["lots"], len(found["process_data"])) == ([], [], 2)
    assert {row["part"] for row in found["process_data"]} == {"GOLDEN_SAMPLE"}


def test_a_manager_sees_the_list_and_releases_it_with_a_reason(store: Store) -> None:
    store.ingest([at(1, "good"), at(2, "a"), at(3, "bad")])
    env = {"DATABASE_URL": store.database.url.render_as_string(hide_password=False)}

    def typed(*words: str) -> Result:
        return CliRunner().invoke(app, ["golden", *words], env=env)

    [row] = json.loads(typed("list", "--station", "P03-1", "--json").stdout)
    assert (row["sample"], row["good"], row["on_hold"]) == ("master", False, ["SN-001-a"])
    assert "SN-001-a" in typed("list").stdout
    assert typed("release", row["hold_id"]).exit_code == 2, "a reason is needed"
    released = typed("release", row["hold_id"], "--reason", "dirty", "--author", "Kim")
    assert (released.exit_code, released.stdout) == (0, "SN-001-a\n")
    assert held(store) == {}
    assert typed("release", row["hold_id"], "--reason", "dirty").exit_code == 2, "it holds nobody any more"
    [fact] = [row for row in rows(store, "facts") if row["kind"] == "hold_released"]
    assert {"author": "Kim", "reason": "dirty"}.items() <= json.loads(fact["body"]).items()
