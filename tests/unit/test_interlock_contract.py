"""What station and central say to each other about a permit: whole, as published, and readable by an operator."""

import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from contracts import schema
from contracts.digest import RouteDigest, digest_of
from contracts.envelope import RecordsHeader, RecordsMessage, encode_records
from contracts.interlock import NumbersAnswer, PermitAnswer, PermitRequest, answer_adapter, question_adapter, refused
from contracts.permit import PermitRecord
from contracts.record import ProcessRecord, canonical
from contracts.refusals import Refusal, RefusalCode
from contracts.route_model import Hold, LotState, LotStatus, UnitState
from drivers.interlock import ANSWER_NAMES
from tests.support.histories import unit_after
from tests.support.records import NOON, record

LOT = "WF-KR-241118D-001"
REQUEST = PermitRequest(
    site="gimcheon",
    line="KR01",
    station="P03-A",
    request_id="a" * 32,
    asked_at=NOON,
    process="P03_SENSOR_INSPECTION",
    machine="tester",
    serial_number="SN-241118-001",
)
PERMIT = PermitRecord(
    kind="permit",
    station="P03-A",
    process="P03_SENSOR_INSPECTION",
    machine="tester",
    serial_number="SN-241118-001",
    request_id="a" * 32,
    granted=True,
    decided_by="CENTRAL",
    permit=7,
    asked_at=NOON,
    answered_at=NOON,
)


def _form(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((schema.FOLDER / f"{name}.json").read_text("utf-8")))


@pytest.mark.parametrize("code", RefusalCode)
def test_an_operator_reads_a_refusal_in_korean_and_english(code: RefusalCode) -> None:
    assert re.search("[가-힣]", code.text_ko)
    assert code.text_en.isascii()
    assert max(len(code.text_ko.encode("cp949")), len(code.text_en)) <= 64, "it has to fit a machine's display"


def test_a_machine_tells_refusals_apart_by_their_numbers() -> None:
    numbers = [code.number for code in RefusalCode]
    assert len(set(numbers)) == len(numbers)
    assert all(0 < number < 100 for number in numbers)


def test_questions_and_answers_are_as_published() -> None:
    no = refused(REQUEST, 7, Refusal(RefusalCode.ON_HOLD, "dents" * 200), NOON)
    _form("interlock").validate(json.loads(REQUEST.model_dump_json()))
    _form("permits").validate(json.loads(no.model_dump_json()))
    assert question_adapter.validate_json(REQUEST.model_dump_json()) == REQUEST
    assert answer_adapter.validate_json(no.model_dump_json()) == no


def test_an_answer_is_yes_or_says_why_not() -> None:
    common = {"request_id": "a" * 32, "serial_number": "SN-241118-001", "permit": 7, "at": NOON}
    with pytest.raises(ValidationError, match="refusal is given exactly"):
        PermitAnswer(**common, granted=False)
    with pytest.raises(ValidationError, match="refusal is given exactly"):
        PermitAnswer(**common, granted=True, refusal=RefusalCode.ON_HOLD)
    with pytest.raises(ValidationError, match="refusal is given exactly"):
        NumbersAnswer(request_id="a" * 32, lot_number=LOT, at=NOON)
    with pytest.raises(ValidationError, match="names its unit"):
        PermitRecord.model_validate(PERMIT.model_dump() | {"serial_number": None})


def test_a_permit_stands_in_the_stream_beside_results() -> None:
    """With its own form, told apart by what it says itself; a result's bytes are what they were."""
    header = RecordsHeader(site="a", line="b", station="P03-A", stream_id="a" * 32, sent_at=NOON)
    payload = encode_records(header, [(1, canonical(record())), (2, canonical(PERMIT))])
    _form("records").validate(json.loads(payload))
    _form("permit_record").validate(json.loads(canonical(PERMIT)))
    found = [one.record for one in RecordsMessage.model_validate_json(payload, strict=True).records]
    assert found == [record(), PERMIT]
    assert [type(one) for one in found] == [ProcessRecord, PermitRecord]
    assert b'"kind"' not in canonical(record())
    assert not PERMIT.offline


def test_a_digest_is_compact_and_a_late_one_is_known_as_such() -> None:
    lot = LotState(lot_number=LOT, created=True, status=LotStatus.IN_PROGRESS, target_quantity=100)
    units = [UnitState(serial_number=f"{LOT}-{number:04d}", passed={1: ("a", 1), 2: ("a", 2)}) for number in range(100)]
    digest = digest_of(lot, units, "e" * 32, 3, NOON)
    assert len(digest.encoded()) < 8_000
    _form("route").validate(json.loads(digest.encoded()))
    assert RouteDigest.model_validate_json(digest.encoded()) == digest
    older = digest.model_copy(update={"revision": 2})
    assert digest.replaces(older)
    assert not older.replaces(digest)
    assert older.model_copy(update={"epoch": "another"}).replaces(digest)


def test_a_digest_says_what_holds_a_unit_and_its_lot() -> None:
    held = LotState(
        lot_number=LOT, created=True, status=LotStatus.IN_PROGRESS, holds=(Hold(hold_id="h", reason="dents"),)
    )
    digest = digest_of(held, [unit_after("1P 2P 3F H")], "e", 1, NOON)
    lot, unit = digest.lot(), digest.unit("SN-241118-001")
    assert lot is not None
    assert unit is not None
    assert (lot.on_hold, unit.on_hold) == (True, True)
    assert digest.units["SN-241118-001"].attempts == {1: 1, 2: 1, 3: 1}
    assert digest.unit("SN-OTHER") is None
    assert digest_of(LotState(lot_number=LOT), [], "e", 1, NOON).lot() is None


def test_the_technicians_page_tells_every_code_and_every_name_of_an_answer() -> None:
    page = Path("docs/interlock.md").read_text(encoding="utf-8")
    for code in RefusalCode:
        assert f"| {code.number} | {code.value} |" in page
    for name in ANSWER_NAMES:
        assert f"`{{{name}}}`" in page
