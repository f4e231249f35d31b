"""One look at a device: each point by a request of its own, and what its registers would be in another order."""

from collections.abc import Mapping, Sequence

from contracts.errors import LinkError
from drivers.base import PointValue
from drivers.looking import Sight
from drivers.modbus.blocks import block_of
from drivers.modbus.codec import decode
from drivers.modbus.connect import SerialConnect
from drivers.modbus.line import NoAnswerError
from drivers.modbus.link import ModbusLink, RefusedError
from drivers.modbus.registers import ModbusPoint
from drivers.modbus.scanning import SHORT_WAIT_S, answering
from drivers.modbus.settings import ModbusSettings

_OTHER = {"big": "little", "little": "big"}
_TRIED = (*range(1, 11), 247, 255, 0)
"""Device ids that are tried where the one of the settings is silent: makers' own, and what gateways take for theirs."""


async def look(machine: str, settings: ModbusSettings) -> list[Sight]:
    """See Looking.look."""
    link = ModbusLink(machine, settings.connect, settings.requests.pause, ())
    await link.connect()
    found: list[Sight] = []
    try:
        for name, written in settings.points.items():
            point = settings.ordered(written)
            try:
                words = await link.read(block_of(name, point))
            except RefusedError as refused:
                found.append(Sight(name, str(written), PointValue(None, problem=str(refused))))
            else:
                raw = " ".join(f"{word:04x}" for word in words) if not point.is_bit else str(words[0])
                found.append(Sight(name, str(written), decode(point, words), raw, _otherwise(point, words)))
    except LinkError as error:
        if found or not _is_silence(error):
            raise
        await link.close()
        raise LinkError(f"{error}{await _who_answers(settings)}") from error
    finally:
        await link.close()
    return found


def _is_silence(error: BaseException) -> bool:
    return isinstance(error.__cause__, NoAnswerError)


async def _who_answers(settings: ModbusSettings) -> str:
    """Whether the device is there by another number, or the line is noise."""
    own = settings.connect.device_id
    wait_s = SHORT_WAIT_S if isinstance(settings.connect, SerialConnect) else SHORT_WAIT_S / 3
    others = [one async for one in answering(settings.connect, [one for one in _TRIED if one != own], wait_s)]
    if others:
        told = " and ".join(str(one) for one in others)
        return f"; likely cause: the device id, for {told} answers here and {own} does not"
    if isinstance(settings.connect, SerialConnect):
        return (
            "; no other device of 1 to 10 answers: likely the wires (A and B exchanged), the baudrate or the parity; "
            "where bytes came that cannot be read it is the baudrate or the parity"
        )
    return "; no device of 1 to 10 answers here: likely no Modbus device, or a gateway without its line"


def _otherwise(point: ModbusPoint, words: Sequence[int]) -> Mapping[str, PointValue]:
    """What the registers would be with each other order that the value can have."""
    if point.is_truth:
        return {}
    changes: list[dict[str, str]] = []
    if point.count > 1 and point.type != "string":
        changes.append({"word_order": _OTHER[str(point.word_order)]})
        changes.append({"word_order": _OTHER[str(point.word_order)], "byte_order": _OTHER[str(point.byte_order)]})
    changes.insert(1, {"byte_order": _OTHER[str(point.byte_order)]})
    return {
        ", ".join(f"{key}: {order}" for key, order in change.items()): decode(point.model_copy(update=change), words)
        for change in changes
    }
