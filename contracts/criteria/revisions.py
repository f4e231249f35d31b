"""Revisions of a process's criteria: which of its criteria hold for a unit, and which revision is in force when."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, model_validator

from contracts.base import Contract, Count, Name, ProcessCode, StationId, UtcTime
from contracts.criteria.rules import CriteriaSet, Criterion

ModelCode = Annotated[str, Field(min_length=1, max_length=100)]
Words = Annotated[str, Field(min_length=1, max_length=1000)]


class Variant(Contract):
    """Criteria for some units only: of a product model, at a station, on a machine. Together they all have to fit."""

    product_model: ModelCode | None = None
    station: StationId | None = None
    machine: Name | None = None
    criteria: Annotated[Mapping[Name, Criterion], Field(min_length=1)]

    @model_validator(mode="after")
    def _says_for_which(self) -> Self:
        if self.product_model is None and self.station is None and self.machine is None:
            raise ValueError("name a product_model, a station or a machine; criteria for all stand in criteria")
        return self

    @property
    def scope(self) -> tuple[bool, bool, bool]:
        """What it names. The larger one is the more specific: the model before the machine before the station."""
        return self.product_model is not None, self.machine is not None, self.station is not None

    def fits(self, product_model: str | None, station: str, machine: str) -> bool:
        """Whether it holds there. A unit whose model is not known fits no model."""
        return (
            self.product_model in (None, product_model)
            and self.station in (None, station)
            and self.machine in (None, machine)
        )


class Criteria(Contract):
    """What a person writes: the criteria of a process for every unit, and those that replace them for some.

    A criterion is chosen by its measurement's name: of all that fit, the most specific one.
    """

    process: ProcessCode
    criteria: Mapping[Name, Criterion] = Field(default_factory=dict)
    variants: tuple[Variant, ...] = ()

    @model_validator(mode="after")
    def _can_be_chosen_from(self) -> Self:
        if not self.criteria and not self.variants:
            raise ValueError("no criteria: nothing could pass")
        scopes = [(one.product_model, one.station, one.machine) for one in self.variants]
        for place, scope in enumerate(scopes):
            if scope in scopes[:place]:
                raise ValueError(f"variants.{place}: there is a variant for just these units already")
        for criteria in (self.criteria, *(one.criteria for one in self.variants)):
            CriteriaSet(process=self.process, revision="new", criteria=criteria)
        return self

    def all_criteria(self) -> Iterable[tuple[tuple[str | int, ...], Criterion]]:
        """Every criterion, with where it stands."""
        for name, criterion in self.criteria.items():
            yield ("criteria", name), criterion
        for place, variant in enumerate(self.variants):
            for name, criterion in variant.criteria.items():
                yield ("variants", place, "criteria", name), criterion

    def chosen(self, revision: str, product_model: str | None, station: str, machine: str) -> CriteriaSet:
        """The criteria of one unit on one machine. It may hold none: then nothing passes there."""
        found = dict(self.criteria)
        for variant in sorted(self.variants, key=lambda one: one.scope):
            if variant.fits(product_model, station, machine):
                found |= variant.criteria
        return CriteriaSet(process=self.process, revision=revision, criteria=found)


class Revision(Contract):
    """One unchanging version of a process's criteria: its number (from 1), who wrote it and why, and from when on."""

    number: Annotated[int, Field(ge=1, le=2**31 - 1)]
    criteria: Criteria
    author: Annotated[str, Field(min_length=1, max_length=100)]
    reason: Words
    effective_at: UtcTime

    @property
    def name(self) -> str:
        """What a record calls it."""
        return str(self.number)


class Publication(Contract):
    """What stations are told, retained: the revision in force, and those to come with their times.

    ``epoch`` names central's database, ``issued`` is the highest number it has given for this process.
    """

    process: ProcessCode
    epoch: Annotated[str, Field(min_length=1, max_length=64)]
    issued: Count
    revisions: Annotated[tuple[Revision, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        numbers = [one.number for one in self.revisions]
        if len(set(numbers)) < len(numbers):
            raise ValueError("a revision stands there twice")
        if any(number > self.issued for number in numbers):
            raise ValueError("a revision was never issued")
        if any(one.criteria.process != self.process for one in self.revisions):
            raise ValueError("a revision of another process")
        return self

    def encoded(self) -> bytes:
        """As it is published and kept: defaults left out."""
        return self.model_dump_json(exclude_defaults=True).encode()


def in_force(revisions: Sequence[Revision], at: datetime) -> Revision | None:
    """The revision in force at a moment: the latest that has taken effect, of several the highest number."""
    begun = [one for one in revisions if one.effective_at <= at]
    return max(begun, key=lambda one: (one.effective_at, one.number), default=None)


def to_publish(revisions: Sequence[Revision], at: datetime) -> tuple[Revision, ...]:
    """What stations need to know: the revision in force, and those that take effect later, in that order."""
    now = in_force(revisions, at)
    later = sorted((one for one in revisions if one.effective_at > at), key=lambda one: (one.effective_at, one.number))
    return (*([] if now is None else [now]), *later)
