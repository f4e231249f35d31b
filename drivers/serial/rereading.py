"""A result's bytes understood once more, by other settings: framed, gathered and taken apart anew. Pure."""

from collections.abc import Mapping
from dataclasses import replace

from drivers.base import PointValue, Reading
from drivers.fields.gathering import Gathered, Gathering
from drivers.fields.messages import values_of
from drivers.serial.framing import Framer
from drivers.serial.settings import SerialSettings


def reread(settings: SerialSettings, reading: Reading) -> Mapping[str, PointValue]:
    """The points of these settings in what came; bytes that are no whole message are a problem of every point."""
    gathered = _gathered(settings, reading.raw or b"")
    found = values_of(gathered.messages, settings, gathered.problem)
    stamps = {name: value.source_timestamp for name, value in reading.values.items()}
    return {
        name: replace(value, source_timestamp=value.source_timestamp or stamps.get(name))
        for name, value in found.items()
    }


def _gathered(settings: SerialSettings, raw: bytes) -> Gathered:
    framer, gathering = Framer(settings.frame), Gathering(settings)
    ended: list[Gathered] = []
    for frame in (*framer.feed(raw), *framer.silence("the recorded bytes end here")):
        if frame.kind == "message":
            ended += gathering.take(frame.body, frame.data)
        else:
            ended += gathering.spoil(frame.data, frame.problem or "no whole message")
    ended += gathering.give_up("the recorded bytes end here")
    return ended[-1] if ended else Gathered((), raw, "no message is in the recorded bytes")
