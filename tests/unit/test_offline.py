"""May this unit run here, decided without central: by the LOT's last digest, the station's own work, and its rule."""

from collections.abc import Mapping
from typing import Any

import pytest

from agent.offline import Known, OwnWork, known, ruled, worked
from contracts.digest import RouteDigest, UnitDigest, digest_of
from contracts.firmware import Firmware
from contracts.permit import DecidedBy
from contracts.processes import BY_NUMBER
from contracts.record import ProcessRecord
from contracts.refusals import LIFTED_BY_WORK, RefusalCode
from contracts.route_model import LotState, LotStatus
from drivers.interlock import Allow
from tests.support.histories import SERIAL, minute, unit_after
from tests.support.stores import record

LOT = "WF-KR-241118D-001"
OPEN = LotState(lot_number=LOT, created=True, status=LotStatus.IN_PROGRESS, target_quantity=100, product_model="WR-1")
R = RefusalCode
FLAGGED = "allow_and_flag"


def digests(history: str | None, lot: LotState = OPEN) -> Mapping[str, RouteDigest]:
    """What central last said: of a unit with this history, or of none."""
    units = [] if history is None else [unit_after(history)]
    return {LOT: digest_of(lot, units, "e", 1, minute(0))}


def result(outcome: str, process: int = 3, serial: str = SERIAL, **changes: Any) -> ProcessRecord:
    return record(process=BY_NUMBER[process].code, serial_number=serial, outcome=outcome, lot_number=None, **changes)


def find(told: Mapping[str, RouteDigest], own: Mapping[str, OwnWork] | None = None, process: int = 3) -> Known:
    return known(SERIAL, LOT, process, told, own or {})


def work(told: Mapping[str, RouteDigest], *outcomes: str) -> dict[str, OwnWork]:
    own: dict[str, OwnWork] = {}
    for outcome in outcomes:
        found = worked(own, result(outcome), told)
        assert found is not None
        own[found[0]] = found[1]
    return own


CASES: list[tuple[str | None, str | Allow, RefusalCode | None, DecidedBy, bool]] = [
    # history by the digest, the rule, the refusal, who decided, flagged
    ("1P 2P", "block", R.CENTRAL_UNREACHABLE, DecidedBy.RULE, False),
    ("1P 2P", FLAGGED, None, DecidedBy.DIGEST, False),
    ("1P 2P", Allow(allow=3), None, DecidedBy.DIGEST, False),
    ("1P 2P", Allow(allow=2), R.CENTRAL_UNREACHABLE, DecidedBy.RULE, False),
    # what work at other stations may have changed since
    ("1P", FLAGGED, None, DecidedBy.RULE, True),
    (None, FLAGGED, None, DecidedBy.RULE, True),
    ("1P", "block", R.CENTRAL_UNREACHABLE, DecidedBy.RULE, False),
    # what it cannot have changed
    ("1P 2P H", FLAGGED, R.ON_HOLD, DecidedBy.DIGEST, False),
    ("1P 2P H", "block", R.ON_HOLD, DecidedBy.DIGEST, False),
    ("N X", FLAGGED, R.SERIAL_NOT_FOUND, DecidedBy.DIGEST, False),  # taken away
    ("1P S", FLAGGED, R.REWORK_NOT_ALLOWED, DecidedBy.DIGEST, False),
    ("1P 2P 3P", FLAGGED, R.PROCESS_ALREADY_PASSED, DecidedBy.DIGEST, False),
    ("1P 2P 3F 3F 3F", FLAGGED, R.RETEST_LIMIT_REACHED, DecidedBy.DIGEST, False),
]


@pytest.mark.parametrize(("history", "rule", "code", "by", "flagged"), CASES)
def test_a_station_decides_by_what_it_knows_and_its_rule(
    history: str | None, rule: str | Allow, code: RefusalCode | None, by: DecidedBy, flagged: bool
) -> None:
    ruling = ruled(find(digests(history)), rule, given=2)
    assert (ruling.refusal and ruling.refusal.code, ruling.decided_by, ruling.flagged) == (code, by, flagged)


def test_a_manager_reaches_a_station_that_is_offline() -> None:
    """By the digest: an override, a hold and a closed LOT."""
    assert find(digests("1P O3")).proven
    held = LotState(lot_number=LOT, created=True, status=LotStatus.CLOSED)
    found = find({LOT: digest_of(held, [], "e", 1, minute(0))})
    assert found.refusal is not None
    assert found.refusal.code is R.LOT_CLOSED


@pytest.mark.parametrize("serial", [SERIAL, f"{LOT}-0001"])
def test_a_unit_is_refused_where_the_machine_names_another_lot(serial: str) -> None:
    """The LOT by the digest that names the unit, or by the number itself."""
    other = LOT[:-1] + "2"
    told = digests("1P 2P")
    for lots in (told, {}) if serial != SERIAL else (told,):
        ruling = ruled(known(serial, other, 3, lots, {}), FLAGGED, given=0)
        assert ruling.refusal is not None
        assert ruling.refusal.code is R.SERIAL_NOT_FOUND
        assert LOT in ruling.refusal.detail
        assert other in ruling.refusal.detail
    assert ruled(known(serial, LOT, 3, told, {}), FLAGGED, given=0).refusal is None


def test_without_any_digest_nothing_is_known() -> None:
    found = find({})
    assert found.refusal is not None
    assert found.refusal.code in LIFTED_BY_WORK
    assert (found.lot_number, found.attempts) == (LOT, 0)


def test_a_unit_is_found_in_whichever_lot_names_it() -> None:
    assert known(SERIAL, None, 3, digests("1P 2P"), {}).lot_number == LOT


def test_what_the_station_did_itself_counts_before_central_says_so() -> None:
    told = digests("1P 2P")
    passed = find(told, work(told, "PASS"))
    assert passed.refusal is not None
    assert passed.refusal.code is R.PROCESS_ALREADY_PASSED
    once = find(told, work(told, "FAIL"))
    assert (once.proven, once.attempts) == (True, 1)
    failed = find(told, work(told, "FAIL", "FAIL", "FAIL"))
    assert failed.refusal is not None
    assert failed.refusal.code is R.RETEST_LIMIT_REACHED


def test_a_unit_that_no_digest_names_is_not_passed_twice_here() -> None:
    told = digests(None)
    again = find(told, work(told, "PASS"))
    assert again.refusal is not None
    assert again.refusal.code is R.PROCESS_ALREADY_PASSED


@pytest.mark.parametrize(
    ("outcomes", "code"), [(("PASS",), R.PROCESS_ALREADY_PASSED), (("FAIL", "FAIL", "FAIL"), R.RETEST_LIMIT_REACHED)]
)
def test_what_was_done_here_counts_where_nobody_has_told_of_the_lot(outcomes: tuple[str, ...], code: R) -> None:
    ruling = ruled(find({}, work({}, *outcomes)), FLAGGED, given=0)
    assert ruling.refusal is not None
    assert ruling.refusal.code is code
    assert ruled(find({}, work({}, "FAIL")), FLAGGED, given=0).flagged


@pytest.mark.parametrize("later", ["1P 2P 3F", "1P 2P 3F R2 2P", "1P 2P R3"])
def test_work_that_central_knows_by_now_or_a_rework_has_voided_is_counted_once(later: str) -> None:
    own = work(digests("1P 2P"), "FAIL")
    told = digests(later)
    expected = unit_after(later).attempts
    here = sum(a.process_number == 3 and a.generation == unit_after(later).generation for a in expected)
    assert find(told, own).attempts == here
    assert find(told, own).proven


@pytest.mark.parametrize(
    "said",
    [
        result("ERROR"),
        result("ABORTED"),
        result("PASS", reject_label=True),
        result("PASS", part="GOLDEN_SAMPLE"),
        result("ERROR", serial=None),  # type: ignore[arg-type]  # as a station keeps what it could not read
    ],
)
def test_what_is_no_attempt_says_nothing_of_a_permit(said: ProcessRecord) -> None:
    assert worked({}, said, digests("1P 2P")) is None


def test_the_model_of_the_unit_or_else_of_its_lot() -> None:
    assert find(digests("1P 2P")).product_model == "WR-1"
    named = {LOT: digests("1P 2P")[LOT].model_copy(update={"units": {SERIAL: UnitDigest(passed=(1, 2), model="WR-2")}})}
    assert find(named).product_model == "WR-2"


def test_a_failed_unit_may_get_a_reject_label() -> None:
    found = find(digests("1P 2P 3F 3F 3F"), process=7)
    assert (found.proven, found.failed) == (True, True)


def test_without_central_the_firmware_is_what_the_digest_last_said() -> None:
    firmware = {"WR-1": Firmware(version="v1.2.3", checksum="9f"), "WR-2": Firmware(version="v2")}
    told = {LOT: digest_of(OPEN, [unit_after("1P 2P")], "e", 1, minute(0), firmware)}
    assert RouteDigest.model_validate_json(told[LOT].encoded()) == told[LOT]
    assert find(told).firmware == firmware["WR-1"], "its LOT's product model"
    of_another = told[LOT].model_copy(update={"units": {SERIAL: UnitDigest(passed=(1, 2), model="WR-2")}})
    assert find({LOT: of_another}).firmware == firmware["WR-2"]
    assert find({LOT: of_another.model_copy(update={"firmware": {}})}).firmware is None
    assert find({}).firmware is None
