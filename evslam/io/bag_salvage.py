"""Bags without an index, because they were cut off or never closed: whole messages are found by going through the file.

Sources: "Bags/Format/2.0" (wiki.ros.org); "MCAP Format Specification" (mcap.dev).
"""

from __future__ import annotations

import bz2
import struct
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import lz4.frame

from evslam.io.files import opened

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_CHUNK_BYTES = 1 << 28
ROS1_MESSAGE, ROS1_CHUNK, ROS1_CONNECTION = 0x02, 0x05, 0x07
MCAP_SCHEMA, MCAP_CHANNEL, MCAP_MESSAGE, MCAP_CHUNK, MCAP_END = 0x03, 0x04, 0x05, 0x06, 0x0F


class Connection(NamedTuple):
    """A topic; the names are those that rosbags uses."""

    id: int
    topic: str
    msgtype: str


class Message(NamedTuple):
    """A message with its arrival in nanoseconds."""

    connection: Connection
    arrival_ns: int
    raw: bytes


class Salvage:
    """A bag read from its beginning as far as it is whole; offers what rosbags' readers do.

    Attributes:
        connections: the topics of the messages found.
        start_time, end_time: arrival of the first message and one nanosecond after the last.
        lost_bytes: of the last, incomplete piece (decompressed where it was compressed).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: list[Connection] = []
        self.start_time, self.end_time, self.lost_bytes = 0, 0, 0

    def open(self) -> None:
        """Goes through the file once, to learn its topics and times."""
        found: dict[int, Connection] = {}
        first = last = None
        for message in self._scan():
            found.setdefault(message.connection.id, message.connection)
            first = message.arrival_ns if first is None else min(first, message.arrival_ns)
            last = message.arrival_ns if last is None else max(last, message.arrival_ns)
        self.connections = list(found.values())
        self.start_time, self.end_time = first or 0, (last or 0) + 1

    def close(self) -> None:
        """Nothing is held open."""

    def messages(
        self, connections: Collection[Connection], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Messages of some topics that arrived from `start` on and before `stop`, in the order of the file."""
        topics = {connection.topic for connection in connections}
        for connection, arrival_ns, raw in self._scan():
            inside = (start is None or arrival_ns >= start) and (stop is None or arrival_ns < stop)
            if connection.topic in topics and inside:
                yield connection, arrival_ns, raw

    def _scan(self) -> Iterator[Message]:
        """All whole messages; sets `lost_bytes` at the end."""
        raise NotImplementedError


class BagSalvage(Salvage):
    """A ROS 1 bag."""

    def _scan(self) -> Iterator[Message]:
        connections: dict[int, Connection] = {}
        with opened(self.path) as file:
            file.readline()
            while True:
                header, data, is_whole = _ros1_record(file)
                if header.get(b"op") == bytes([ROS1_CHUNK]):
                    content = _inflated(header.get(b"compression", b""), data)
                    yield from self._messages(content, connections)
                if not is_whole:
                    break
        if header.get(b"op") != bytes([ROS1_CHUNK]):
            self.lost_bytes = len(data)

    def _messages(self, content: bytes, connections: dict[int, Connection]) -> Iterator[Message]:
        """The messages of a chunk."""
        offset = 0
        while (record := _ros1_fields(content, offset)) is not None:
            header, data, offset = record
            number = int.from_bytes(header.get(b"conn", b""), "little")
            if header.get(b"op") == bytes([ROS1_CONNECTION]):
                about = _pairs(data)
                package, _, name = about.get(b"type", b"").decode("ascii", "replace").rpartition("/")
                topic = header.get(b"topic", b"").decode("utf-8", "replace")
                connections[number] = Connection(number, topic, f"{package}/msg/{name}")
            elif header.get(b"op") == bytes([ROS1_MESSAGE]) and number in connections:
                time = header.get(b"time", b"")
                sec, nsec = struct.unpack("<II", time) if len(time) == 8 else (0, 0)
                yield Message(connections[number], sec * 1_000_000_000 + nsec, data)
        self.lost_bytes = len(content) - offset


class McapSalvage(Salvage):
    """An mcap file."""

    def _scan(self) -> Iterator[Message]:
        schemas: dict[int, str] = {}
        channels: dict[int, Connection] = {}
        with opened(self.path) as file:
            file.seek(8)
            while len(head := file.read(9)) == 9:
                kind, number = struct.unpack("<BQ", head)
                data = file.read(min(number, MAX_CHUNK_BYTES))
                if kind == MCAP_CHUNK:
                    yield from self._messages(_mcap_chunk(data), schemas, channels)
                elif len(data) == number:
                    yield from _mcap_message(kind, data, schemas, channels)
                if len(data) < number or kind == MCAP_END:
                    self.lost_bytes = self.lost_bytes if kind == MCAP_CHUNK else len(data)
                    break

    def _messages(self, content: bytes, schemas: dict[int, str], channels: dict[int, Connection]) -> Iterator[Message]:
        """The messages of a chunk."""
        offset = 0
        while offset + 9 <= len(content):
            kind, number = struct.unpack_from("<BQ", content, offset)
            if offset + 9 + number > len(content):
                break
            yield from _mcap_message(kind, content[offset + 9 : offset + 9 + number], schemas, channels)
            offset += 9 + number
        self.lost_bytes = len(content) - offset


def _inflated(compression: bytes, data: bytes) -> bytes:
    """What can be decompressed of data that may be cut off or damaged; at most a chunk's worth."""
    try:
        if compression == b"bz2":
            return bz2.BZ2Decompressor().decompress(data, MAX_CHUNK_BYTES)
        if compression == b"lz4":
            return lz4.frame.LZ4FrameDecompressor().decompress(data, MAX_CHUNK_BYTES)
        if compression == b"zstd":
            return zstd.ZstdDecompressor().decompress(data, MAX_CHUNK_BYTES)
    except (OSError, EOFError, RuntimeError, zstd.ZstdError):
        return b""
    return data


def _ros1_record(file: BinaryIO) -> tuple[dict[bytes, bytes], bytes, bool]:
    """Header and data of a record, and whether they are whole; data as far as there is any."""
    header_bytes = file.read(int.from_bytes(file.read(4), "little") & (MAX_CHUNK_BYTES - 1))
    prefix = file.read(4)
    number = int.from_bytes(prefix, "little")
    data = file.read(min(number, MAX_CHUNK_BYTES))
    return _pairs(header_bytes), data, len(prefix) == 4 and len(data) == number


def _ros1_fields(content: bytes, offset: int) -> tuple[dict[bytes, bytes], bytes, int] | None:
    """Header and data of the record at an offset and the offset of the next; None if it is cut off."""
    parts = []
    for _ in range(2):
        if offset + 4 > len(content):
            return None
        (number,) = struct.unpack_from("<I", content, offset)
        if offset + 4 + number > len(content):
            return None
        parts.append(content[offset + 4 : offset + 4 + number])
        offset += 4 + number
    return _pairs(parts[0]), parts[1], offset


def _pairs(content: bytes) -> dict[bytes, bytes]:
    """The fields "name=value" of a ROS 1 header."""
    fields, offset = {}, 0
    while offset + 4 <= len(content):
        (number,) = struct.unpack_from("<I", content, offset)
        name, _, value = content[offset + 4 : offset + 4 + number].partition(b"=")
        fields[name] = value
        offset += 4 + number
    return fields


def _mcap_chunk(data: bytes) -> bytes:
    """The records of a chunk, as far as they can be decompressed."""
    if len(data) < 32:
        return b""
    (number,) = struct.unpack_from("<I", data, 28)
    return _inflated(data[32 : 32 + number], data[32 + number + 8 :])


def _mcap_message(
    kind: int, data: bytes, schemas: dict[int, str], channels: dict[int, Connection]
) -> Iterator[Message]:
    """A record as a message, if it is one; schemas and channels are kept."""
    if kind == MCAP_SCHEMA and len(data) >= 6:
        number, size = struct.unpack_from("<HI", data)
        schemas[number] = data[6 : 6 + size].decode("utf-8", "replace")
    elif kind == MCAP_CHANNEL and len(data) >= 8:
        number, schema, size = struct.unpack_from("<HHI", data)
        channels[number] = Connection(number, data[8 : 8 + size].decode("utf-8", "replace"), schemas.get(schema, ""))
    elif kind == MCAP_MESSAGE and len(data) >= 22:
        number, _, arrival_ns = struct.unpack_from("<HIQ", data)
        if number in channels:
            yield Message(channels[number], arrival_ns, data[22:])
