"""What an administrator sees of a message that could not be taken: that it is there, whence, why, and its bytes."""

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner, Result

from central.cli import app
from central.ingestor import Ingestor
from central.store import Arrival, IngestResult, Rejected, Store
from contracts.topics import StationTopics
from messaging.broker import BrokerAddress
from tests.support.stores import STREAM

TEXT, BYTES = '{"v": 1, "temperature": "60°'.encode(), bytes(range(256)) * 20


def rejected(station: str, payload: bytes, reason: str = "not JSON: no value", first: int | None = None) -> Arrival:
    topic = StationTopics("gimcheon", "KR01", station).records
    stream = STREAM if first is not None else None
    refused = Rejected(topic, stream, first, None if first is None else first + 1, reason, payload)
    return Arrival(stream, "gimcheon", "KR01", station, (), (refused,))


@pytest.fixture
def kept(store: Store) -> Store:
    store.ingest([rejected("P03_A", BYTES, "not JSON:\n\x1b[2J" + "x" * 1000)])
    store.ingest([rejected("P03xA", b"")])
    store.ingest([rejected("P03_A", TEXT, first=7)])
    return store


def typed(store: Store, *words: str) -> Result:
    url = store.database.url.render_as_string(hide_password=False)
    return CliRunner().invoke(app, ["quarantine", *words], env={"DATABASE_URL": url})


def test_the_list_says_what_came_whence_and_why(kept: Store) -> None:
    said = typed(kept, "list").stdout
    newest = said.splitlines()[1]

    assert newest.split()[3:] == [
        "f2x/v1/gimcheon/KR01/P03_A/records",
        STREAM[:8],
        "7-8",
        "29",
        *["not", "JSON:", "no", "value"],
    ]
    assert "not JSON:\\n\\x1b[2Jxxx".replace(" ", "") in "".join(said.split())
    assert "\x1b" not in said


def test_the_list_is_of_one_station_and_says_what_it_leaves_out(kept: Store) -> None:
    found = json.loads(typed(kept, "list", "--station", "P03_A", "--json").stdout)
    said = typed(kept, "list", "--limit", "2").stdout

    assert [(one["station"], one["stream_id"], one["size"]) for one in found] == [
        ("P03_A", STREAM, 29),
        ("P03_A", None, 5120),
    ]
    assert "1 older ones are not shown: --limit 3" in said
    assert typed(kept, "list", "--station", "P99-Z").stdout == "nothing is in quarantine\n"


def test_one_is_shown_as_text_where_it_is_one_and_else_as_digits(kept: Store) -> None:
    text, nothing, data = (typed(kept, "show", str(one["id"])).stdout.splitlines() for one in listed(kept))

    assert text[1:] == [
        "topic f2x/v1/gimcheon/KR01/P03_A/records",
        f"stream {STREAM}, seq 7-8",
        "reason not JSON: no value",
        "29 bytes",
        TEXT.decode(),
    ]
    assert nothing[2:] == ["stream not told, seq not told", "reason not JSON: no value", "0 bytes"]
    assert data[4] == "5120 bytes, as hexadecimal digits, for they are no text"
    assert data[7] == "00000020  20 21 22 23 24 25 26 27 28 29 2a 2b 2c 2d 2e 2f   !\"#$%&'()*+,-./"
    assert data[-1] == "... and 1024 bytes more: --raw writes all of them"


def test_its_bytes_are_given_as_they_came(kept: Store) -> None:
    oldest = str(listed(kept)[-1]["id"])

    assert typed(kept, "show", oldest, "--raw").stdout_bytes == BYTES
    assert json.loads(typed(kept, "show", oldest, "--json").stdout)["payload"] == BYTES.hex()


def test_an_id_that_is_none_is_told(kept: Store) -> None:
    said = typed(kept, "show", "999")

    assert (said.exit_code, "nothing in quarantine has the id 999" in said.output) == (2, True)


def test_the_log_says_whence_and_why_and_how_many_but_not_without_end(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/central.db")
    ingestor = Ingestor(store, BrokerAddress("127.0.0.1", 1))
    refused = {("topic", f"{number} " + "x" * 1000): 10 - number for number in range(8)}
    result = IngestResult(commits=(), inserted=0, repeated=0, refused=refused, conflicts=0, foreign=0)
    try:
        with capture_logs() as logs:
            ingestor._report(result)
    finally:
        store.close()

    assert [(line["topic"], line["reason"][:3], line["count"]) for line in logs[:5]] == [
        ("topic", f"{number} x", 10 - number) for number in range(5)
    ]
    assert len(logs[0]["reason"]) == 200
    assert (len(logs), logs[5]["event"], logs[5]["count"]) == (6, "more messages quarantined", 5 + 4 + 3)


def listed(store: Store) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(typed(store, "list", "--json").stdout)
    return found
