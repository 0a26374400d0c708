"""A compressed member of a zip file as a file that can be read from anywhere, without unpacking it to the disk."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

from evslam.errors import DataError
from evslam.io.files import opened

STEP_BYTES = 1 << 24  # of content between two places where decompression can begin
READ_BYTES = 1 << 16
LOCAL_HEADER = struct.Struct("<4s5H3L2H")


class ZipMember:
    """A member of a zip file; `open` gives independent readers that share what they learn of the way through it.

    Args:
        path: the zip file.
        info: the member, stored or deflated.

    Raises:
        DataError: it is encrypted, compressed in another way, or not where the zip file says.
    """

    def __init__(self, path: Path, info: zipfile.ZipInfo) -> None:
        self.path, self.info = path, info
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(
                f"{path}: {info.filename} is encrypted or not deflated; unpack the file and give its folder"
            )
        with opened(path) as file:
            is_inside = 0 <= info.header_offset < file.seek(0, 2)
            file.seek(info.header_offset if is_inside else 0)
            header = file.read(LOCAL_HEADER.size) if is_inside else b""
        if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
            raise DataError(f"{path}, byte {info.header_offset}: no member {info.filename} here; download it again")
        *_, name_bytes, extra_bytes = LOCAL_HEADER.unpack(header)
        self.start = info.header_offset + LOCAL_HEADER.size + name_bytes + extra_bytes
        # Content offset, offset in the zip file, state of the decompressor.
        self.places: list[tuple[int, int, Any]] = [(0, self.start, None)]

    def open(self) -> io.BufferedReader:
        """Opens the member for reading."""
        return io.BufferedReader(_MemberFile(self), READ_BYTES)


class _MemberFile(io.RawIOBase):
    """The content of a member."""

    def __init__(self, member: ZipMember) -> None:
        self._member = member
        self._file = opened(member.path)
        self._position = 0  # where the reader is
        self._begin(member.places[0])

    def _begin(self, place: tuple[int, int, Any]) -> None:
        """Sets decompression to a place that is known."""
        self._made, offset, state = place
        is_stored = self._member.info.compress_type == zipfile.ZIP_STORED
        self._inflater = None if is_stored else (zlib.decompressobj(-15) if state is None else state.copy())
        self._pending = b""
        self._file.seek(offset)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._member.info.file_size}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def readinto(self, buffer: Any) -> int:
        target = min(self._position, self._member.info.file_size)
        nearest = max((place for place in self._member.places if place[0] <= target), key=lambda place: place[0])
        if not nearest[0] <= self._made <= target:
            self._begin(nearest)
        while self._made < target:
            if not self._inflate(min(target - self._made, READ_BYTES)):
                return 0
        content = self._inflate(min(len(buffer), self._member.info.file_size - target))
        buffer[: len(content)] = content
        self._position = target + len(content)
        return len(content)

    def _inflate(self, most: int) -> bytes:
        """The next content, at most so many bytes; empty at the end."""
        if most <= 0:
            return b""
        self._note()
        try:
            content = self._next(most)
        except zlib.error as error:
            raise DataError(
                f"{self._member.path}: {self._member.info.filename} is damaged after {self._made} bytes ({error}); "
                f"download it again"
            ) from None
        self._made += len(content)
        return content

    def _next(self, most: int) -> bytes:
        if self._inflater is None:
            return self._file.read(most)
        while not self._inflater.eof:
            block = self._pending or self._file.read(READ_BYTES)
            content = self._inflater.decompress(block, most)
            self._pending = self._inflater.unconsumed_tail
            if content or not block:
                return content
        return b""

    def _note(self) -> None:
        """Keeps the state of the decompressor every few megabytes."""
        places = self._member.places
        if self._made >= places[-1][0] + STEP_BYTES:
            state = None if self._inflater is None else self._inflater.copy()
            places.append((self._made, self._file.tell() - len(self._pending), state))

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
