"""Lists as a spreadsheet: read back by another library, the list is the same; nothing in it is a formula."""

import tracemalloc
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import pytest
import sqlalchemy as sa
from openpyxl import load_workbook

from central.api import spreadsheet
from central.store.users import Role
from tests.support.api import Api


def rows(content: bytes) -> list[tuple[Any, ...]]:
    [sheet] = load_workbook(BytesIO(content)).worksheets
    return list(sheet.iter_rows(values_only=True))


def test_a_list_as_a_spreadsheet_is_the_list(api: Api) -> None:
    model = api.post("/product-models", {"model_code": "=1+1", "model_name": "Wearable robot"})
    given = {"product_model_id": model["id"], "target_quantity": 2, "production_date": "2026-11-02", "shift": "D"}
    lot = api.post("/lots", given)
    api.post("/serials", {"lot_id": lot["id"], "sequence_in_lot": 1})

    answer = api.ask(Role.OPERATOR, "GET", "/lots/export.xlsx?search=261102")
    assert (answer.status_code, answer.headers["content-type"]) == (200, spreadsheet.MEDIA_TYPE)
    header, row = rows(answer.content)
    found = dict(zip(header, row, strict=True))
    assert (found["lot_number"], found["model_code"], found["on_hold"]) == (lot["lot_number"], "=1+1", False)
    assert found["production_date"] == datetime(2026, 11, 2)  # noqa: DTZ001  a spreadsheet's times have no zone
    created = datetime.fromisoformat(lot["created_at"]).replace(tzinfo=None)
    assert abs((found["created_at"] - created).total_seconds()) < 0.001
    assert found["closed_at"] is None
    _, unit = rows(api.ask(Role.OPERATOR, "GET", "/serials/export.xlsx").content)
    assert unit[1] == f"{lot['lot_number']}-0001"
    assert len(rows(api.ask(Role.OPERATOR, "GET", "/process-data/export.xlsx").content)) == 1


def test_a_longer_list_than_a_spreadsheet_takes_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheet, "MOST_ROWS", 1)
    for code in ("WR-1", "WR-2"):
        model = api.post("/product-models", {"model_code": code, "model_name": code})
        given = {"product_model_id": model["id"], "target_quantity": 1, "production_date": "2026-11-02", "shift": "D"}
        answer = api.ask(Role.OPERATOR, "GET", "/lots/export.xlsx")
        assert answer.status_code == 200
        api.post("/lots", given)
    answer = api.ask(Role.OPERATOR, "GET", "/lots/export.xlsx")
    assert (answer.status_code, answer.json()["code"], answer.json()["most"]) == (400, "TOO_MANY_ROWS", 1)


def test_many_rows_take_no_more_memory_than_few(api: Api) -> None:
    def peak(count: int) -> int:
        upto = sa.select(sa.literal(1).label("id")).cte("upto", recursive=True)
        upto = upto.union_all(sa.select(upto.c.id + 1).where(upto.c.id < count))
        listing = sa.select(upto.c.id, sa.literal("x" * 200).label("text"))
        tracemalloc.start()
        try:
            with spreadsheet._written(api.store, "list", ("id", "text"), listing) as file:
                assert file.read(2) == b"PK"
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(6_000) < 2 * peak(600)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (5, 5),
        (2**53 + 1, "9007199254740993"),
        (float("inf"), "inf"),
        (True, True),
        ([{"a": "ß"}], '[{"a": "ß"}]'),
        (datetime(1899, 12, 31, tzinfo=UTC), "1899-12-31T00:00:00Z"),
        (date(2026, 11, 2), date(2026, 11, 2)),
    ],
)
def test_what_a_cell_cannot_hold_stands_as_text(value: Any, shown: Any) -> None:
    assert spreadsheet.cell(value) == shown


def test_a_text_beyond_the_longest_cell_says_that_it_is_cut() -> None:
    shown = spreadsheet.cell("😀" * 20_000)
    assert len(shown.encode("utf-16-le")) // 2 <= 32_767
    assert shown.endswith(" ... (cut: 20000 characters, all of them in export.csv)")
    assert spreadsheet.cell("x" * 32_767) == "x" * 32_767
