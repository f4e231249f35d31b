"""JSON as a searchable column holds it."""

import json
import re
from typing import Any

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


def to_json(value: Any) -> str:
    """JSON for a searchable column: NUL, which JSONB refuses, becomes U+FFFD (the record's own text keeps it)."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _NUL.sub("\\1\ufffd", text.replace("\x00", "\ufffd")) if "\\u0000" in text or "\x00" in text else text
