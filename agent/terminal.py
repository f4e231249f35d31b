"""What commands print for people: tables, in colours on a terminal only, in Korean where the locale is."""

import locale
import os
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

_WIDTH_OF_A_FILE = 240
_KOREAN: Mapping[str, str] = {
    "point": "포인트",
    "address": "주소",
    "raw": "원시값",
    "value": "값",
    "unit": "단위",
    "quality": "품질",
    "time": "시각",
    "verdict": "판정",
    "machine": "설비",
    "likely cause": "추정 원인",
    "proposal": "제안",
    "limits": "기준",
    "measurement": "측정 항목",
    "serial number": "일련번호",
    "outcome": "결과",
    "state": "상태",
    "since": "이후",
    "last error": "최근 오류",
    "results": "결과 수",
    "connected": "연결됨",
    "not connected": "연결 안 됨",
    "waiting for central": "중앙 전송 대기",
    "broker": "브로커",
    "central": "중앙 서버",
    "disk free": "디스크 여유",
    "stream": "스트림",
    "seq": "번호",
    "kept at": "보관 시각",
    "why parked": "보류 사유",
}
"""What operators read, in Korean. Names of the file, of errors and of the log stay as they are written."""
_STYLES = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "ERROR": "bold magenta", "REWORK": "yellow"}


def console() -> Console:
    """Standard output. Where it is no terminal: no colours, and lines as long as they are."""
    found = Console(highlight=False, soft_wrap=True)
    return found if found.is_terminal else Console(highlight=False, soft_wrap=True, width=_WIDTH_OF_A_FILE)


def word(english: str) -> str:
    """The word in the language of the locale."""
    return _KOREAN.get(english, english) if is_korean() else english


def is_korean() -> bool:
    """By LC_ALL, LC_MESSAGES and LANG, in their order."""
    chosen = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return locale.normalize(chosen).lower().startswith("ko")


def table(*columns: str, title: str | None = None) -> Table:
    """A table with these headings, in the language of the locale."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(word(column), overflow="fold")
    return made


def verdict(text: str) -> str:
    """A verdict or outcome in its colour."""
    style = _STYLES.get(text)
    return f"[{style}]{text}[/{style}]" if style else text
