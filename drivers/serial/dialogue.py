"""What is said to a machine, and which of its frames is the answer: one exchange after the other, each with its end."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

import structlog

from contracts.errors import DataError, LinkError
from contracts.measurement import Scalar
from contracts.patterns import compiled
from drivers.fields.messages import kind_of
from drivers.serial.building import frame_of
from drivers.serial.framing import Frame
from drivers.serial.settings import SerialSettings
from drivers.serial.talk_settings import Exchange
from drivers.template import as_text, render

log = structlog.get_logger()

_LOOK_S = 0.005
"""How often the line is looked at while it has to fall silent."""
_LONGEST_NOISE_S = 30.0
"""A line that is never silent for that long cannot be asked anything."""


class UnansweredError(Exception):
    """The machine did not answer, answered garbage, or refused; the text says which."""


class Dialogue:
    """Says one thing at a time. ``write`` raises OSError; ``silent_s`` tells how long the line has been silent.

    An answer carries no number: one that comes when its question was given up would be taken for the next one's. So
    before the next question the line has to be silent for as long as the machine might have taken.
    """

    def __init__(
        self,
        machine: str,
        settings: SerialSettings,
        write: Callable[[bytes], Awaitable[None]],
        silent_s: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._where = f"machine {machine}"
        self._log = log.bind(machine=machine)
        self._write = write
        self._silent_s = silent_s
        self._turn = asyncio.Lock()
        self._answers: asyncio.Queue[Frame] | None = None
        self._owed_s = 0.0
        """An answer may still come within this time of silence; nobody waits for it."""
        self._is_dropping = False
        self._asked: Exchange | None = None

    def take(self, frame: Frame) -> bool:
        """Whether this frame is for whoever asks just now. A machine that speaks by itself may speak in between."""
        if not self._is_answer(frame):
            return False
        if self._is_dropping:
            self._log.warning("late answer dropped", answer=frame.data[:200].decode("latin-1"))
        elif self._answers is None:
            return False
        else:
            self._answers.put_nowait(frame)
        return True

    def _is_answer(self, frame: Frame) -> bool:
        settings = self._settings
        if frame.kind == "control":
            sender = settings.handshake.of_sender if settings.handshake is not None else frozenset()
            return frame.data.decode("latin-1") not in sender
        if frame.kind == "noise":
            return False
        if settings.request is None:
            pattern = self._asked.answer if self._asked is not None else None
            return frame.kind == "message" and pattern is not None and self._holds(pattern, [frame])
        return frame.kind == "broken" or settings.request.after is None or self._kind(frame) != settings.request.after

    async def say(self, exchange: Exchange, known: Mapping[str, Scalar], *, accept: bool = True) -> Sequence[Frame]:
        """One exchange: the frames of the answer; none where none is expected, or ``until`` was not reached in time.

        ``accept``: a machine with a handshake is told at once that its answer came whole; else the caller does that.

        Raises UnansweredError once the retries are used up, DataError as ``filled``, LinkError where the line is never
        silent, OSError.
        """
        async with self._turn:
            if exchange.until is None:
                return await self._tried(exchange, known, accept=accept)
            try:
                async with asyncio.timeout(exchange.within):
                    while True:
                        frames = await self._tried(exchange, known, accept=accept)
                        if self._holds(exchange.until, frames):
                            return frames
                        await asyncio.sleep(exchange.again)
            except TimeoutError:
                return ()

    async def quiet(self, at_least_s: float) -> None:
        """Let the line fall silent; what is heard meanwhile answers nothing. Raises LinkError where it never does."""
        async with self._turn:
            self._owed_s = max(self._owed_s, at_least_s)
            await self._quiet()

    async def _tried(self, exchange: Exchange, known: Mapping[str, Scalar], *, accept: bool) -> Sequence[Frame]:
        for attempt in range(exchange.retries + 1):
            await asyncio.sleep(exchange.pause)
            if exchange.send is not None and self._settings.request is not None:
                await self._quiet()
            try:
                return await self._once(exchange, known, accept=accept)
            except UnansweredError as error:
                if attempt == exchange.retries:
                    raise
                self._log.info("asked again", why=str(error))
        raise AssertionError("range() of at least one")

    async def _once(self, exchange: Exchange, known: Mapping[str, Scalar], *, accept: bool) -> Sequence[Frame]:
        answers = self._answers
        if answers is None or exchange.send is not None:
            self.end()
            answers = asyncio.Queue()
        # else: a machine that is only waited for may have spoken right behind its answer to the step before
        self._answers, self._asked = answers, exchange
        self._owed_s = exchange.timeout
        try:
            if exchange.send is not None:
                await self._send(exchange, known, answers)
            frames: Sequence[Frame] = ()
            if exchange.expect == "message":
                frames = await self._answer(exchange, answers)
                if accept:
                    await self._control("accept")
        except BaseException:
            self.end()
            raise
        self._owed_s = 0.0
        return frames

    def end(self) -> None:
        """The last step was said: what comes from now on answers nothing."""
        answers, self._answers = self._answers, None
        while answers is not None and not answers.empty():
            self._log.warning("machine spoke unasked", said=answers.get_nowait().data[:200].decode("latin-1"))

    async def _send(self, exchange: Exchange, known: Mapping[str, Scalar], answers: asyncio.Queue[Frame]) -> None:
        data = self.filled(exchange.send or "", known, framed=exchange.framed)
        handshake = self._settings.handshake
        if handshake is None:
            await self._write(data)
            return
        if handshake.enquiry is not None:
            await self._write(handshake.enquiry.encode("latin-1"))
            await self._accepted(answers, "the enquiry")
        await self._write(data)
        await self._accepted(answers, "the request")
        if handshake.end is not None:
            await self._write(handshake.end.encode("latin-1"))

    async def _accepted(self, answers: asyncio.Queue[Frame], what: str) -> None:
        handshake = self._settings.handshake
        assert handshake is not None
        try:
            async with asyncio.timeout(handshake.timeout):
                while (frame := await answers.get()).kind != "control":
                    pass
        except TimeoutError:
            raise UnansweredError(f"no accept for {what} within {handshake.timeout:g} s") from None
        if frame.data.decode("latin-1") != handshake.accept:
            raise UnansweredError(f"the machine refused {what}: 0x{frame.data.hex()}")

    async def _answer(self, exchange: Exchange, answers: asyncio.Queue[Frame]) -> Sequence[Frame]:
        frames: list[Frame] = []
        refused = 0
        try:
            while True:
                async with asyncio.timeout(exchange.timeout):
                    frame = await answers.get()
                if frame.kind == "control":
                    continue
                if frame.kind == "broken":
                    refused += 1
                    if self._settings.handshake is None or refused > self._settings.handshake.retries:
                        raise UnansweredError(f"broken answer: {frame.problem}")
                    await self._control("refuse")
                    continue
                role = self._role(frame)
                if role != "ignore":
                    frames.append(frame)
                if role not in ("ignore", "part", "begin"):
                    break
                await self._control("accept")
        except TimeoutError:
            raise UnansweredError(f"no answer within {exchange.timeout:g} s") from None
        if exchange.answer is not None and not self._holds(exchange.answer, frames):
            raise UnansweredError(f"it answered {_shown(frames)}, not {exchange.answer!r}")
        return frames

    async def _control(self, name: Literal["accept", "refuse"]) -> None:
        """Say that a frame came whole, or did not; for machines with a handshake."""
        handshake = self._settings.handshake
        if handshake is not None:
            await self._write((handshake.accept if name == "accept" else handshake.refuse).encode("latin-1"))

    def _kind(self, frame: Frame) -> str | None:
        try:
            return kind_of(frame.body, self._settings)
        except DataError:
            return None  # who reads it says what is wrong with it

    def _role(self, frame: Frame) -> str:
        kind = self._kind(frame)
        return "result" if kind is None else self._settings.kinds[kind].role

    def _holds(self, pattern: str, frames: Sequence[Frame]) -> bool:
        texts = (frame.body.decode(self._settings.encoding, "replace") for frame in frames)
        return any(compiled(pattern).search(text) for text in texts)

    def filled(self, text: str, known: Mapping[str, Scalar], *, framed: bool) -> bytes:
        """The bytes of a text of the settings. Raises DataError where a name has no value, or it makes no frame."""
        try:
            data = render(text, known, as_text).encode(self._settings.encoding)
            return frame_of(data, self._settings.frame) if framed else data
        except KeyError as missing:
            raise DataError(f"{text!r} is not sent: it names {missing}, which has no value here") from None
        except ValueError as error:
            raise DataError(f"{text!r} cannot be sent: {error}") from error

    async def _quiet(self) -> None:
        """Until nothing is under way, and a late answer can no longer be."""
        loop = asyncio.get_running_loop()
        given_up_at = loop.time() + max(_LONGEST_NOISE_S, 3 * self._owed_s)
        begun = loop.time()
        self._is_dropping = self._owed_s > 0
        try:
            while min(self._silent_s(), loop.time() - begun) < self._owed_s or self._silent_s() == 0.0:
                if loop.time() > given_up_at:
                    raise LinkError(f"{self._where}: the line is never silent; does another device talk on it?")
                await asyncio.sleep(_LOOK_S)
        finally:
            self._is_dropping = False
        self._owed_s = 0.0


def _shown(frames: Sequence[Frame]) -> str:
    return repr(b" ".join(frame.body for frame in frames)[:200].decode("latin-1"))
