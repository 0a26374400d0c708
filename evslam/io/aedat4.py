"""iniVation AEDAT 4: a header with the streams, then packets of events, inertial samples and frames, each compressed.

Source: "AEDAT 4.0" (docs.inivation.com, file formats) and its FlatBuffers schemas. Verified against recordings of a
DAVIS346 and a DVXplorer, decoded by iniVation's own dv-processing and another implementation.
"""

from __future__ import annotations

import logging
import math
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import lz4.frame
import numpy as np

from evslam.errors import DataError
from evslam.io.events import HOLDBACK_US, RawEvents, ReadCounts, merged
from evslam.io.files import opened
from evslam.io.flatbuffer import FlatBufferError, Table
from evslam.io.reader import FileReader, Frame, Place
from evslam.types import Imu, SensorSize

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

SIGNATURE = b"#!AER-DAT4.0\r\n"
MAX_HEADER_BYTES = 1 << 24
MAX_PACKET_BYTES = 1 << 27  # of a packet, decompressed
UNCOMPRESSED, LZ4, LZ4_HIGH, ZSTD, ZSTD_HIGH = range(5)
EVENT = np.dtype({"names": ["t", "x", "y", "p"], "formats": ["<i8", "<i2", "<i2", "?"], "offsets": [0, 8, 10, 12],
                  "itemsize": 16})  # fmt: skip
STANDARD_GRAVITY = 9.80665
GREY_WEIGHTS = np.array([0.114, 0.587, 0.299])  # of blue, green, red
_log = logging.getLogger(__name__)


def is_aedat4(path: Path) -> bool:
    """Whether the file begins as AEDAT 4 does."""
    with opened(path) as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


@dataclass(frozen=True)
class _Packet:
    """A packet's place in the file, without its header."""

    offset: int
    num_bytes: int


class Aedat4Reader(FileReader):
    """Reads AEDAT 4 (an EventReader); a start is found by bisection of the packets.

    Raises:
        DataError: the header cannot be read, there is no event stream, or no event in it.
    """

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        super().__init__(path, size)
        streams = self._read_header()
        self._ids = {kind: number for kind, number, _ in reversed(streams)}
        if "EVTS" not in self._ids:
            raise DataError(f"{self.path}, header: no stream of events (EVTS); give another recording")
        several = [number for kind, number, _ in streams if kind == "EVTS"]
        if len(several) > 1:
            _log.warning("%s: holds %d event streams; stream %d is read", self.path, len(several), several[0])
        self.sensor_size = next(shape for kind, _, shape in streams if kind == "EVTS")
        self._packets = self._walk()
        self.t_first_us, self.t_last_us = self._span()

    def _read_header(self) -> list[tuple[str, int, SensorSize | None]]:
        """The streams; learns compression, and where packets, their table of contents and the file end."""
        with opened(self.path) as file:
            prefix = file.read(len(SIGNATURE) + 4)
            (num_bytes,) = struct.unpack_from("<i", prefix.ljust(18, b"\0"), len(SIGNATURE))
            content = file.read(min(max(num_bytes, 0), MAX_HEADER_BYTES))
            self._start, self._file_bytes = len(prefix) + len(content), file.seek(0, 2)
        try:
            header = Table.root(prefix[len(SIGNATURE) :] + content, b"IOHE")
            self._compression = int(header.scalar(0, "<i", UNCOMPRESSED))
            self._stop = int(header.scalar(1, "<q", -1))
            text = header.text(2)
        except FlatBufferError as error:
            raise DataError(f"{self.path}, header: cannot be read ({error}); copy the file again") from None
        return _streams(self.path, text)

    def _walk(self) -> dict[int, list[_Packet]]:
        """The packets of every stream; keeps what is left over at the end."""
        packets: dict[int, list[_Packet]] = {number: [] for number in self._ids.values()}
        stop = self._stop if self._start <= self._stop <= self._file_bytes else self._file_bytes
        offset = self._start
        with opened(self.path) as file:
            while offset + 8 <= stop:
                file.seek(offset)
                stream, num_bytes = struct.unpack("<ii", file.read(8))
                if num_bytes < 0 or offset + 8 + num_bytes > stop:
                    break
                if stream in packets:
                    packets[stream].append(_Packet(offset + 8, num_bytes))
                offset += 8 + num_bytes
        self._truncated_bytes = stop - offset
        if self._truncated_bytes:
            _log.warning("%s: the last %d bytes are no whole packet and were left out", self.path, stop - offset)
        return packets

    def _content(self, kind: str, packet: _Packet) -> Table:
        """A packet's table.

        Raises:
            FlatBufferError: it cannot be decoded.
        """
        with opened(self.path) as file:
            file.seek(packet.offset)
            content = file.read(packet.num_bytes)
        try:
            if self._compression in (LZ4, LZ4_HIGH):
                content = lz4.frame.LZ4FrameDecompressor().decompress(content, max_length=MAX_PACKET_BYTES)
            elif self._compression in (ZSTD, ZSTD_HIGH):
                content = zstd.ZstdDecompressor().decompress(content, max_length=MAX_PACKET_BYTES)
        except (RuntimeError, zstd.ZstdError, EOFError) as error:
            raise FlatBufferError(f"decompression failed: {error}") from None
        return Table.root(content, kind.encode())

    def _events(self, index: int) -> RawEvents:
        table = self._content("EVTS", self._packets[self._ids["EVTS"]][index])
        start, number = table.vector(0, EVENT.itemsize)
        rows = np.frombuffer(table.buffer, EVENT, number, start)
        return RawEvents(rows["t"], rows["x"], rows["y"], rows["p"], Place(self.path, 0, f"packet {index}, "))

    def _span(self) -> tuple[int, int]:
        """Oldest and newest time of the first and the last packet that hold events."""
        number = len(self._packets[self._ids["EVTS"]])
        for first in range(number):
            times = self._times(first)
            if len(times):
                last = next(index for index in range(number - 1, -1, -1) if len(self._times(index)))
                return int(times.min()), int(self._times(last).max())
        raise DataError(
            f"{self.path}: holds no events that can be decoded ({number} packets, {self._truncated_bytes} bytes cut "
            f"off); copy the file or record it again"
        )

    def _times(self, index: int) -> np.ndarray:
        """Times of a packet, empty where it cannot be decoded."""
        try:
            return self._events(index).t
        except FlatBufferError:
            return np.empty(0, np.int64)

    def _index_before(self, start_us: int) -> int:
        """Number of a packet before which every event is older than start_us."""
        first, stop = 0, len(self._packets[self._ids["EVTS"]])
        while stop - first > 1:
            middle = (first + stop) // 2
            times = self._times(middle)
            older = len(times) > 0 and times[0] < start_us - HOLDBACK_US
            first, stop = (middle, stop) if older else (first, middle)
        return first

    def _blocks(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        return merged(self._decoded(start_us, counts))

    def _decoded(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        """The packets with events; what cannot be decoded is counted."""
        counts.truncated_bytes = self._truncated_bytes
        packets = self._packets[self._ids["EVTS"]]
        for index in range(0 if start_us is None else self._index_before(start_us), len(packets)):
            try:
                yield self._events(index)
            except FlatBufferError as error:
                counts.damaged_bytes += packets[index].num_bytes
                _log.warning("%s, byte %d: packet skipped (%s)", self.path, packets[index].offset, error)

    def _tables(self, kind: str) -> Iterator[Table]:
        """The packets of a stream beside the events, None of them if there is no such stream."""
        for packet in self._packets[self._ids[kind]] if kind in self._ids else []:
            try:
                yield self._content(kind, packet)
            except FlatBufferError as error:
                raise DataError(
                    f"{self.path}, byte {packet.offset}: {kind} cannot be decoded ({error}); copy the file again"
                ) from None

    def imu(self) -> Imu | None:
        """See Container; g and degrees/s are converted to m/s^2 and rad/s, the axes are those of the camera's IMU."""
        try:
            rows = [
                [sample.scalar(0, "<q", 0), *(sample.scalar(field, "<f", 0.0) for field in range(2, 8))]
                for table in self._tables("IMUS")
                for sample in table.tables(0)
            ]
        except FlatBufferError as error:
            raise DataError(f"{self.path}: inertial samples cannot be decoded ({error}); copy the file again") from None
        if not rows:
            return None
        t_us = np.array([row[0] for row in rows], np.int64)
        values = np.array([row[1:] for row in rows], np.float64)
        return Imu(t_us, values[:, :3] * STANDARD_GRAVITY, values[:, 3:] * (math.pi / 180))

    def frames(self) -> Iterator[Frame]:
        """See Container; times are the middle of the exposure."""
        for table in self._tables("FRME"):
            try:
                yield _frame(table)
            except FlatBufferError as error:
                raise DataError(f"{self.path}: a frame cannot be decoded ({error}); copy the file again") from None


def _frame(table: Table) -> Frame:
    """A frame as a grey image; colours come in OpenCV's order."""
    channels = {0: 1, 16: 3, 24: 4}.get(int(table.scalar(5, "<b", 0)))
    width, height = int(table.scalar(6, "<h", 0)), int(table.scalar(7, "<h", 0))
    start, number = table.vector(10, 1)
    if channels is None or width <= 0 or height <= 0 or number != width * height * channels:
        raise FlatBufferError(f"{number} bytes for {width}x{height} pixels of format {table.scalar(5, '<b', 0)}")
    image = np.frombuffer(table.buffer, np.uint8, number, start).reshape(height, width, channels)
    grey = image[..., 0] if channels == 1 else np.rint(image[..., :3] @ GREY_WEIGHTS).astype(np.uint8)
    return Frame(int(table.scalar(0, "<q", 0)), grey)


def _streams(path: Path, text: bytes) -> list[tuple[str, int, SensorSize | None]]:
    """Kind, number and resolution of the streams, from the header's XML."""
    if b"<!" in text:
        raise DataError(f"{path}, header: its XML declares entities, which no recording does; give another file")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DataError(f"{path}, header: not valid XML ({error}); copy the file again") from None
    streams = []
    for node in root.iterfind("./node[@name='outInfo']/node"):
        name = node.get("name", "")
        attributes = {attr.get("key"): attr.text or "" for attr in node.iter("attr")}
        sides = attributes.get("sizeX", ""), attributes.get("sizeY", "")
        known = all(side.isdecimal() and 0 < len(side) < 6 and int(side) > 0 for side in sides)
        size = SensorSize(height=int(sides[1]), width=int(sides[0])) if known else None
        if name.isdecimal() and len(name) < 6:
            streams.append((attributes.get("typeIdentifier", ""), int(name), size))
    return streams
