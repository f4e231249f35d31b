"""A measurement: a value with a name and a unit, as a station understood it, judged by nobody yet."""

from enum import StrEnum

from pydantic import StrictBool, StrictFloat, StrictInt, StrictStr

from contracts.base import Contract, Name, UtcTime

Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
"""One value. Floats are finite; a float32 from a machine is the shortest decimal that reads back the same."""

Row = dict[str, Scalar | None]
"""One row of a table of test points: column name -> value."""

Value = Scalar | list[Row] | list[Scalar]
"""A single value, a table (one row per test point), or a plain list."""


class Quality(StrEnum):
    """How far the machine itself trusts a value (OPC-UA status severity; other protocols say GOOD or BAD)."""

    GOOD = "GOOD"
    UNCERTAIN = "UNCERTAIN"
    BAD = "BAD"


class Measurement(Contract):
    """A typed value of one cycle.

    ``value`` is None when there is none that can be used; ``problem`` then says why, and judging gives ERROR.
    ``original`` keeps what arrived where that was something else (``"0.05mm"``).

    ``source_timestamp`` is when the machine says the value came to be, ``server_timestamp`` when its server last knew
    it to be true, ``status_code`` the machine's own word for how far it can be trusted (OPC-UA: the code's name;
    None for a plain Good, and for protocols without one). All three are kept as they came: ``clock_off`` says that
    one of the times cannot be right, by the station's clock.
    """

    name: Name
    value: Value | None = None
    unit: str | None = None
    original: str | None = None
    quality: Quality = Quality.GOOD
    problem: str | None = None
    source_timestamp: UtcTime | None = None
    server_timestamp: UtcTime | None = None
    status_code: str | None = None
    clock_off: bool = False
