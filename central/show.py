"""What the store tells, as a table for a person or as JSON for a program."""

import codecs
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table
from rich.text import Text

from central.replay import Outcome
from central.store import (
    AlarmRow,
    Asked,
    ExceptionRow,
    GoldenRow,
    Incomplete,
    Quarantined,
    QuarantinedWhole,
    Reconciliation,
    Standing,
    StreamStatus,
)
from central.store.archiving import Month
from central.store.spans import count, told, union

_PIPED_COLUMNS = 240
"""Width of a table that goes into a file or a pipe: nothing is cut off there."""
_REASON_SHOWN = 300
"""Characters of a reason in a table."""
_BYTES_SHOWN = 4096
"""Of what was received, on a screen."""


def json_of(found: Any) -> str:
    """What the store tells as JSON: an object, or an array of them; times are ISO 8601 in UTC, bytes hexadecimal."""
    plain = asdict(found) if is_dataclass(found) and not isinstance(found, type) else [asdict(row) for row in found]
    return json.dumps(plain, default=_plain, indent=2, ensure_ascii=False)


def show(table: Table) -> None:
    """Print a table, as wide as the terminal or as it needs."""
    terminal = sys.stdout.isatty()
    Console(file=sys.stdout, highlight=False, width=None if terminal else _PIPED_COLUMNS).print(table)


def streams_table(streams: Sequence[StreamStatus]) -> Table:
    """Every station's ledger."""
    table = plain_table(
        "station", "stream", "state", "committed", "missing", "last", "oldest", "backlog", "clock", "birth"
    )
    for column in ("committed", "last", "oldest", "backlog", "clock"):
        _column(table, column).justify = "right"
    for stream in streams:
        table.add_row(
            Text(stream.station),
            Text(stream.stream_id[:8]),
            _state(stream),
            str(stream.committed_seq),
            _missing(stream),
            str(stream.last_seq),
            "" if stream.oldest_available is None else str(stream.oldest_available),
            str(stream.backlog),
            "" if stream.clock_offset_seconds is None else f"{stream.clock_offset_seconds:+.3f} s",
            moment(stream.born_at),
        )
    return table


def incomplete_table(found: Sequence[Incomplete]) -> Table:
    """Permits without a result."""
    table = plain_table("unit", "station", "process", "started", "permit")
    _column(table, "process").justify = "right"
    for one in found:
        permit = "offline" if one.offline else "" if one.permit is None else str(one.permit)
        table.add_row(
            Text(one.serial_number), Text(one.station), str(one.process_number), moment(one.started_at), permit
        )
    return table


def alarms_table(alarms: Sequence[AlarmRow]) -> Table:
    """What someone has to look into."""
    table = plain_table("id", "station", "stream", "what", "detail", "times", "first", "last", "acknowledged")
    for alarm in alarms:
        table.add_row(
            str(alarm.id),
            Text(alarm.station),
            Text(alarm.stream_id[:8]),
            Text(alarm.kind),
            Text(alarm.detail),
            str(alarm.occurrences),
            moment(alarm.raised_at),
            moment(alarm.last_at),
            moment(alarm.acknowledged_at),
        )
    return table


def golden_table(found: Sequence[GoldenRow]) -> Table:
    """Golden samples: what the last checks said, and what failed ones hold."""
    table = plain_table("station", "machine", "sample", "checked", "result", "units on hold", "hold")
    for one in found:
        table.add_row(
            Text(one.station),
            Text(one.machine),
            Text(one.sample),
            moment(one.checked_at),
            "good" if one.good else "FAILED",
            Text(", ".join(one.on_hold)),
            Text(one.hold_id or ""),
        )
    return table


def quarantine_table(found: Sequence[Quarantined]) -> Table:
    """What could not be taken, without its bytes."""
    table = plain_table("id", "received", "topic", "stream", "seq", "bytes", "reason", "settled")
    _column(table, "bytes").justify = "right"
    for one in found:
        table.add_row(
            str(one.id),
            moment(one.received_at),
            Text(one.topic),
            Text((one.stream_id or "")[:8]),
            _range(one),
            str(one.size),
            Text(_in_line(one.reason, _REASON_SHOWN)),
            "" if one.settled_as is None else Text(_in_line(f"{one.settled_as} by {one.settled_by}")),
        )
    return table


def exceptions_table(found: Sequence[ExceptionRow]) -> Table:
    """What contradicts other facts."""
    table = plain_table("id", "unit", "LOT", "code", "process", "blocks", "detail", "closed")
    for one in found:
        table.add_row(
            one.id[:8],
            Text(one.unit or one.about_unit or ""),
            Text(one.lot_number or ""),
            one.code,
            "" if one.process_number is None else str(one.process_number),
            "yes" if one.open else "",
            Text(_in_line(one.detail, _REASON_SHOWN)),
            Text("" if one.closed_by is None else _in_line(f"{one.closed_by}: {one.closed_because}", _REASON_SHOWN)),
        )
    return table


def partitions_table(found: Sequence[Month]) -> Table:
    """Months of results."""
    table = plain_table("month", "rows", "MiB")
    for column in ("rows", "MiB"):
        _column(table, column).justify = "right"
    for one in found:
        table.add_row(f"{one.month:%Y-%m}", str(one.rows), f"{one.size / 2**20:.1f}")
    return table


def exception_lines(one: ExceptionRow) -> list[str]:
    """One of them."""
    stream = "made by no single fact" if one.about is None else f"made by stream {one.about[0]}, seq {one.about[1]}"
    return [
        f"id {one.id}, {one.code}" + (", stands between the unit and PASSED" if one.open else ""),
        f"unit {one.unit or one.about_unit or 'none'}, LOT {one.lot_number or 'not known'}",
        f"process {one.process_number or 'none'}, {stream}",
        _in_line(one.detail),
        "not closed" if one.closed_by is None else f"closed by {_in_line(f'{one.closed_by}: {one.closed_because}')}",
    ]


def quarantined_lines(found: QuarantinedWhole) -> list[str]:
    """One of them with its bytes: as text where they are one, else as hexadecimal digits."""
    shown, rest = found.payload[:_BYTES_SHOWN], found.size - _BYTES_SHOWN
    text = _readable(shown)
    lines = [
        f"id {found.id}, received {moment(found.received_at)}",
        f"topic {_in_line(found.topic)}",
        f"stream {found.stream_id or 'not told'}, seq {_range(found) or 'not told'}",
        f"reason {_in_line(found.reason)}",
        *([] if found.settled_as is None else [_settled(found)]),
        f"{found.size} bytes" + ("" if text is not None else ", as hexadecimal digits, for they are no text"),
    ]
    lines += text.splitlines() if text is not None else _hex_lines(shown)
    return [*lines, f"... and {rest} bytes more: --raw writes all of them"] if rest > 0 else lines


def machines_table(found: Reconciliation) -> Table:
    """Counters against records, shift by shift."""
    numbers = ("made", "stored", "committed", "never read", "not here", "doubled", "restarts")
    table = plain_table("station", "machine", "date", "shift", "counter", *numbers)
    for column in ("counter", *numbers):
        _column(table, column).justify = "right"
    for row in found.machines:
        table.add_row(
            Text(row.station),
            Text(row.machine),
            str(row.date),
            Text(row.shift),
            "" if row.first is None else f"{row.first}-{row.last}",
            "?" if row.made is None else str(row.made),
            *(
                str(number)
                for number in (row.stored, row.committed, row.never_read, row.not_here, row.doubled, row.restarts)
            ),
        )  # fmt: skip
    return table


def reconciliation_lines(found: Reconciliation) -> list[str]:
    """The numbers that are missing, what the stations have not delivered, and a line of sums."""
    lines: list[str] = []
    for gap in found.missing:
        where = f"{gap.station} {gap.machine}, before number {gap.number} at {moment(gap.at)}"
        if gap.count is None:
            lines.append(f"{where}: the counter stepped back, what was missed is not known")
            continue
        numbers = told(gap.numbers) or f"{gap.count} numbers"
        why = "never read by the station" if gap.never_read else "read by the station, not here"
        lines.append(f"{where}: {numbers} {why}")
    for station in found.stations:
        stream = station.stream
        what = [f"{stream.backlog} to come"] if stream.backlog else []
        what += [f"seq {_missing(stream)}"] if stream.missing else []
        what += [f"{stream.parked} too large to send"] if stream.parked else []
        what += [f"{station.quarantined} in quarantine"] if station.quarantined else []
        if what:
            lines.append(f"{stream.station}, stream {stream.stream_id[:8]}: {'; '.join(what)}")
    sums = {
        name: sum(getattr(row, name) for row in found.machines)
        for name in ("stored", "committed", "never_read", "not_here", "doubled", "restarts")
    }
    lines.append(", ".join(f"{name.replace('_', ' ')} {number}" for name, number in sums.items()))
    return lines


class ReplayProgress:
    """How far a replay has come: a bar in a terminal, a line for each step elsewhere."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False)
        self._bar = Progress(TextColumn("sent again"), BarColumn(), MofNCompleteColumn(), console=self._console)
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, asked: Asked, now: Standing) -> None:
        """Show this."""
        total = count(asked.spans)
        if self._task is None:
            self._task = self._bar.add_task("replay", total=total)
            whom = f"station {asked.claim.station}, stream {asked.claim.stream_id[:8]}"
            self._console.print(Text(f"asked {whom} for {total} records: seq {told(asked.spans, most=5)}"))
        self._bar.update(self._task, completed=total - count(now.open))


def outcome_lines(station: str, outcome: Outcome) -> list[str]:
    """What a replay came to."""
    repeated = outcome.came - outcome.stored
    lines = [
        f"asked for {outcome.asked}, came {outcome.came}: stored {outcome.stored} that central lacked,"
        f" {repeated} were there already"
    ]
    if outcome.disputed:
        lines.append(f"{outcome.disputed} of them have other content than central has: see neurohub-central alarms")
    if outcome.open and outcome.online:
        lines.append(
            f"seq {told(outcome.open)} did not come and is not asked for any longer: does an ingestor run, and does"
            f" {station} still keep them (neurohub-central streams --station {station})?"
        )
    elif outcome.open:
        lines.append(f"{station} went offline; it sends {count(outcome.open)} more when it is back")
    return lines


def _settled(found: Quarantined) -> str:
    words = f"{found.settled_by}: {found.settled_because}"
    return f"{found.settled_as} on {moment(found.settled_at)} by {_in_line(words)}"


def _state(stream: StreamStatus) -> Text:
    words: list[str] = []
    if not stream.present:
        words.append("former")
    else:
        words.append({True: "online", False: "offline", None: "not heard of"}[stream.online])
    if not stream.owner:
        words.append("another station's stream" if stream.owned else "no record of it yet")
    if stream.copies:
        words.append(f"copied, {stream.copies} told to begin a new stream")
    if stream.parked:
        words.append(f"{stream.parked} too large to send")
    words.extend(stream.troubles)
    return Text("; ".join(words), style="green" if words == ["online"] else "yellow")


def _missing(stream: StreamStatus) -> Text:
    words: list[str] = []
    if stream.missing:
        since = min(gap.since for gap in stream.missing)
        spans = union([(gap.first, gap.last) for gap in stream.missing])
        words.append(f"{told(spans, most=5)} since {moment(since)}")
    if stream.gone:
        words.append(f"{count(stream.gone)} of them no longer kept by the station")
    if stream.asked:
        words.append(f"{count(stream.asked)} asked for again")
    return Text("; ".join(words))


def plain_table(*columns: str) -> Table:
    """A table without lines."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _column(table: Table, name: str) -> Any:
    return next(column for column in table.columns if column.header == name)


def moment(at: datetime | None) -> str:
    """A time in UTC, to the second; nothing where there is none."""
    return "" if at is None else at.strftime("%Y-%m-%d %H:%M:%SZ")


def _range(one: Quarantined) -> str:
    if one.first_seq is None or one.last_seq is None:
        return ""
    return str(one.first_seq) if one.first_seq == one.last_seq else f"{one.first_seq}-{one.last_seq}"


def _in_line(text: str, most: int | None = None) -> str:
    """Somebody's text in one line: what would move the cursor, or do worse to a terminal, is written out."""
    plain = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return plain if most is None or len(plain) <= most else f"{plain[: most - 3]}..."


def _readable(data: bytes) -> str | None:
    """The bytes as a text that can be printed; None where they are none. A character may be cut off at their end."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\r\n\t" for char in text) else None


def _hex_lines(data: bytes) -> list[str]:
    rows = ((at, data[at : at + 16]) for at in range(0, len(data), 16))
    return [
        f"{at:08x}  {row.hex(' '):47}  {''.join(chr(byte) if 32 <= byte < 127 else '.' for byte in row)}"
        for at, row in rows
    ]


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no JSON form")
