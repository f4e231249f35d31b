"""Frames out of a stream of bytes: whatever the cuts, the noise and the losses, no wrong message comes out.

Each property is tried on a few hundred streams; with ``HYPOTHESIS_PROFILE=proof`` on 10,000.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from drivers.serial.building import frame_of
from drivers.serial.checksum import checksum
from drivers.serial.frame_settings import ChecksumSettings, FrameSettings
from drivers.serial.framing import Frame, Framer
from drivers.serial.parity import ParityMarks
from tests.support.streams import many


def settings(**keys: Any) -> FrameSettings:
    return FrameSettings.model_validate(keys)


TEXT = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789,;=.+- "
text_messages = st.text(alphabet=TEXT, min_size=1, max_size=30).map(str.encode)
byte_messages = st.binary(min_size=1, max_size=40)


def _with_room(size: int) -> st.SearchStrategy[bytes]:
    """Messages whose first bytes are the length field's."""
    return st.binary(max_size=30).map(lambda rest: bytes(size) + rest)


@dataclass(frozen=True)
class Style:
    """A way of framing that devices use. ``strong``: noise of any kind forges no frame."""

    frame: FrameSettings
    messages: st.SearchStrategy[bytes]
    strong: bool = False


STYLES: Mapping[str, Style] = {
    "line": Style(settings(), text_messages),
    "stx-etx": Style(settings(start="\x02", end="\x03"), text_messages),
    "stx-etx-bcc": Style(
        settings(start="\x02", end="\x03", checksum={"type": "xor", "place": "after_end"}), text_messages
    ),
    "hex-sum-before-end": Style(
        settings(start=":", end="\r\n", checksum={"type": "lrc", "notation": "HEX"}),
        text_messages,
    ),
    "length-sum": Style(settings(start="\xaa", length={"at": 1, "add": 3}, checksum={"type": "sum8"}), _with_room(1)),
    "length-crc32": Style(
        settings(
            start="\xaa\x55",
            length={"at": 2, "size": 2, "byte_order": "little", "add": 8},
            checksum={"type": "crc32", "byte_order": "little"},
        ),
        _with_room(2),
        strong=True,
    ),
    "length-digits": Style(
        settings(length={"at": 0, "size": 4, "notation": "decimal", "add": 1}, end="\0"), _with_room(4)
    ),
    "fixed-sum": Style(
        settings(start="\xa5", fixed=12, checksum={"type": "sum8"}), st.binary(min_size=10, max_size=10)
    ),
    "length-sum-alone": Style(settings(length={"at": 0, "add": 2}, checksum={"type": "sum8"}), _with_room(1)),
    "fixed-xor-alone": Style(settings(fixed=8, checksum={"type": "xor"}), st.binary(min_size=7, max_size=7)),
    "fixed-crc32": Style(
        settings(fixed=16, checksum={"type": "crc32"}), st.binary(min_size=12, max_size=12), strong=True
    ),
    "idle-crc16": Style(
        settings(idle="20ms", checksum={"type": "crc16-modbus", "byte_order": "little"}), byte_messages
    ),
    "dle": Style(
        settings(
            start="\x10\x02", end="\x10\x03", escape={"byte": "\x10", "how": "double"}, checksum={"type": "crc32"}
        ),
        byte_messages,
        strong=True,
    ),
    "hdlc": Style(
        settings(start="\x7e", end="\x7f", escape={"byte": "\x7d", "how": "xor"}, checksum={"type": "crc32c"}),
        byte_messages,
        strong=True,
    ),
    "slip": Style(
        settings(
            start="\xc1",
            end="\xc0",
            escape={"byte": "\xdb", "how": "replace", "replace": {"\xdc": "\xc0", "\xdd": "\xdb", "\xde": "\xc1"}},
            checksum={"type": "crc32"},
        ),
        byte_messages,
        strong=True,
    ),
}


def styles(wanted: Callable[[Style], object] = lambda style: True) -> st.SearchStrategy[Style]:
    """Any of the styles of which that holds."""
    names = [name for name, style in STYLES.items() if wanted(style)]
    return st.sampled_from(names).map(STYLES.__getitem__)


def with_length(message: bytes, frame: FrameSettings) -> bytes:
    """The message as it comes out: its length field filled in."""
    sent = frame_of(message, frame)
    if frame.length is None:
        return message
    return sent[len(frame.start_bytes) : len(sent) - len(frame.end_bytes) - frame.checksum_size]


def fed(framer: Framer, pieces: Sequence[bytes]) -> list[Frame]:
    return [frame for piece in pieces for frame in framer.feed(piece)] + framer.silence("test")


def messages(frames: Sequence[Frame]) -> list[bytes]:
    return [frame.body for frame in frames if frame.kind == "message"]


def is_part_in_order(found: Sequence[bytes], sent: Sequence[bytes]) -> bool:
    rest = iter(sent)
    return all(any(one == other for other in rest) for one in found)


def cut_up(stream: bytes, places: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(place % (len(stream) + 1) for place in places)})
    return [stream[begin:end] for begin, end in itertools.pairwise(edges)]


# -- every stream ----------------------------------------------------------------------------------------------------


@many
@given(style=styles(), stream=st.binary(max_size=200), places=st.lists(st.integers(0, 200), max_size=20))
def test_every_byte_comes_out_once_and_cuts_make_no_difference(style: Style, stream: bytes, places: list[int]) -> None:
    """A byte that vanished would be a result lost in silence."""
    at_once = fed(Framer(style.frame), [stream])
    assert b"".join(frame.data for frame in at_once) == stream
    assert fed(Framer(style.frame), cut_up(stream, places)) == at_once
    assert fed(Framer(style.frame), [bytes([byte]) for byte in stream]) == at_once
    for frame in at_once:
        assert (frame.kind == "message") == (frame.problem is None)


def test_a_broken_frame_is_told_by_its_own_fault_whatever_came_with_it() -> None:
    """And not by what the bytes behind it are."""
    checksum = {"type": "sum8", "place": "before_end", "notation": "binary"}
    frame = FrameSettings.model_validate({"start": "\xa5", "fixed": 12, "checksum": checksum})
    stream = b"\xa5" + bytes(10) + b"\x01\x00"
    (at_once,) = fed(Framer(frame), [stream])
    assert (at_once.kind, at_once.data) == ("broken", stream)
    assert (at_once.problem or "").startswith("checksum wrong: the frame has 01, its bytes give 00")
    assert fed(Framer(frame), [stream[:12], stream[12:]]) == [at_once]


@many
@given(style=styles(), data=st.data())
def test_what_was_sent_comes_out_cut_at_every_byte(style: Style, data: st.DataObject) -> None:
    sent = data.draw(st.lists(style.messages, min_size=1, max_size=6))
    expected = [with_length(message, style.frame) for message in sent]
    framer = Framer(style.frame)
    found: list[bytes] = []
    for message in sent:
        for byte in frame_of(message, style.frame):
            found += messages(framer.feed(bytes([byte])))
        if style.frame.idle is not None:
            found += messages(framer.silence("test"))
    assert found == expected
    assert not framer.pending


@many
@given(style=styles(), data=st.data())
def test_noise_between_frames_makes_no_wrong_message(style: Style, data: st.DataObject) -> None:
    """Where a start mark or a strong checksum is there, nothing is lost either."""
    start = style.frame.start_bytes
    any_byte = st.integers(0, 255)
    if not style.strong or style.frame.escape is not None:
        # Whoever can make a start mark and a sum of eight bits out of noise makes frames.
        any_byte = any_byte.filter(lambda byte: byte not in start)
    if not start and not style.strong:
        any_byte = st.integers(128, 255)  # a line has no mark at its begin: only what is no text can be told
    noise = st.lists(any_byte, max_size=20).map(bytes)
    sent = data.draw(st.lists(style.messages, min_size=1, max_size=5))
    expected = [with_length(message, style.frame) for message in sent]
    stream = b"".join(data.draw(noise) + frame_of(message, style.frame) for message in sent) + data.draw(noise)
    frames = fed(Framer(style.frame), cut_up(stream, data.draw(st.lists(st.integers(0, 500), max_size=10))))
    found = messages(frames)
    assert b"".join(frame.data for frame in frames) == stream
    if start or style.strong:
        assert is_part_in_order(found, expected)
    if start and not style.strong:
        assert found == expected
    if not start and not style.strong and style.frame.is_marked:
        assert all(body in expected or body[:1] >= b"\x80" for body in found)


@many
@given(style=styles(lambda style: style.frame.is_weak), noise=st.binary(max_size=60), data=st.data())
def test_a_weak_checksum_alone_finds_no_begin_of_a_frame_in_noise(
    style: Style, noise: bytes, data: st.DataObject
) -> None:
    """Tried at every byte, it made a result of every eighth noise."""
    sent = data.draw(st.lists(style.messages, min_size=1, max_size=3))
    stream = noise + b"".join(frame_of(message, style.frame) for message in sent)
    framer = Framer(style.frame)
    kinds = [frame.kind for frame in fed(framer, cut_up(stream, data.draw(st.lists(st.integers(0, 500), max_size=9))))]
    assert "message" not in itertools.dropwhile(lambda kind: kind == "message", kinds)
    assert messages(framer.feed(frame_of(sent[0], style.frame))) == [with_length(sent[0], style.frame)]


@many
@given(style=styles(), data=st.data())
def test_a_frame_cut_short_is_no_message_and_the_next_is_whole(style: Style, data: st.DataObject) -> None:
    """Where nothing shows that a frame begins, the next one is taken for the other half."""
    first, second = data.draw(style.messages), data.draw(style.messages)
    whole = frame_of(first, style.frame)
    framer = Framer(style.frame)
    assert messages(fed(framer, [whole[: data.draw(st.integers(0, len(whole) - 1))]])) == []
    found = messages(fed(framer, [frame_of(second, style.frame)]))
    expected = [with_length(second, style.frame)]
    assert found == expected or (found == [] and not style.frame.start and not style.strong)
    assert messages(fed(framer, [frame_of(second, style.frame)])) == expected


@many
@given(style=styles(lambda style: style.strong or style.frame.is_marked or not style.frame.checksum), data=st.data())
def test_a_frame_cut_and_resumed_after_silence_is_no_message(style: Style, data: st.DataObject) -> None:
    """Its second half looks whole where only an end mark tells frames apart."""
    first, second = data.draw(style.messages), data.draw(style.messages)
    whole = frame_of(first, style.frame)
    at = data.draw(st.integers(1, len(whole) - 1))
    framer = Framer(style.frame)
    assert messages(fed(framer, [whole[:at]])) == []
    assert messages(fed(framer, [whole[at:]])) == []
    assert messages(fed(framer, [frame_of(second, style.frame)])) == [with_length(second, style.frame)]


@many
@given(style=styles(lambda style: style.frame.idle is None), data=st.data())
def test_a_frame_whose_begin_was_not_heard_is_no_message(style: Style, data: st.DataObject) -> None:
    """The port was opened while the machine spoke."""
    assume(style.strong or style.frame.is_marked or not style.frame.checksum)
    first, second = data.draw(style.messages), data.draw(style.messages)
    whole = frame_of(first, style.frame)
    framer = Framer(style.frame)
    heard = framer.feed(whole[data.draw(st.integers(1, len(whole) - 1)) :], midway=True)
    assert messages([*heard, *framer.silence("test")]) == []
    assert messages(fed(framer, [frame_of(second, style.frame)])) == [with_length(second, style.frame)]


def test_what_a_plug_makes_is_noise_and_costs_no_message() -> None:
    framer = Framer(settings())
    assert [frame.kind for frame in fed(framer, [b"\x00\xff\x00"])] == ["noise"]
    assert messages(framer.feed(b"SN-1\r\n")) == [b"SN-1"]


@many
@given(style=styles(lambda style: style.strong or (style.frame.start and style.frame.is_marked)), data=st.data())
def test_a_frame_cut_short_and_followed_at_once_is_no_message(style: Style, data: st.DataObject) -> None:
    """The sender was switched off and on: no silence between."""
    first, second = data.draw(style.messages), data.draw(style.messages)
    whole = frame_of(first, style.frame)
    on_the_line = whole[: data.draw(st.integers(0, len(whole) - 1))] + frame_of(second, style.frame)
    assume(not on_the_line.startswith(whole))  # the byte that was cut off may be the one the next frame begins with
    found = messages(fed(Framer(style.frame), [on_the_line]))
    assert found in ([], [with_length(second, style.frame)])


@many
@given(style=styles(lambda style: style.strong), data=st.data())
def test_a_changed_byte_is_no_message(style: Style, data: st.DataObject) -> None:
    message = data.draw(style.messages)
    frame = bytearray(frame_of(message, style.frame))
    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    assert messages(fed(Framer(style.frame), [bytes(frame)])) == []


@many
@given(
    style=styles(lambda style: style.frame.checksum and not style.frame.escape and not style.frame.length),
    data=st.data(),
)
def test_a_checksum_catches_every_single_changed_byte_of_a_message(style: Style, data: st.DataObject) -> None:
    """Also the weak ones do, as long as the frame is still seen as one."""
    message = data.draw(style.messages)
    frame = bytearray(frame_of(message, style.frame))
    place = len(style.frame.start_bytes) + data.draw(st.integers(0, len(message) - 1))
    changed = data.draw(st.sampled_from(TEXT.encode()))
    assume(changed != frame[place])
    frame[place] = changed
    assert messages(fed(Framer(style.frame), [bytes(frame)])) == []


@many
@given(style=styles(), data=st.data())
def test_a_frame_with_a_byte_of_wrong_parity_is_no_message(style: Style, data: st.DataObject) -> None:
    first, second = data.draw(style.messages), data.draw(style.messages)
    whole = frame_of(first, style.frame)
    framer = Framer(style.frame)
    heard = framer.feed(whole, wrong=[data.draw(st.integers(0, len(whole) - 1))]) + framer.silence("test")
    assert messages(heard) == []
    assert any("wrong parity" in str(frame.problem) for frame in heard)
    assert messages(fed(framer, [frame_of(second, style.frame)])) == [with_length(second, style.frame)]


@many
@given(sent=st.lists(st.tuples(st.integers(0, 255), st.booleans()), max_size=40), places=st.lists(st.integers(0, 99)))
def test_the_marks_of_wrong_bytes_are_undone_wherever_they_are_cut(
    sent: list[tuple[int, bool]], places: list[int]
) -> None:
    """termios(3), PARMRK: FF 00 before a wrong byte, and FF doubled."""
    marked = b"".join(
        bytes([0xFF, 0, byte]) if is_wrong else bytes([byte] * (2 if byte == 0xFF else 1)) for byte, is_wrong in sent
    )
    marks = ParityMarks()
    found: list[tuple[int, bool]] = []
    for piece in cut_up(marked, places):
        received = marks.undone(piece)
        found += [(byte, place in received.wrong) for place, byte in enumerate(received.data)]
    assert found == sent


# -- single cases ----------------------------------------------------------------------------------------------------


def test_bytes_outside_of_marks_are_noise_and_what_looks_like_a_frame_is_broken() -> None:
    framer = Framer(settings(start="\x02", end="\x03"))
    frames = framer.feed(b"??\x02A\x03?B\x03\x02C\x02D\x03??") + framer.silence("1 s of silence")
    assert [(frame.kind, frame.data) for frame in frames] == [
        ("noise", b"??"),
        ("message", b"\x02A\x03"),
        ("broken", b"?B\x03"),
        ("broken", b"\x02C"),
        ("message", b"\x02D\x03"),
        ("noise", b"??"),
    ]
    assert "frame.start" in str(frames[2].problem)


def test_an_unfinished_frame_says_how_long_was_waited_and_what_to_check() -> None:
    framer = Framer(settings())
    assert framer.feed(b"SN-1") == []
    (frame,) = framer.silence("silence for 1 s")
    assert frame.kind == "broken"
    assert frame.problem == (
        r"frame not finished (silence for 1 s); if the machine sends it whole, check frame.end, now '\r\n'"
    )


def test_a_frame_too_long_is_broken_with_all_its_rest() -> None:
    framer = Framer(settings(end="\n", max_length=8))
    frames = framer.feed(b"0123456789abcdefghij\nOK\n")
    assert b"".join(frame.data for frame in frames) == b"0123456789abcdefghij\nOK\n"
    assert messages(frames) == [b"OK"]
    assert "max_length" in str(frames[0].problem)


def test_a_length_out_of_bounds_does_not_wait_for_ever() -> None:
    framer = Framer(settings(start="\xaa", length={"at": 1, "size": 2, "add": 3}, max_length=64))
    frames = framer.feed(b"\xaa\xff\xff..." + b"\xaa\x00\x02OK")
    assert messages(frames) == [b"\x00\x02OK"]
    assert frames[0].kind == "broken"
    assert "check frame.length" in str(frames[0].problem)


def test_without_mark_and_checksum_only_silence_shows_where_a_frame_begins() -> None:
    framer = Framer(settings(length={"at": 0, "size": 1, "add": 1}, max_length=16))
    assert messages(framer.feed(b"\x02AB")) == [b"\x02AB"]
    assert messages(framer.feed(b"\xff\x02AB\x01C")) == []
    (frame,) = framer.silence("test")
    assert frame.kind == "broken"
    assert messages(framer.feed(b"\x02AB")) == [b"\x02AB"]


CONTROLS = b"\x05\x06\x15\x04"


@many
@given(
    data=st.data(),
    order=st.lists(st.sampled_from([*CONTROLS, "frame"]), max_size=12),
)
def test_control_bytes_count_between_frames_alone(data: st.DataObject, order: list[int | str]) -> None:
    frame = settings(start="\x02", end="\x03", checksum={"type": "xor", "place": "after_end"})
    body = b"A\x05\x06B"
    stream = b"".join(frame_of(body, frame) if one == "frame" else bytes([int(one)]) for one in order)
    places = data.draw(st.lists(st.integers(0, 200), max_size=10))
    found = fed(Framer(frame, controls=CONTROLS), cut_up(stream, places))
    assert [one.body if one.kind == "message" else one.data[0] for one in found] == [
        body if one == "frame" else one for one in order
    ]


BANNER = (
    b"\r\nser2net port tcp,4001 device serialdev,/dev/ttyS0,9600n81,local [,9600N81,CLOCAL] (Debian GNU/Linux)\r\n\r\n"
)
REFUSALS = (
    b"Port already in use\r\n",
    b"Port's device already in use\r\n",
    b"Device open failure: Value or file not found\r\n",
    b"kicked off, new user is coming\r\n",
)


@pytest.mark.parametrize("notice", [BANNER, *REFUSALS])
@given(places=st.lists(st.integers(0, 300), max_size=10), before=st.lists(text_messages, max_size=2))
def test_the_words_of_a_serial_server_are_no_message_wherever_they_are_cut(
    notice: bytes, places: list[int], before: list[bytes]
) -> None:
    """A barcode scanner's line is any text: "Port already in use" would be a serial number."""
    assume(all(body.strip() for body in before))
    lines = b"".join(body + b"\r\n" for body in before)
    stream = lines + notice + b"SN-1\r\n"
    found = fed(Framer(settings(), notices=True), cut_up(stream, places))
    assert messages(found) == [*before, b"SN-1"]
    assert b"".join(frame.data for frame in found if frame.kind == "notice").strip() == notice.strip()


@pytest.mark.parametrize("notice", [BANNER, *REFUSALS])
def test_a_greeting_at_once_is_no_begin_of_a_frame(notice: bytes) -> None:
    framer = Framer(settings(), notices=True)
    greeted = [frame for byte in notice for frame in framer.feed(bytes([byte]), midway=True)]
    assert {frame.kind for frame in greeted} == {"notice"}
    assert messages(framer.feed(b"SN-1\r\n")) == [b"SN-1"]


def test_a_notice_cut_off_by_the_end_of_the_connection_is_none_either() -> None:
    for size in range(1, len(REFUSALS[0])):
        framer = Framer(settings(), notices=True)
        found = framer.feed(REFUSALS[0][:size]) + framer.silence("the link was lost")
        assert messages(found) == []


# -- checksums -------------------------------------------------------------------------------------------------------

CHECK = b"123456789"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("crc8", "f4"),
        ("crc8-maxim", "a1"),
        ("crc8-sae-j1850", "4b"),
        ("crc8-rohc", "d0"),
        ("crc16-modbus", "4b37"),
        ("crc16-xmodem", "31c3"),
        ("crc16-ccitt-false", "29b1"),
        ("crc16-ccitt-1d0f", "e5cc"),
        ("crc16-kermit", "2189"),
        ("crc16-x25", "906e"),
        ("crc16-arc", "bb3d"),
        ("crc16-usb", "b4c8"),
        ("crc16-dnp", "ea82"),
        ("crc16-mcrf4xx", "6f91"),
        ("crc32", "cbf43926"),
        ("crc32-mpeg2", "0376e6e7"),
        ("crc32-bzip2", "fc891918"),
        ("crc32c", "e3069283"),
        ("crc32-posix", "765e7680"),
        ("xor", "31"),
        ("lrc", "23"),
        ("lrc16", "fe23"),
        ("sum8", "dd"),
        ("sum16", "01dd"),
    ],
)
def test_checksums_have_the_check_values_of_the_catalogue(kind: str, expected: str) -> None:
    """Greg Cook, Catalogue of parametrised CRC algorithms: the field ``check``, over the digits 1 to 9."""
    assert checksum(CHECK, ChecksumSettings.model_validate({"type": kind})).hex() == expected
    written = checksum(CHECK, ChecksumSettings.model_validate({"type": kind, "notation": "HEX"}))
    assert written == expected.upper().encode()


def test_a_crc_of_no_common_name_is_given_by_its_parameters() -> None:
    """CRC-16/TELEDISK of the catalogue: check 0x0fb3."""
    crc = {"width": 16, "poly": 0xA097}
    assert checksum(CHECK, ChecksumSettings.model_validate({"crc": crc})).hex() == "0fb3"
    crc = {"width": 24, "poly": 0x864CFB, "init": 0xB704CE}
    assert checksum(CHECK, ChecksumSettings.model_validate({"crc": crc, "byte_order": "little"})).hex() == "02cf21"


@pytest.mark.parametrize(
    ("frame", "data"),
    [
        # Mark to mark: over what is between them, over the marks too, without the ETX.
        ({"start": "\x02", "end": "\x03", "checksum": {"type": "xor", "place": "after_end"}}, b"\x02AB\x03\x00"),
        (
            {"start": "\x02", "end": "\x03", "checksum": {"type": "xor", "place": "after_end", "skip": 0}},
            b"\x02AB\x03\x02",
        ),
        (
            {"start": "\x02", "end": "\x03", "checksum": {"type": "xor", "place": "after_end", "skip_last": 1}},
            b"\x02AB\x03\x03",
        ),
        ({"start": "\x02", "end": "\r", "checksum": {"type": "sum8", "notation": "HEX"}}, b"\x02AB83\r"),
    ],
)
def test_a_checksum_covers_the_stated_range(frame: dict[str, Any], data: bytes) -> None:
    assert frame_of(b"AB", settings(**frame)) == data
    assert messages(fed(Framer(settings(**frame)), [data])) == [b"AB"]


# -- settings --------------------------------------------------------------------------------------------------------

_CRC = {"type": "crc8"}


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        ({"length": {"at": 0}, "fixed": 9}, "give one of them"),
        ({"idle": "20ms", "end": "\n"}, "it has no marks"),
        ({"start": "\x02", "end": "\x02"}, "must differ"),
        ({"fixed": 3, "start": "\x02\x03", "checksum": _CRC}, "leaves no room"),
        ({"fixed": 3, "checksum": {**_CRC, "place": "after_end"}}, "needs an end mark"),
        ({"start": "\xaa\x55", "length": {"at": 1}}, "inside the start mark"),
        ({"checksum": {}}, "give type or crc"),
        ({"checksum": {"crc": {"width": 8, "poly": 256}}}, "more than 8 bits"),
        ({"escape": {"byte": "\x10", "how": "double"}}, "give start too"),
        ({"start": "\x02", "end": "\x03", "escape": {"byte": "\x10", "how": "double"}}, "begin with byte"),
        ({"start": "\x02", "end": "\x03", "escape": {"byte": "\x03", "how": "xor"}}, "neither is the escape byte"),
        ({"start": "\x02", "end": "\x03", "escape": {"byte": "\x10", "how": "xor", "xor": 1}}, "a mark of a mark"),
        ({"start": "\x02", "end": "\x03", "escape": {"byte": "\x10", "how": "replace"}}, "replace: needed"),
        ({"fixed": 9, "escape": {"byte": "\x10", "how": "xor"}}, "only marks do"),
        ({"end": "123456", "max_length": 6}, "no room between start and end"),
    ],
)
def test_frames_that_cannot_be_told_apart_are_refused(frame: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        settings(**frame)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ({}, b"A\r\nB"),
        ({"start": "\x02", "end": "\x03"}, b"A\x02"),
        ({"fixed": 4}, b"ABC"),
        ({"length": {"at": 0, "size": 1}}, b""),
        ({"length": {"at": 0, "size": 1}}, bytes(300)),
        ({"max_length": 8}, b"0123456789"),
    ],
)
def test_a_message_a_frame_cannot_carry_is_refused(frame: dict[str, Any], message: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        frame_of(message, settings(**frame))
