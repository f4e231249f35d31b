"""The published JSON Schemas are current, and say what the models say."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from jsonschema import Draft202012Validator

from contracts import schema
from contracts.criteria import Criteria, Publication, Revision
from contracts.envelope import Birth, Commit, RecordsMessage, encode_records
from contracts.record import ProcessRecord, canonical, digest
from tests.support.records import CRITERIA, NOON, record
from tests.support.strategies import headers, records

FORMS: Mapping[str, Draft202012Validator] = {
    path.stem: Draft202012Validator(json.loads(path.read_text("utf-8"))) for path in schema.FOLDER.glob("*.json")
}


def test_what_is_published_is_current() -> None:
    assert schema.stale() == []


def test_what_is_stale_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(schema, "FOLDER", tmp_path / "schema")
    assert schema.main([]) == 0
    assert schema.stale(schema.FOLDER) == []
    (schema.FOLDER / "birth.json").unlink()
    (schema.FOLDER / "commit.json").write_text("{}")
    (schema.FOLDER / "long_gone.json").write_text("{}")
    assert schema.stale(schema.FOLDER) == ["birth.json", "commit.json", "long_gone.json"]


@pytest.mark.parametrize(("spoiled", "code"), [(False, 0), (True, 1)])
def test_the_check_ends_with_1_where_a_file_is_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, spoiled: bool, code: int
) -> None:
    monkeypatch.setattr(schema, "stale", lambda: ["birth.json"] if spoiled else [])
    monkeypatch.setattr(schema, "FOLDER", tmp_path / "untouched")
    assert schema.main(["--check"]) == code
    assert ("birth.json" in capsys.readouterr().out) is spoiled
    assert not schema.FOLDER.exists()


@pytest.mark.parametrize("name", FORMS)
def test_a_schema_is_one(name: str) -> None:
    Draft202012Validator.check_schema(FORMS[name].schema)


@given(header=headers, content=records)
def test_what_a_station_sends_is_as_published(header: Any, content: list[ProcessRecord]) -> None:
    """Anyone may write a receiver from the schema alone."""
    payload = encode_records(header, [(seq, canonical(one)) for seq, one in enumerate(content, start=1)])
    FORMS["records"].validate(json.loads(payload))
    message = RecordsMessage.model_validate_json(payload, strict=True)
    assert [numbered.record for numbered in message.records] == content
    assert [digest(numbered.record) for numbered in message.records] == [digest(one) for one in content]
    for one in content:
        FORMS["process_record"].validate(json.loads(canonical(one)))
        assert canonical(ProcessRecord.model_validate_json(canonical(one))) == canonical(one)


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "GREAT"},
        {"serial_number": "no spaces"},
        {"lot_number": "WF-KR-２４1118D-001"},
        {"measurements": [{"name": "m", "value": {}}]},
        {"cycle_epoch": -1},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_schema_refuses_what_the_model_refuses(change: dict[str, Any]) -> None:
    content = json.loads(canonical(record()))
    FORMS["process_record"].validate(content)
    assert not FORMS["process_record"].is_valid(content | change)
    with pytest.raises(ValueError, match="ProcessRecord"):
        ProcessRecord.model_validate_json(json.dumps(content | change))


def test_the_other_messages_are_as_published() -> None:
    stream = "a" * 32
    commit = Commit(stream_id=stream, epoch="e", committed_seq=3, ranges=((5, 6),), mint=("b" * 32,), at=NOON)
    birth = Birth(
        site="gimcheon",
        line="KR01",
        station="P03-A",
        online=True,
        stream_id=stream,
        last_seq=3,
        oldest_available=1,
        host="h",
        software="1",
        at=NOON,
    )
    criteria = Criteria(process=CRITERIA.process, criteria=CRITERIA.criteria)
    revision = Revision(number=2, criteria=criteria, author="park", reason="r", effective_at=NOON)
    told = Publication(process=CRITERIA.process, epoch="e", issued=2, revisions=(revision,))
    for name, message in (("commit", commit), ("birth", birth), ("criteria", told)):
        FORMS[name].validate(json.loads(message.model_dump_json()))
    FORMS["criteria"].validate(json.loads(told.encoded()))
