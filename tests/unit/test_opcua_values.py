"""OPC-UA values <-> readings: whatever a node holds becomes a value a record can hold, or a problem that says why."""

import contextlib
import math
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from asyncua import ua
from asyncua.common.utils import Buffer
from asyncua.ua.ua_binary import variant_from_binary, variant_to_binary
from hypothesis import given
from hypothesis import strategies as st

from contracts.measurement import Quality
from drivers.base import PointValue, RawValue
from drivers.opcua.settings import OpcUaPoint
from drivers.opcua.structures import Layout, LayoutError, Layouts, Member
from drivers.opcua.values import Enumerated, Undescribed, as_content, point_value
from drivers.opcua.variants import variant_of

Kind = ua.VariantType
EARLIEST, LATEST = datetime(1602, 1, 1), datetime(9998, 12, 31)  # noqa: DTZ001  # hypothesis wants them so
INTEGERS = {
    Kind.SByte: (8, True),
    Kind.Byte: (8, False),
    Kind.Int16: (16, True),
    Kind.UInt16: (16, False),
    Kind.Int32: (32, True),
    Kind.UInt32: (32, False),
    Kind.Int64: (64, True),
    Kind.UInt64: (64, False),
}


def point(**keys: Any) -> OpcUaPoint:
    return OpcUaPoint.model_validate({"node_id": "ns=2;s=x", **keys})


def read(value: ua.Variant | None, where: OpcUaPoint | None = None, status: int = 0) -> PointValue:
    """What a point says of a node that holds this, sent over the wire and back."""
    sent = None if value is None else variant_from_binary(Buffer(variant_to_binary(value)))
    data = ua.DataValue(sent, ua.StatusCode(ua.UInt32(status)), SourceTimestamp=None, ServerTimestamp=None)
    return point_value(
        data, as_content(None if sent is None else sent.Value), where or point(), "point x, node ns=2;s=x"
    )


def bounds(kind: Kind) -> tuple[int, int]:
    bits, signed = INTEGERS[kind]
    return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)


# -- whole numbers, floats, texts -------------------------------------------------------------------------------------


@given(st.sampled_from(sorted(INTEGERS)), st.integers(-(2**70), 2**70))
def test_a_whole_number_comes_back_or_is_refused_at_its_types_end(kind: Kind, number: int) -> None:
    least, most = bounds(kind)
    if least <= number <= most:
        assert read(variant_of(number, kind)) == PointValue(number)
        assert read(variant_of(str(number), kind)) == PointValue(number)
    else:
        with pytest.raises(ValueError, match="does not fit"):
            variant_of(number, kind)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_comes_back_as_it_was(number: float) -> None:
    assert read(variant_of(number, Kind.Double)) == PointValue(number)


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_float_is_told_by_the_shortest_decimal_that_reads_back_the_same(number: float) -> None:
    found = read(variant_of(number, Kind.Float)).value
    assert isinstance(found, float)
    assert struct.pack("<f", found) == struct.pack("<f", number)
    assert len(repr(found)) <= len(repr(number))


def test_a_float_of_1_2_is_1_2() -> None:
    assert read(ua.Variant(1.2, Kind.Float)).value == 1.2


@given(st.sampled_from([Kind.Float, Kind.Double]), st.sampled_from([math.nan, math.inf, -math.inf]))
def test_what_is_no_number_is_no_value(kind: Kind, number: float) -> None:
    for found in (read(ua.Variant(number, kind)), read(ua.Variant([1.0, number], kind))):
        assert found.value is None
        assert "not a finite number" in (found.problem or "")
        assert found.original is not None


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_comes_back_as_it_was(text: str) -> None:
    assert read(variant_of(text, Kind.String)) == PointValue(text)
    assert read(variant_of(text, Kind.LocalizedText)) == PointValue(text)


@given(st.booleans())
def test_a_boolean_stays_one(value: bool) -> None:
    for written in (value, int(value), str(value).lower(), str(int(value))):
        assert read(variant_of(written, Kind.Boolean)) == PointValue(value)


@given(st.datetimes(EARLIEST, LATEST, timezones=st.just(UTC)))
def test_a_time_comes_back_in_utc(moment: datetime) -> None:
    text = moment.isoformat()
    assert read(variant_of(text, Kind.DateTime)) == PointValue(text)


@given(st.uuids(), st.binary())
def test_a_guid_and_bytes_come_back(guid: UUID, data: bytes) -> None:
    assert read(variant_of(str(guid), Kind.Guid)) == PointValue(str(guid))
    assert read(variant_of(data.hex(), Kind.ByteString)) == PointValue(data.hex())


@given(st.sampled_from(["utf-8", "cp949", "latin-1"]), st.text(st.characters(codec="latin-1", min_codepoint=33)))
def test_bytes_may_be_a_text_that_ends_at_its_first_nul(encoding: str, text: str) -> None:
    try:
        data = text.strip().encode(encoding)
    except UnicodeEncodeError:
        return
    for variant in (ua.Variant(data + b"\0\0x", Kind.ByteString), ua.Variant(list(data + b"\0"), Kind.Byte)):
        assert read(variant, point(text=encoding)) == PointValue(text.strip())


def test_bytes_that_are_no_text_are_told_with_what_they_are() -> None:
    found = read(ua.Variant(b"\xff\xfe", Kind.ByteString), point(text="utf-8"))
    assert (found.value, found.problem) == (None, "point x, node ns=2;s=x: no utf-8 text: bytes ff fe")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("a", Kind.Int32),
        (1.5, Kind.Int32),
        ("x", Kind.Boolean),
        (2, Kind.Boolean),
        ("x", Kind.DateTime),
        (1e39, Kind.Float),
    ],
)
def test_what_a_type_cannot_hold_is_refused(value: Any, kind: Kind) -> None:
    with pytest.raises(ValueError, match=r".+"):
        variant_of(value, kind)


# -- what is no plain value -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "says"),
    [
        (None, "no value"),
        (ua.Variant(None), "no value"),
        (ua.Variant([None, "a"], Kind.String), "[0]: no value"),
        (ua.Variant(datetime(1601, 1, 1, tzinfo=UTC), Kind.DateTime), "no time (the DateTime is 0)"),
        (ua.Variant([[1, 2, 3], [4, 5, 6]], Kind.Int32), "a matrix of 2 x 3; choose a row or an element"),
        (ua.Variant(ua.Range(Low=1.0, High=2.0)), "a structure of Low, High; choose one with field"),
    ],
)
def test_what_no_record_can_hold_is_told_clearly(variant: ua.Variant | None, says: str) -> None:
    found = read(variant)
    assert found.value is None
    assert says in (found.problem or "")


@pytest.mark.parametrize(
    ("variant", "field", "value"),
    [
        (ua.Variant([[1, 2, 3], [4, 5, 6]], Kind.Int32), "[1]", [4, 5, 6]),
        (ua.Variant([[1, 2, 3], [4, 5, 6]], Kind.Int32), "[1,2]", 6),
        (ua.Variant([7, 8], Kind.Int32), "[1]", 8),
        (ua.Variant(ua.Range(Low=1.0, High=2.0)), "High", 2.0),
        (ua.Variant([ua.Range(Low=1.0, High=2.0), ua.Range(Low=3.0, High=4.0)]), "Low", [1.0, 3.0]),
        (ua.Variant([ua.Range(Low=1.0, High=2.0), ua.Range(Low=3.0, High=4.0)]), "[1].Low", 3.0),
        (ua.Variant(ua.QualifiedName("n", 2), Kind.QualifiedName), None, "n"),
        (ua.Variant(ua.NodeId("n", 2), Kind.NodeId), None, "ns=2;s=n"),
    ],
)
def test_a_field_is_found(variant: ua.Variant, field: str | None, value: RawValue) -> None:
    assert read(variant, point(field=field)).value == value


@pytest.mark.parametrize(
    ("field", "says"),
    [("Middle", "no member Middle; it has Low, High"), ("[0]", "no array"), ("Low.Deeper", "no structure")],
)
def test_a_field_that_is_not_there_is_told_with_what_is(field: str, says: str) -> None:
    found = read(ua.Variant(ua.Range(Low=1.0, High=2.0)), point(field=field))
    assert (found.value, says in (found.problem or "")) == (None, True)


def test_a_place_behind_the_end_is_told() -> None:
    assert "no place [2] in an array of 2" in (read(ua.Variant([7, 8], Kind.Int32), point(field="[2]")).problem or "")


def test_a_status_is_kept_and_a_bad_one_is_no_value() -> None:
    bad = read(ua.Variant(1.0), status=ua.StatusCodes.BadSensorFailure)
    assert (bad.value, bad.quality, bad.status_code) == (None, Quality.BAD, "BadSensorFailure")
    doubtful = read(ua.Variant(1.0), status=ua.StatusCodes.UncertainLastUsableValue)
    assert (doubtful.value, doubtful.quality, doubtful.status_code) == (
        1.0,
        Quality.UNCERTAIN,
        "UncertainLastUsableValue",
    )
    good = read(ua.Variant(1.0))
    assert (good.value, good.quality, good.status_code) == (1.0, Quality.GOOD, None)
    overflow = read(ua.Variant(1.0), status=0x480)
    assert (overflow.value, overflow.status_code) == (1.0, "Good (0x00000480)")


def test_an_enumeration_is_a_number_or_its_name() -> None:
    names = {0: "Idle", 7: "Done"}
    data = ua.DataValue(ua.Variant(7, Kind.Int32))
    found = {
        shown: point_value(data, Enumerated.of(7, names), point(enumeration=shown), "x").value
        for shown in ("number", "name")
    }
    assert found == {"number": 7, "name": "Done"}
    unnamed = point_value(data, Enumerated.of(3, names), point(enumeration="name"), "x")
    assert (unnamed.value, unnamed.problem) == (None, "x: 3 has no name; it has names for 0, 7")


# -- structures -------------------------------------------------------------------------------------------------------

OUTER, INNER, STATE, CHOICE = (ua.NodeId(name, 2) for name in ("Outer", "Inner", "State", "Choice"))
NAMES = {0: "Idle", 1: "Done"}


def layouts() -> Layouts:
    """A structure with all there is: optional members, lists, an enumeration, a union and another structure."""
    found = Layouts()
    found.names[STATE] = NAMES
    found.layouts[INNER] = Layout((Member("Peak", Kind.Double), Member("Name", Kind.String)))
    found.layouts[CHOICE] = Layout((Member("Number", Kind.Int32), Member("Text", Kind.String)), ua.StructureType.Union)
    found.layouts[OUTER] = Layout(
        (
            Member("Count", Kind.UInt16),
            Member("Note", Kind.String, is_optional=True),
            Member("Curve", Kind.Double, is_array=True),
            Member("Force", INNER),
            Member("Steps", INNER, is_array=True, is_optional=True),
            Member("State", STATE),
            Member("Choice", CHOICE),
        ),
        ua.StructureType.StructureWithOptionalFields,
    )
    return found


finite = st.floats(allow_nan=False, allow_infinity=False)
inner = st.fixed_dictionaries({"Peak": finite, "Name": st.text(st.characters(exclude_categories=["Cs"]), max_size=5)})
outer = st.fixed_dictionaries(
    {
        "Count": st.integers(0, 65535),
        "Note": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        "Curve": st.none() | st.lists(finite, max_size=4),
        "Force": inner,
        "Steps": st.none() | st.lists(inner, max_size=3),
        "State": st.sampled_from([0, 1, 2]),
        "Choice": st.just({})
        | st.builds(lambda number: {"Number": number}, st.integers(-5, 5))
        | st.builds(lambda text: {"Text": text}, st.sampled_from(["", "x"])),
    }
)


@given(outer)
def test_a_structure_comes_back_as_it_was(value: dict[str, Any]) -> None:
    book = layouts()
    found = book.decoded(OUTER, book.encoded(OUTER, value))
    assert found == value
    assert found["State"].names == NAMES


@given(outer, st.integers(0, 200), st.binary(min_size=1, max_size=3))
def test_a_structure_cut_short_or_too_long_is_refused(value: dict[str, Any], cut: int, more: bytes) -> None:
    """A server that changed its types without saying so must not give values of another member."""
    book = layouts()
    body = book.encoded(OUTER, value)
    with pytest.raises(LayoutError):
        book.decoded(OUTER, body[: cut % len(body)])
    with pytest.raises(LayoutError):
        book.decoded(OUTER, body + more)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_structure_or_refused(body: bytes) -> None:
    """Never a crash, and never for ever."""
    with contextlib.suppress(LayoutError):
        layouts().decoded(OUTER, body)


def test_a_structure_that_holds_itself_ends() -> None:
    book = Layouts()
    book.layouts[INNER] = Layout((Member("Self", INNER),))
    with pytest.raises(LayoutError, match="more than 16 structures"):
        book.decoded(INNER, b"")


def test_a_structure_nobody_described_is_told_and_kept() -> None:
    content: Sequence[Any] = [Undescribed("a structure that cannot be taken apart", b"\x01\x02")]
    found = point_value(ua.DataValue(ua.Variant(1)), content[0], point(), "x")
    assert (found.value, found.problem, found.original) == (None, "x: a structure that cannot be taken apart", "0102")
    found = point_value(ua.DataValue(ua.Variant(1)), content, point(field="Force"), "x")
    assert found.problem == "x: a structure that cannot be taken apart", "not: it has no such member"
