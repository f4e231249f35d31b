"""Which faults happen when: drawn from a seed, so that the same seed makes the same ones again."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random


class Kind(StrEnum):
    """What is done to the line."""

    AGENT_KILLED = "agent_killed"
    AGENT_PAUSED = "agent_paused"
    BROKER_KILLED = "broker_killed"
    BROKER_PAUSED = "broker_paused"
    BROKER_WIPED = "broker_wiped"
    INGESTOR_KILLED = "ingestor_killed"
    INGESTOR_PAUSED = "ingestor_paused"
    DATABASE_KILLED = "database_killed"
    DATABASE_PAUSED = "database_paused"
    STATION_CUT_OFF = "station_cut_off"
    STATION_UNHEARD = "station_unheard"
    STATION_SLOW = "station_slow"
    STATION_REORDERED = "station_reordered"
    CENTRAL_CUT_OFF = "central_cut_off"
    CENTRAL_UNHEARD = "central_unheard"
    CENTRAL_SLOW = "central_slow"
    CENTRAL_REORDERED = "central_reordered"
    DISK_REFUSES = "disk_refuses"
    DISK_FULL = "disk_full"
    CLOCK_JUMPS = "clock_jumps"
    MACHINE_CUT_OFF = "machine_cut_off"
    MACHINE_SILENT = "machine_silent"
    MACHINE_RESTARTED = "machine_restarted"
    MESSAGES_REPEATED = "messages_repeated"
    OUTBOX_COPIED = "outbox_copied"


@dataclass(frozen=True)
class About:
    """A kind in words, which things it can happen to (a key of the targets), and how long it lasts, in seconds."""

    what: str
    happens_to: str
    shortest_s: float
    longest_s: float


KINDS: Mapping[Kind, About] = {
    Kind.AGENT_KILLED: About("SIGKILL to an agent, started again after the time", "station", 0.0, 8.0),
    Kind.AGENT_PAUSED: About("SIGSTOP to an agent, SIGCONT after the time", "station", 0.2, 20.0),
    Kind.BROKER_KILLED: About("SIGKILL to the broker, started again after the time", "broker", 0.0, 8.0),
    Kind.BROKER_PAUSED: About("SIGSTOP to the broker, SIGCONT after the time", "broker", 0.2, 15.0),
    Kind.BROKER_WIPED: About("the broker killed, its storage deleted, started again", "broker", 0.0, 5.0),
    Kind.INGESTOR_KILLED: About("SIGKILL to an ingestor, started again after the time", "ingestor", 0.0, 8.0),
    Kind.INGESTOR_PAUSED: About("SIGSTOP to an ingestor, SIGCONT after the time", "ingestor", 0.2, 20.0),
    Kind.DATABASE_KILLED: About("SIGKILL to PostgreSQL, started again after the time", "database", 0.0, 5.0),
    Kind.DATABASE_PAUSED: About("SIGSTOP to PostgreSQL, SIGCONT after the time", "database", 0.2, 15.0),
    Kind.STATION_CUT_OFF: About("an agent's connection to the broker reset and refused", "station", 0.2, 20.0),
    Kind.STATION_UNHEARD: About("an agent's connection to the broker open, nothing passes", "station", 0.2, 20.0),
    Kind.STATION_SLOW: About("an agent's connection to the broker late by up to 1.5 s", "station", 1.0, 20.0),
    Kind.STATION_REORDERED: About("MQTT packets between an agent and the broker overtake", "station", 1.0, 20.0),
    Kind.CENTRAL_CUT_OFF: About("an ingestor's connection to the broker reset and refused", "ingestor", 0.2, 20.0),
    Kind.CENTRAL_UNHEARD: About("an ingestor's connection to the broker open, nothing passes", "ingestor", 0.2, 20.0),
    Kind.CENTRAL_SLOW: About("an ingestor's connection to the broker late by up to 1.5 s", "ingestor", 1.0, 20.0),
    Kind.CENTRAL_REORDERED: About("MQTT packets between broker and ingestor overtake", "ingestor", 1.0, 20.0),
    Kind.DISK_REFUSES: About("no file of an agent may grow (RLIMIT_FSIZE), until the time is up", "station", 0.5, 15.0),
    Kind.DISK_FULL: About("an agent's file system filled to the last byte, then freed", "small disk", 0.5, 15.0),
    Kind.CLOCK_JUMPS: About("an agent's clock set hours forward or back", "station", 0.0, 0.0),
    Kind.MACHINE_CUT_OFF: About(
        "a machine's cable pulled out, or its connection reset and refused", "machine", 0.2, 15.0
    ),
    Kind.MACHINE_SILENT: About("a machine's connection open, nothing passes", "networked machine", 0.2, 15.0),
    Kind.MACHINE_RESTARTED: About("a machine switched off and on: its counter begins at 0 again", "machine", 0.2, 5.0),
    Kind.MESSAGES_REPEATED: About("records messages published again by somebody, in any order", "broker", 0.0, 0.0),
    Kind.OUTBOX_COPIED: About("a second agent of a station, on a copy of its outbox", "station", 3.0, 15.0),
}


@dataclass(frozen=True)
class Fault:
    """One fault: when it begins (seconds from the start), what happens to whom, and for how long.

    ``strength`` from 0 to 1 is for what a kind has to choose: how many hours, how many messages.
    """

    number: int
    at_s: float
    kind: Kind
    target: str
    lasts_s: float
    strength: float

    def __str__(self) -> str:
        return f"{self.at_s:7.1f} s  {self.kind} {self.target} ({self.lasts_s:.1f} s)"


def schedule(
    seed: int, minutes: float, per_minute: float, kinds: Collection[Kind], targets: Mapping[str, Sequence[str]]
) -> list[Fault]:
    """The faults of a run, in order of time. ``targets``: what there is, by the names that ``About.happens_to`` uses.

    Every kind comes equally often: kinds are drawn like cards, and the deck is shuffled again when it is used up.
    Short faults are more frequent than long ones.
    """
    random = Random(seed)
    times = sorted(random.uniform(0.0, minutes * 60) for _ in range(round(minutes * per_minute)))
    deck = _decks(random, [kind for kind in Kind if kind in kinds])
    faults = []
    for number, at_s in enumerate(times, start=1):
        kind = next(deck)
        about = KINDS[kind]
        lasts_s = about.shortest_s + (about.longest_s - about.shortest_s) * random.random() ** 3
        target = random.choice(targets[about.happens_to])
        faults.append(Fault(number, at_s, kind, target, lasts_s, random.random()))
    return faults


def _decks(random: Random, kinds: Sequence[Kind]) -> Iterator[Kind]:
    while True:
        yield from random.sample(kinds, len(kinds))
