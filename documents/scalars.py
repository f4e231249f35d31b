"""Plain scalars by the core schema of YAML 1.2: ``010`` is ten, ``no`` is a text, ``1e3`` is a number."""

import re

from contracts.measurement import Scalar

_NULL = re.compile(r"^(?:null|Null|NULL|~|)$")
_TRUE = re.compile(r"^(?:true|True|TRUE)$")
_FALSE = re.compile(r"^(?:false|False|FALSE)$")
_DECIMAL = re.compile(r"^[-+]?[0-9]{1,1000}$")
_OCTAL = re.compile(r"^0o[0-7]{1,1000}$")
_HEXADECIMAL = re.compile(r"^0x[0-9a-fA-F]{1,1000}$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_INFINITE = re.compile(r"^[-+]?\.(?:inf|Inf|INF)$")
_NAN = re.compile(r"^\.(?:nan|NaN|NAN)$")


def plain_scalar(text: str) -> Scalar | None:
    """The value of an unquoted scalar. None is YAML's null, an empty value too."""
    if _NULL.match(text):
        return None
    if _TRUE.match(text) or _FALSE.match(text):
        return text.lower() == "true"
    if _DECIMAL.match(text):
        return int(text)
    if _OCTAL.match(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.match(text):
        return int(text[2:], 16)
    if _FLOAT.match(text):
        return float(text)
    if _INFINITE.match(text) or _NAN.match(text):
        return float(text.replace(".", ""))
    return text
