"""The label: a template in ZPL II, filled so that no value can become a command.

Source: Zebra, ZPL II Programming Guide, commands ^BC, ^CI, ^FD, ^FH and ^FV.
"""

import re
from collections.abc import Mapping

from contracts.measurement import Scalar
from drivers.template import as_text, names_in, render

_FIELD_END = re.compile(r"(\^FS|\^XZ)", re.IGNORECASE)
_FIELD_DATA = re.compile(r"\^F[DV]", re.IGNORECASE)
_HEX = re.compile(r"\^FH([^\^~\s]?)", re.IGNORECASE)
_INDICATORS = "_" + "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in "_^~,")
_CODE_128 = re.compile(r"\^BC", re.IGNORECASE)
_UTF8 = re.compile(r"\^CI28", re.IGNORECASE)


def misplaced_names(template: str) -> frozenset[str]:
    """The ``{names}`` outside field data (^FD or ^FV up to ^FS), where no value could be made harmless."""
    return frozenset(name for head, _ in _fields(template) for name in names_in(head))


def filled(template: str, job: Mapping[str, Scalar]) -> str:
    """The template with the job's values as field data. No value can end its field or reach the printer as a command.

    Raises KeyError for a name the job has no value for, ValueError for a value this template cannot print.
    """
    return "".join(_filled(head, data, job, _UTF8.search(template) is not None) for head, data in _fields(template))


def _filled(head: str, data: str, job: Mapping[str, Scalar], utf8: bool) -> str:
    indicators = _HEX.findall(head)
    indicator = (indicators[-1] if indicators else "") or "_"
    names = names_in(data)
    if names and not indicators:
        # From here on the field's own text is read as ^FH data too: the indicator must not occur in it.
        text = render(data, dict.fromkeys(names, ""), as_text)
        indicator = next(mark for mark in _INDICATORS if mark not in text)
        at = head.upper().rindex("^F")
        head = f"{head[:at]}^FH{indicator}{head[at:]}"
    code_128 = _CODE_128.search(head) is not None
    for name in sorted(names):
        text = as_text(job[name])
        if code_128 and (">" in text or not text.isascii()):
            raise ValueError(
                f"{name} is {text!r}: a Code 128 (^BC) holds ASCII alone, and takes > for a command; use ^BX or ^BQ"
            )
        if not (utf8 or text.isascii()):
            raise ValueError(f"{name} is {text!r}: the template needs ^CI28 to print other than ASCII")
    return render(head, {}, as_text) + render(data, job, lambda value: field_data(value, indicator))


def field_data(value: Scalar, indicator: str = "_") -> str:
    """A value as ^FD data under ^FH: what the printer could take for more than data becomes ``_hh``."""
    return "".join(
        "".join(f"{indicator}{byte:02X}" for byte in character.encode("utf-8"))
        if character in "^~\\" + indicator or not (character.isascii() and character.isprintable())
        else character
        for character in as_text(value)
    )


def _fields(template: str) -> list[tuple[str, str]]:
    """The template in pieces: commands up to and with ^FD, and the field's data. Together they are the template."""
    pieces: list[tuple[str, str]] = []
    head = ""
    for place, piece in enumerate(_FIELD_END.split(template)):
        found = _FIELD_DATA.search(piece) if place % 2 == 0 else None
        if found is None:
            head += piece
            continue
        pieces.append((head + piece[: found.end()], piece[found.end() :]))
        head = ""
    return [*pieces, (head, "")]
