"""What the settings of a machine say beside its protocol: which point means what, and who works with it."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import (
    Field,
    InstanceOf,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    StringConstraints,
    model_validator,
)

from agent.dialogue.settings import DialogueSettings
from agent.dialogue.view import DialogueView
from agent.settings.golden import Golden
from contracts.base import DefectCode
from contracts.duration import Duration
from contracts.serial_form import SerialForm
from drivers.base import ProtocolSettings, Strict

MachineName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,31}$")]
"""Name of a machine within its station. No dot: ``printer.printed`` is a point of another machine."""

PointName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""Name of one of the machine's points; that it exists is checked with the protocol's own keys."""

SettingScalar = StrictBool | StrictInt | StrictFloat | StrictStr


class UnitPoints(Strict):
    """Which point says what is on the machine.

    ``scanner.code`` is a point of another machine of the station, which reads the unit before its result: a scan. It
    is used once, for the first result after it, and ``within`` says how long before that at most.
    """

    serial_number: PointName | None = None
    """Point that holds the unit's number. None: the point of this name, where the machine has one."""
    lot_number: PointName | None = None
    """Point that holds the LOT's number. None: the point of this name; without it, the LOT in the unit's number."""
    product_model: PointName | None = None
    """Point that holds the product. None: the point of this name; without it, the station's ``product_model``."""
    operator: PointName | None = None
    """Point that holds the operator. None: the point of this name; without it, the station's ``operator``."""
    within: Annotated[Duration, Field(gt=0)] | None = None
    """How long before the result a scan may be. Only, and always, with points of another machine."""

    @model_validator(mode="after")
    def _one_scanner(self) -> Self:
        named = {key: point.partition(".")[0] for key, point in self.by_key.items() if "." in point}
        if len(set(named.values())) > 1:
            other = next(key for key, name in named.items() if name != self.scanner)
            raise ValueError(f"{other}: one scan says all of a unit; name points of one other machine")
        if named and self.within is None:
            raise ValueError("within: how old may a scan be? for example within: 5m")
        if self.within is not None and not named:
            raise ValueError("within: is for what another machine reads, for example serial_number: scanner.code")
        return self

    @property
    def by_key(self) -> Mapping[str, str]:
        """The points that are named, by what they say."""
        keys = ("serial_number", "lot_number", "product_model", "operator")
        return {key: point for key in keys if (point := getattr(self, key)) is not None}

    @property
    def scanner(self) -> str | None:
        """The other machine that reads the unit, or None."""
        return next((point.partition(".")[0] for point in self.by_key.values() if "." in point), None)

    @property
    def scanned(self) -> Mapping[str, str]:
        """The scanner's points, by what they say."""
        return {key: point.partition(".")[2] for key, point in self.by_key.items() if "." in point}


class PointEquals(Strict):
    """True of a cycle where ``point`` has ``value``."""

    point: PointName
    """Point that says so."""
    value: SettingScalar
    """Value that means it, as the point has it: 1 is not true."""


class MachineVerdictSettings(Strict):
    """The machine's own verdict: the point, its value for each verdict, and the defect its FAIL means.

    A value that is neither is no verdict: the station cannot judge that cycle.
    """

    point: PointName
    """Point that holds the verdict."""
    passed: Annotated[SettingScalar, Field(alias="pass")]
    """Its value for PASS."""
    failed: Annotated[SettingScalar, Field(alias="fail")]
    """Its value for FAIL."""
    defect: DefectCode | None = None
    """Defect of a unit that the machine alone fails, for example ``ASSEMBLY_ERROR``."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if self.passed == self.failed and isinstance(self.passed, bool) == isinstance(self.failed, bool):
            raise ValueError("fail: pass and fail must differ")
        return self


class ReworkSettings(PointEquals):
    """How a station's own rework authorisation arrives: in a cycle where ``point`` has ``value``."""

    return_to: PointName
    """Point that holds the process the unit goes back to (``P02_LMA_ASSEMBLY``)."""
    reason: PointName
    """Point that holds why, as text."""


class ReprintSettings(Strict):
    """What has to be said where a unit is labelled here again (the permit's ``attempt`` is above 1).

    Without a reason nothing is done to the unit, and the record is an ERROR that says so.
    """

    reason: PointName
    """Point that holds why, as text. It becomes a measurement of each record that has it."""


class Companion(Strict):
    """Another machine of the station that works for this unit before the record is made."""

    machine: MachineName
    """Its name in this file. Its measurements stand in the record as ``machine.point``."""
    timeout: Annotated[Duration, Field(gt=0)] = 10.0
    """How long it may take. After that its measurements are missing, and the record is an ERROR."""
    needs_permit: bool = False
    """Whether it works only for a unit that was permitted, where the machine asks (``interlock``): a label is printed
    for no other."""


class Reconnect(Strict):
    """How long between attempts to open a lost link: from ``initial``, doubling, to ``max``."""

    initial: Annotated[Duration, Field(gt=0)] = 1.0
    """The first wait."""
    max: Annotated[Duration, Field(gt=0)] = 30.0
    """The longest."""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.initial > self.max:
            raise ValueError("initial: the first wait is longer than max")
        return self


class MachineKeys(Strict):
    """The keys of a machine that do not depend on its protocol, as they are written."""

    protocol: str
    """``opcua``, ``modbus``, ``serial``, ``label``, ``process``, or a plug-in's. It decides about the other keys."""
    unit: UnitPoints = UnitPoints()
    tables: Annotated[
        Mapping[MachineName, Annotated[Mapping[MachineName, PointName], Field(min_length=1)]], Field(default={})
    ]
    """Table measurement -> column -> the array point that holds it, one value per row."""
    machine_verdict: MachineVerdictSettings | None = None
    cycle_key: PointName | None = None
    """Point that holds the machine's own number of the result, a counter or text: tells repeats and gaps. Another
    result under the same number is recorded too, and told."""
    counter_modulus: Annotated[int, Field(ge=2)] | None = None
    """How many values the counter has before it is 0 again. None: as its point's type says (uint16: 65536)."""
    cycle_time: PointName | None = None
    """Point that holds how long the cycle took; its ``unit`` is ``s``."""
    rework: ReworkSettings | None = None
    reject_label: PointEquals | None = None
    """When the cycle was a reject label for a failed unit: kept, and no attempt at the unit."""
    reprint: ReprintSettings | None = None
    aborted: PointEquals | None = None
    """When the cycle was broken off: the record is ABORTED, whatever was measured."""
    measurements: tuple[PointName, ...] | None = None
    """Points that become measurements. None: all that have no other use here, in a trigger or an interlock."""
    companions: tuple[Companion, ...] = ()
    golden: Golden | None = None
    reconnect: Reconnect = Reconnect()
    clock_tolerance: Annotated[Duration, Field(gt=0)] = 60.0
    """How far the machine's clock may be from the station's before its times are flagged. They are kept either way."""
    dialogue: DialogueSettings | None = None
    records: bool = True
    """Whether its results become records. ``false``: it works for another machine (``companions``, ``unit``)."""


class MachineSettings(MachineKeys):
    """A machine, complete: defaults filled in from its points, and the protocol's own settings beside.

    ``unit`` names only points that exist. ``measurements`` is never None: the points whose values become
    measurements of their own names (the columns of ``tables`` are not among them). ``counter_modulus`` is the number
    at which the cycle key wraps to 0; None: it does not wrap, or is no counter. ``optional`` are measurements that a
    good result may lack. ``serial_form`` is the station's. With a ``dialogue`` the points are its answers.
    """

    name: MachineName
    measurements: tuple[PointName, ...]
    protocol_settings: ProtocolSettings
    optional: frozenset[PointName] = frozenset()
    serial_form: InstanceOf[SerialForm] = SerialForm()

    @property
    def measurement_names(self) -> tuple[str, ...]:
        """Names of the measurements this machine makes itself: points, then tables."""
        return (*self.measurements, *self.tables)

    @property
    def wire(self) -> ProtocolSettings:
        """The settings by which the machine itself is reached."""
        settings = self.protocol_settings
        return settings.scanner if isinstance(settings, DialogueView) else settings

    def unit_of(self, point: str) -> str | None:
        """The unit a point's value has, or None."""
        points = self.protocol_settings.points
        return (points[point] if point in points else self.wire.points[point]).unit
