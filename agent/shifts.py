"""When a site's shifts begin, as a station's file says it."""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, StringConstraints


def _known_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{zone!r} is no time zone of this computer; one like Asia/Seoul is needed") from error
    return zone


ShiftStart = Annotated[str, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""When a shift begins: ``08:00``."""
Zone = Annotated[str, AfterValidator(_known_zone)]
