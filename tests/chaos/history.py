"""What the machines made: the truth that the database is compared with, kept by whoever is the machines."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random

Value = int | float | str | bool


@dataclass
class Made:
    """One result of one machine, written down before anybody can see it.

    ``life`` counts the machine's restarts, ``key`` its results within a life. ``expected`` is the outcome, known from
    how the values were chosen and never computed by the code under test. ``ended``: the machine was switched off with
    this result still unacknowledged; it may have been taken, or not. ``copy`` is 0 for a station's own machine, else
    the number of the copied outbox whose machine it is: a second one of the same name.
    """

    station: str
    machine: str
    holds: bool
    life: int
    key: int
    serial_number: str
    temperature: float
    expected: str
    made_at_s: float
    acknowledged: bool = False
    ended: bool = False
    copy: int = 0


@dataclass
class Disturbance:
    """A time in which a station could not be expected to see everything its machines showed."""

    station: str
    from_s: float
    to_s: float = float("inf")


@dataclass(frozen=True)
class Baseline:
    """Where a machine's history begins: its life and counter, and the epoch its station counts by then."""

    life: int = 0
    key: int = 0
    epoch: int = 0


@dataclass
class History:
    """All of it, in the order it happened.

    A station takes what a machine shows at first as its baseline; which result that was nobody can see from outside.
    So the history of a machine begins behind the first result that is seen to have arrived (``warm_up``), and
    ``baselines`` says where that is. A copied outbox knows where the counter stood.
    """

    made: list[Made] = field(default_factory=list)
    disturbances: list[Disturbance] = field(default_factory=list)
    baselines: dict[tuple[str, str, int], Baseline] = field(default_factory=dict)
    warm_up: set[str] = field(default_factory=set)

    def begin_behind(self, arrived: Made) -> None:
        """The history of this result's machine begins behind it."""
        mine = [one for one in self.made if place(one) == place(arrived)]
        before = mine[: mine.index(arrived) + 1]
        self.warm_up |= {one.serial_number for one in before}
        self.made = [one for one in self.made if one.serial_number not in self.warm_up]
        self.baselines[place(arrived)] = Baseline(arrived.life, arrived.key)

    def disturbed(self, station: str, from_s: float, to_s: float) -> bool:
        """True when something of this station was broken at any time in between."""
        return any(one.station == station and one.from_s <= to_s and from_s <= one.to_s for one in self.disturbances)

    def write(self, file: Path) -> None:
        """One JSON line for each result."""
        file.write_text("".join(json.dumps(asdict(one)) + "\n" for one in self.made), encoding="utf-8")


def place(one: Made) -> tuple[str, str, int]:
    """Which machine made a result."""
    return one.station, one.machine, one.copy


def values_of_a_cycle(random: Random) -> tuple[dict[str, Value], str]:
    """The values of a result (a unit on a sensor tester), and the outcome a station has to find.

    59.0 to 61.0 degC passes, both included; the TOF sensor has to answer; a machine's own FAIL counts, its PASS does
    not help; a judgement that is neither is no judgement: the station cannot judge that unit.
    """
    inside = random.choice([59.0, 61.0, round(random.uniform(59.0, 61.0), 2)])
    outside = random.choice(
        [58.99, 61.01, round(random.uniform(61.01, 70.0), 2), round(random.uniform(20.0, 58.99), 2)]
    )
    story = random.random()
    if story < 0.7:
        temperature, tof, judgement, expected = inside, True, 1, "PASS"
    elif story < 0.8:
        temperature, tof, judgement, expected = outside, True, random.choice([1, 2]), "FAIL"
    elif story < 0.87:
        temperature, tof, judgement, expected = inside, False, 1, "FAIL"
    elif story < 0.94:
        temperature, tof, judgement, expected = inside, True, 2, "FAIL"
    else:
        temperature, tof, judgement, expected = inside, True, 9, "ERROR"
    return {"temperature": temperature, "tof_i2c": tof, "judgement": judgement}, expected
