"""The outbox's tables, grown by sqlite-utils migrations.

``streams``: one row per stream this file holds records of; the one without ``ended_at`` is in use. ``sent`` is the
highest seq that may have left this file, ``absent`` how many numbers up to ``last_seq`` are rightly not here (deleted
after their time, or never brought back from a damaged file). ``records``: numbered in their stream; settled once
central holds their very content; parked when they cannot be sent; ``crc`` tells a content that is no longer what was
kept; ``disputed`` where their number was used for another content too, so that both are in central's quarantine.
``cursors``: the last cycle of each machine that was kept, and a digest of what it said. ``notes``: what the station
remembers about itself.

A month of settled records stays in the file. Whatever is asked while results come in has an index of its own, so
that the writer never walks through that month.
"""

from sqlite_utils import Database, Migrations

migrations = Migrations("neurohub-outbox")


@migrations()
def create(db: Database) -> None:
    db.table("streams").create(
        {"id": int, "stream_id": str, "minted_at": str, "last_seq": int, "sent": int},
        pk="id",
        not_null={"stream_id", "minted_at", "last_seq", "sent"},
        defaults={"last_seq": 0, "sent": 0},
    )
    db.table("records").create(
        {
            "stream": int,
            "seq": int,
            "machine": str,
            "created_at": str,
            "body": bytes,
            "settled_at": str,
            "parked": str,
        },
        pk=("stream", "seq"),
        not_null={"machine", "created_at", "body"},
        foreign_keys=[("stream", "streams", "id")],
    )
    db.execute("CREATE INDEX unsettled ON records (stream, seq) WHERE settled_at IS NULL")
    db.table("cursors").create(
        {"machine": str, "key_type": str, "cycle_key": str, "epoch": int},
        pk="machine",
        not_null={"key_type", "cycle_key", "epoch"},
    )


@migrations()
def index_settled_and_parked(db: Database) -> None:
    db.execute("CREATE INDEX settled ON records (settled_at) WHERE settled_at IS NOT NULL")
    db.execute("CREATE INDEX parked ON records (stream, seq) WHERE parked IS NOT NULL")


@migrations()
def keep_streams_that_have_ended(db: Database) -> None:
    db.execute("ALTER TABLE streams ADD COLUMN ended_at TEXT")
    db.execute("ALTER TABLE streams ADD COLUMN absent INTEGER NOT NULL DEFAULT 0")
    db.execute(
        "UPDATE streams SET last_seq = max(last_seq, coalesce((SELECT max(seq) FROM records WHERE stream = id), 0)),"
        " ended_at = CASE WHEN id < (SELECT max(id) FROM streams) THEN minted_at END"
    )
    db.execute("UPDATE streams SET absent = last_seq - (SELECT count(*) FROM records WHERE stream = id)")
    db.table("notes").create({"name": str, "value": str}, pk="name", not_null={"value"})


@migrations()
def check_contents(db: Database) -> None:
    db.execute("ALTER TABLE records ADD COLUMN crc INTEGER")


@migrations()
def tell_results_of_one_number_apart(db: Database) -> None:
    db.execute("ALTER TABLE cursors ADD COLUMN content TEXT")


@migrations()
def mark_what_is_disputed(db: Database) -> None:
    db.execute("ALTER TABLE records ADD COLUMN disputed INTEGER")
    db.execute("CREATE INDEX disputed ON records (stream, seq) WHERE disputed IS NOT NULL")
