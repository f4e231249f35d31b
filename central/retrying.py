"""What is in quarantine, read once more by the rules of today: a setting or a version may have been the reason."""

import json
from datetime import UTC, datetime

from central.store import Arrival, QuarantinedWhole
from central.store.quarantined import OTHER_CONTENT
from central.validate import validate
from contracts.errors import DataError
from contracts.serial_form import SerialForm
from contracts.topics import parse
from messaging.session import Message


def again(entry: QuarantinedWhole, form: SerialForm) -> Arrival:
    """The message, or the one record of it that was refused, as it would be taken now.

    Raises DataError, with the reason, where it would be refused again: nothing is taken then.
    """
    found = parse(entry.topic)
    if found is None or found[1] != "records":
        raise DataError(f"quarantine {entry.id} holds no results: it came on {entry.topic}")
    if entry.reason == OTHER_CONTENT:
        raise DataError(f"quarantine {entry.id}: two contents claim one number, and no rule says which is right")
    topics = found[0]
    message = Message(entry.topic, _whole(entry), False, {}, 0, 0)
    arrival = validate(message, topics, form)
    if arrival.rejected:
        reasons = "; ".join(sorted({rejected.reason for rejected in arrival.rejected}))
        raise DataError(f"quarantine {entry.id} would be refused again: {reasons}")
    return arrival


def _whole(entry: QuarantinedWhole) -> bytes:
    """A message: what was kept may be one record of it, with its number or without."""
    try:
        content = json.loads(entry.payload)
    except (ValueError, RecursionError):
        return entry.payload
    if not isinstance(content, dict) or "records" in content or entry.stream_id is None:
        return entry.payload
    found = parse(entry.topic)
    assert found is not None, "asked before"
    topics = found[0]
    item = content if "record" in content else {"seq": entry.first_seq, "record": content}
    return json.dumps(
        {
            "v": 1,
            "stream_id": entry.stream_id,
            "site": topics.site,
            "line": topics.line,
            "station": topics.station,
            "sent_at": datetime.now(UTC).isoformat(),
            "records": [item],
        }
    ).encode()
