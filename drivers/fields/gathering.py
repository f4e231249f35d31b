"""Messages -> results, where one result takes several messages. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from contracts.errors import DataError
from drivers.fields.messages import Message, kind_of
from drivers.fields.settings import FieldSettings

LARGEST_RESULT = 128 * 1024
"""Bytes of one result's messages. More than that has no end: something else talks on this line."""


@dataclass(frozen=True)
class Gathered:
    """The messages of one result; ``problem`` says why it is not a whole one. ``raw`` is what came for it."""

    messages: Sequence[Message]
    raw: bytes
    problem: str | None = None


@dataclass
class Gathering:
    """Takes messages in the order they came; tells each result when its last message is there.

    Everything that is not to be ignored comes out in exactly one result.
    """

    settings: FieldSettings
    _messages: list[Message] = field(default_factory=list)
    _raw: bytearray = field(default_factory=bytearray)

    _problem: str | None = None

    @property
    def pending(self) -> bool:
        """Whether a result is under way."""
        return bool(self._messages) or self._problem is not None

    def take(self, body: bytes, raw: bytes) -> list[Gathered]:
        """One message without its marks, and as it was on the line; returns the results it ends."""
        try:
            kind = kind_of(body, self.settings)
        except DataError as error:
            return self.spoil(raw, str(error))
        role = "result" if kind is None else self.settings.kinds[kind].role
        if role in ("ignore", "empty"):
            return []
        ended = self.give_up("the next one began before its end") if role == "begin" else []
        self._messages.append(Message(body, kind))
        self._raw += raw
        if role == "result":
            ended.append(self._end(self._problem))
        elif len(self._raw) > LARGEST_RESULT:
            ended += self.give_up(f"more than {LARGEST_RESULT} bytes without its end")
        return ended

    def spoil(self, raw: bytes, problem: str) -> list[Gathered]:
        """Something came that is no message: a result of its own, or, where results have parts, one of them.

        A result with a part that cannot be read is none: the list of its values would be shorter than it was.
        """
        self._raw += raw
        self._problem = self._problem or problem
        has_parts = any(kind.role in ("part", "begin") for kind in self.settings.kinds.values())
        if has_parts and len(self._raw) <= LARGEST_RESULT:
            return []
        return [self._end(self._problem)]

    def give_up(self, reason: str) -> list[Gathered]:
        """End the result under way, if there is one, as one that is not whole."""
        return [self._end(self._problem or f"result not finished: {reason}")] if self.pending else []

    def _end(self, problem: str | None) -> Gathered:
        ended = Gathered(tuple(self._messages), bytes(self._raw), problem)
        self._messages.clear()
        self._raw.clear()
        self._problem = None
        return ended
