"""What a station says of itself when it connects, and how a copied outbox gives itself away.

An agent mints an instance at each start and writes it down nowhere. A restart is a new instance that follows the one
before; an instance that comes back after another one has followed it proves that two agents run with one outbox.
Which of them is the copy cannot be known, and need not be: the one that came back begins a new stream. A new instance
that knows fewer numbers than have arrived was started on an older image of the outbox. One that has caught up before it
is heard knows as many, with other results under them: those move to the stream's successor, and that is told here.
"""

from datetime import datetime

import sqlalchemy as sa

from central.store.arrivals import Alarm, AlarmKind, Claim
from central.store.ledger import REMEMBERED, Ledger
from central.store.tables import streams
from contracts.envelope import Birth, has_gaps

Instances = list[list[str]]
"""Instance and the ``at`` of its latest birth; the one that holds the stream last."""


def keep_birth(connection: sa.Connection, ledger: Ledger, birth: Birth, now: datetime) -> list[Alarm]:
    """A station writes in this stream: note it in the stream's row, whose ledger is locked. Answers what it gives
    away."""
    mine = (streams.c.stream_id == birth.stream_id) & (streams.c.station == birth.station)
    row = connection.execute(sa.select(streams.c.instances, streams.c.host).where(mine)).one()
    instances: Instances = [list(one) for one in row.instances]
    # One that holds nothing yet will hold what it numbers from now on.
    oldest = birth.oldest_available or birth.last_seq + 1
    started = birth.online and birth.instance not in [one[0] for one in instances]
    found = _look(ledger, birth, instances, row.host)
    if started and birth.last_seq < ledger.highest:
        ledger.withdraw()  # an older image of the outbox: it is about to begin a new stream
    else:
        ledger.withdraw(but=[(oldest, max(ledger.highest, oldest))])
    # Every other birth may have been said long ago: a retained one, or a last will.
    ledger.last_seq = max(birth.last_seq, ledger.highest, 0 if started else ledger.last_seq or 0)
    said = {
        "oldest_available": oldest,
        "host": birth.host.replace("\x00", "\ufffd"),
        "software": birth.software.replace("\x00", "\ufffd"),
        "online": birth.online,
        "parked": birth.parked,
        "troubles": [trouble.replace("\x00", "\ufffd") for trouble in birth.troubles],
        "born_at": now,
    }
    # Words of an instance that another one followed say nothing of the one that holds the stream.
    late = birth.instance is not None and any(one[0] != birth.instance for one in instances[-1:])
    connection.execute(sa.update(streams).where(mine).values(instances=instances, **({} if late else said)))
    return found


def keep_earlier(connection: sa.Connection, ledger: Ledger, birth: Birth) -> list[Alarm]:
    """A station still holds records of a stream it wrote before. Answers an alarm when more have moved there."""
    mine = (streams.c.stream_id == birth.stream_id) & (streams.c.station == birth.station)
    known = ledger.last_seq or 0
    ledger.last_seq = max(birth.last_seq, ledger.highest)
    ledger.withdraw(but=[(birth.oldest_available, ledger.highest)] if birth.oldest_available else ())
    connection.execute(sa.update(streams).where(mine).values(oldest_available=birth.oldest_available))
    if not has_gaps(birth.stream_id) or birth.last_seq <= known:
        return []
    what = (
        f"on host {birth.host}: central had other results under the numbers of some that wait there, and these moved to"
        " this stream: the outbox was copied, or restored from an older image"
    )
    return [_alarm(AlarmKind.OTHER_CONTENT, birth, what)]


def _look(ledger: Ledger, birth: Birth, instances: Instances, host: str | None) -> list[Alarm]:
    """Note the instance; answers an alarm when it proves two agents, or begins with less than the one before it had.

    After an emptied database the records may be here before the birth that came before them: nobody is before it then.
    """
    instance, at = birth.instance, birth.at.isoformat()
    if instance is None or not birth.online:
        return []
    if not ledger.owner:
        told_before = instance in ledger.mint
        ledger.tell_to_mint(instance)
        return [] if told_before else [_alarm(AlarmKind.FOREIGN_STREAM, birth, f"on host {birth.host}")]
    place = next((number for number, one in enumerate(instances) if one[0] == instance), None)
    if place is None:
        follows = bool(instances)
        instances.append([instance, at])
        del instances[:-REMEMBERED]
        if not follows or birth.last_seq >= ledger.highest:
            return []
        what = f"on host {birth.host}: it ends at seq {birth.last_seq}, and central has seq {ledger.highest}"
        return [_alarm(AlarmKind.OLDER_IMAGE, birth, what)]
    if place == len(instances) - 1 or at <= instances[place][1]:
        # The one that holds the stream connects again; or its birth is delivered again, by another ingestor too.
        instances[place][1] = max(at, instances[place][1])
        return []
    instances[place][1] = at
    ledger.tell_to_mint(instance)
    return [_alarm(AlarmKind.TWO_AGENTS, birth, f"on host {birth.host}, after another on host {host}")]


def _alarm(kind: AlarmKind, birth: Birth, detail: str) -> Alarm:
    return Alarm(kind, Claim(birth.stream_id, birth.station), detail.replace("\x00", "\ufffd"))
