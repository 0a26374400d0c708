"""Reading FlatBuffers of untrusted files: every access stays inside the buffer.

Source: FlatBuffers documentation, "FlatBuffer Internals" (flatbuffers.dev).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass


class FlatBufferError(ValueError):
    """An offset or a length points outside the buffer, or the buffer holds something else."""


@dataclass(frozen=True)
class Table:
    """A table: fields by number, absent ones take a default.

    Attributes:
        buffer: the whole buffer.
        position: of the table.
    """

    buffer: bytes
    position: int

    @staticmethod
    def root(buffer: bytes, identifier: bytes) -> Table:
        """The root table of a size-prefixed buffer.

        Raises:
            FlatBufferError: it does not carry the identifier, or is cut off.
        """
        if buffer[8:12] != identifier:
            raise FlatBufferError(f"identifier {buffer[8:12]!r} where {identifier!r} is expected")
        return Table(buffer, 4 + _unpack("<I", buffer, 4))

    def scalar(self, field: int, form: str, default: float) -> float:
        """A number; `form` as in `struct`, with its byte order."""
        where = self._field(field)
        return default if where is None else _unpack(form, self.buffer, where)

    def text(self, field: int) -> bytes:
        """A string, empty where absent."""
        start, number = self.vector(field, 1)
        return self.buffer[start : start + number]

    def vector(self, field: int, item_bytes: int) -> tuple[int, int]:
        """Position and number of the items of a vector, (0, 0) where absent."""
        where = self._field(field)
        if where is None:
            return 0, 0
        start = where + _unpack("<I", self.buffer, where)
        number = _unpack("<I", self.buffer, start)
        if start + 4 + number * item_bytes > len(self.buffer):
            raise FlatBufferError(f"a vector of {number} items reaches beyond the end")
        return start + 4, number

    def tables(self, field: int) -> Iterator[Table]:
        """The tables of a vector of tables."""
        start, number = self.vector(field, 4)
        for where in range(start, start + 4 * number, 4):
            yield Table(self.buffer, where + _unpack("<I", self.buffer, where))

    def _field(self, field: int) -> int | None:
        layout = self.position - _unpack("<i", self.buffer, self.position)
        entry = 4 + 2 * field
        if entry + 2 > _unpack("<H", self.buffer, layout):
            return None
        offset = _unpack("<H", self.buffer, layout + entry)
        return self.position + offset if offset else None


def _unpack(form: str, buffer: bytes, position: int) -> int:
    if position < 0:
        raise FlatBufferError(f"an offset leads to byte {position}")
    try:
        return struct.unpack_from(form, buffer, position)[0]
    except struct.error:
        raise FlatBufferError(f"an offset leads to byte {position} of {len(buffer)}") from None
