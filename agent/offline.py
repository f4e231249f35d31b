"""May this unit run here, as far as the station itself can know? Pure: the LOT's last digest, the station's own work
since, and the rule of its YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from contracts.criteria import Outcome
from contracts.digest import RouteDigest, UnitDigest
from contracts.firmware import Firmware
from contracts.identity import lot_of_serial
from contracts.permit import DecidedBy
from contracts.processes import BY_CODE
from contracts.record import Part, ProcessRecord
from contracts.refusals import Refusal, RefusalCode
from contracts.route_model import RouteLimits, UnitStatus
from contracts.route_start import belongs_elsewhere, may_start, may_start_by_its_own, may_start_in
from drivers.interlock import Allow

LIMITS = RouteLimits()
_ONCE = datetime(1970, 1, 1, tzinfo=UTC)

Rule = str | Allow
"""``block``, ``allow_and_flag``, or so many."""


@dataclass(frozen=True)
class OwnWork:
    """What this station did with a unit, as far as the digest it had then does not show it.

    ``attempts`` and ``reworks`` are what the digest showed before.
    """

    attempts: int
    reworks: int
    judged: int = 0
    passed: bool = False


@dataclass(frozen=True)
class Known:
    """What the station knows of a unit. ``attempts`` counts judged measurements here since the last rework."""

    lot_number: str | None
    product_model: str | None
    attempts: int
    refusal: Refusal | None
    failed: bool = False
    firmware: Firmware | None = None

    @property
    def proven(self) -> bool:
        """By what central last said, it may start."""
        return self.refusal is None


@dataclass(frozen=True)
class Ruling:
    """The station's own decision."""

    refusal: Refusal | None
    decided_by: DecidedBy
    flagged: bool = False


def worked(
    own: Mapping[str, OwnWork], record: ProcessRecord, digests: Mapping[str, RouteDigest]
) -> tuple[str, OwnWork] | None:
    """The station's work on a unit with this result added; None where it says nothing of a permit."""
    number = BY_CODE[record.process].number if record.process in BY_CODE else None
    serial = record.serial_number
    counts = record.outcome in (Outcome.PASS, Outcome.FAIL) and record.part is Part.PRODUCT and not record.reject_label
    if serial is None or number is None or not counts:
        return None
    unit = _digest_of(serial, record.lot_number, digests)[1]
    before = own.get(serial)
    if before is None or _is_shown(before, unit, number):
        attempts = unit.attempts.get(number, 0) if unit is not None else 0
        before = OwnWork(attempts, unit.reworks if unit is not None else 0)
    passed = before.passed or record.outcome is Outcome.PASS
    return serial, replace(before, judged=before.judged + 1, passed=passed)


def known(
    serial: str,
    lot_number: str | None,
    number: int,
    digests: Mapping[str, RouteDigest],
    own: Mapping[str, OwnWork],
) -> Known:
    """What is known of this unit at this process."""
    digest, unit = _digest_of(serial, lot_number, digests)
    work = own.get(serial)
    if work is not None and not _is_shown(work, unit, number):
        unit = _with_own(unit or UnitDigest(), work, number)
    lot = digest.lot() if digest is not None else None
    state = unit.state(serial, digest.at) if unit is not None and digest is not None else None
    # A LOT that stops all its units is told first: of a closed one the digest names no unit any more.
    refusal = (may_start_in(lot) if lot is not None else None) or may_start(state, lot, number, LIMITS)
    if digest is None and unit is not None:  # nobody has told of the LOT: what was done here counts all the same
        of_own = may_start_by_its_own(unit.state(serial, _ONCE), number, LIMITS)
        refusal = refusal if of_own is None or of_own.may_have_been_lifted else of_own
    inside = lot_of_serial(serial)
    of_lot = inside[0] if inside is not None else digest.lot_number if digest is not None else None
    refusal = belongs_elsewhere(of_lot, lot_number) or refusal
    model = unit.model if unit is not None else None
    if model is None and digest is not None:
        model = digest.product_model
    return Known(
        lot_number=digest.lot_number if digest is not None else lot_number,
        product_model=model,
        attempts=unit.attempts.get(number, 0) if unit is not None else 0,
        refusal=refusal,
        failed=unit is not None and unit.status is UnitStatus.FAILED,
        firmware=digest.firmware.get(model) if digest is not None and model is not None else None,
    )


def ruled(found: Known, rule: Rule, given: int) -> Ruling:
    """The decision without central. ``given``: permits given so since central was last heard.

    What only work at other stations could change is not held against the unit: the digest may be older than that
    work. What people decided, and what this station knows itself, is.
    """
    refusal = found.refusal
    if refusal is not None and not refusal.may_have_been_lifted:
        return Ruling(refusal, DecidedBy.DIGEST)
    if rule == "block":
        detail = "central does not answer, and this station starts nothing without it (interlock.offline: block)"
        return Ruling(Refusal(RefusalCode.CENTRAL_UNREACHABLE, detail), DecidedBy.RULE)
    if isinstance(rule, Allow) and given >= rule.allow:
        detail = f"central does not answer, and {given} units were started without it (interlock.offline)"
        return Ruling(Refusal(RefusalCode.CENTRAL_UNREACHABLE, detail), DecidedBy.RULE)
    if refusal is None:
        return Ruling(None, DecidedBy.DIGEST)
    return Ruling(None, DecidedBy.RULE, flagged=True)


def _digest_of(
    serial: str, lot_number: str | None, digests: Mapping[str, RouteDigest]
) -> tuple[RouteDigest | None, UnitDigest | None]:
    """The LOT's digest, by the number, else by whichever names the unit, else by what the machine says."""
    inside = lot_of_serial(serial)
    wanted = inside[0] if inside is not None else None
    if wanted is None:
        wanted = next((lot for lot, digest in digests.items() if serial in digest.units), lot_number)
    digest = digests.get(wanted) if wanted is not None else None
    return digest, None if digest is None else digest.units.get(serial)


def _is_shown(work: OwnWork, unit: UnitDigest | None, number: int) -> bool:
    """Whether the digest knows of this work by now, or a rework has voided it."""
    if unit is None:
        return False
    return unit.reworks != work.reworks or unit.attempts.get(number, 0) >= work.attempts + work.judged


def _with_own(unit: UnitDigest, work: OwnWork, number: int) -> UnitDigest:
    attempts = work.attempts + work.judged
    changes: dict[str, object] = {"attempts": {**unit.attempts, number: attempts}}
    if work.passed:
        changes["passed"] = tuple(sorted({*unit.passed, number}))
    elif attempts > LIMITS.by_number[number].retest_limit:
        used_up = unit.reworks >= LIMITS.max_reworks or not LIMITS.by_number[number].rework_allowed
        changes |= {"status": UnitStatus.FAILED, "failure": "failed here", "final": used_up}
    if unit.status is UnitStatus.CREATED:
        changes.setdefault("status", UnitStatus.IN_PROGRESS)
    return unit.model_copy(update=changes)
