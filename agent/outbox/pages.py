"""Rows of a damaged SQLite file, page by page, without its tree (https://www.sqlite.org/fileformat2.html).

Every page is looked at: a page that is lost takes only its own rows with it. Of a ``-wal`` what was committed counts,
as SQLite would take it: up to the last commit before a frame whose checksum is wrong.
"""

import mmap
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

Bytes = bytes | mmap.mmap
Value = int | float | str | bytes | None

_HEADER = b"SQLite format 3\x00"
_PAGE_SIZE = 4096
"""What SQLite takes unless told otherwise: for a file whose header is lost."""
_TABLE_LEAF = 0x0D
_WAL_MAGIC = 0x377F0682
_LONGEST_ROW = 2**30


@dataclass(frozen=True)
class TableRow:
    """A row of some table: its rowid, and its columns. A column that cannot be decoded ends them (``whole`` False)."""

    rowid: int
    columns: tuple[Value, ...]
    whole: bool


def rows(path: Path) -> Iterator[TableRow]:
    """Every row that can be found in a file and its ``-wal``; either may be missing. Raises OSError.

    Rows of pages that are free for reuse are among them: what was deleted or moved may come in its older form too.
    """
    wal = path.with_name(path.name + "-wal")
    with ExitStack() as stack:
        content: Bytes = b""
        if path.exists() and path.stat().st_size:
            file = stack.enter_context(path.open("rb"))
            content = stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        image = _Image(content, wal.read_bytes() if wal.exists() else b"")
        for number in image.numbers():
            try:
                yield from _leaf(image, image.page(number), 100 if number == 1 else 0)
            except (IndexError, struct.error):
                continue  # no page of a tree


class _Image:
    """A file's pages as its ``-wal`` changes them."""

    def __init__(self, file: Bytes, wal: bytes) -> None:
        self._file = file
        self.size = _PAGE_SIZE
        self.usable = _PAGE_SIZE
        if file[: len(_HEADER)] == _HEADER:
            self.size = {1: 65536}.get(size := struct.unpack_from(">H", file, 16)[0], size)
            self.usable = self.size - file[20]
        elif len(wal) >= 32:
            self.size = self.usable = struct.unpack_from(">I", wal, 8)[0]
        if self.size < 512 or self.size & (self.size - 1) or self.usable < 480:
            self.size = self.usable = _PAGE_SIZE
        self._changed = dict(_committed(wal, self.size))

    def numbers(self) -> range:
        """The numbers of all pages."""
        in_file = -(-len(self._file) // self.size)
        return range(1, max([in_file, *self._changed]) + 1)

    def page(self, number: int) -> bytes:
        """A page; empty when it is not there."""
        changed = self._changed.get(number)
        if changed is not None:
            return changed
        return self._file[(number - 1) * self.size : number * self.size]


def _committed(wal: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """Number and content of pages, in order of writing, up to the last commit."""
    if len(wal) < 32:
        return
    magic, _, page_size, _, salt_1, salt_2, *header_sum = struct.unpack_from(">8I", wal)
    if magic & ~1 != _WAL_MAGIC or page_size != size:
        return
    order = ">" if magic & 1 else "<"
    checksum = _checksum(order, wal[:24], (0, 0))
    if checksum != tuple(header_sum):
        return
    waiting: list[tuple[int, bytes]] = []
    for start in range(32, len(wal) - 24 - size + 1, 24 + size):
        number, commits, frame_salt_1, frame_salt_2, *frame_sum = struct.unpack_from(">6I", wal, start)
        content = wal[start + 24 : start + 24 + size]
        checksum = _checksum(order, content, _checksum(order, wal[start : start + 8], checksum))
        if (frame_salt_1, frame_salt_2) != (salt_1, salt_2) or checksum != tuple(frame_sum):
            return
        waiting.append((number, content))
        if commits:
            yield from waiting
            waiting.clear()


def _checksum(order: str, content: bytes, before: tuple[int, int]) -> tuple[int, int]:
    one, two = before
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two


def _leaf(image: _Image, page: bytes, start: int) -> Iterator[TableRow]:
    if len(page) <= start or page[start] != _TABLE_LEAF:
        return
    (cells,) = struct.unpack_from(">H", page, start + 3)
    for cell in range(cells):
        (offset,) = struct.unpack_from(">H", page, start + 8 + 2 * cell)
        try:
            length, offset = _varint(page, offset)
            rowid, offset = _varint(page, offset)
            columns, whole = _columns(_payload(image, page, offset, length))
        except (IndexError, struct.error):
            continue
        yield TableRow(rowid, columns, whole)


def _payload(image: _Image, page: bytes, offset: int, length: int) -> bytes:
    """A cell's content: what is in the page, and what overflows into a chain of others."""
    if length > _LONGEST_ROW:
        raise IndexError
    local = length
    if length > (longest := image.usable - 35):
        least = (image.usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (image.usable - 4)
        local = local if local <= longest else least
    content = bytearray(page[offset : offset + local])
    if local < length:
        (following,) = struct.unpack_from(">I", page, offset + local)
        while len(content) < length and following:
            overflow = image.page(following)
            if len(overflow) < 4:
                break
            (following,) = struct.unpack_from(">I", overflow)
            content += overflow[4 : min(image.usable, 4 + length - len(content))]
    return bytes(content)


def _columns(payload: bytes) -> tuple[tuple[Value, ...], bool]:
    header_length, offset = _varint(payload, 0)
    kinds: list[int] = []
    while offset < header_length:
        kind, offset = _varint(payload, offset)
        kinds.append(kind)
    columns: list[Value] = []
    for kind in kinds:
        size = _size(kind)
        raw = payload[offset : offset + size]
        offset += size
        try:
            if len(raw) < size:
                return tuple(columns), False
            columns.append(_value(kind, raw))
        except (UnicodeDecodeError, struct.error):
            return tuple(columns), False
    return tuple(columns), True


def _size(kind: int) -> int:
    if kind >= 12:
        return (kind - 12) // 2
    return (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)[kind]


def _value(kind: int, raw: bytes) -> Value:
    if kind == 0:
        return None
    if kind == 7:
        return float(struct.unpack(">d", raw)[0])
    if kind <= 6:
        return int.from_bytes(raw, "big", signed=True)
    if kind in (8, 9):
        return kind - 8
    return raw if kind % 2 == 0 else raw.decode("utf-8")


def _varint(content: bytes, offset: int) -> tuple[int, int]:
    """The number that begins here, and where the next thing begins."""
    number = 0
    for _ in range(8):
        byte = content[offset]
        offset += 1
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, offset
    return number << 8 | content[offset], offset + 1
