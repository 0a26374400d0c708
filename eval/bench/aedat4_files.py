"""AEDAT 4 files written from the specification, their FlatBuffers by hand."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import lz4.frame
import numpy as np

from evslam.io.aedat4 import EVENT, LZ4, LZ4_HIGH, SIGNATURE, UNCOMPRESSED
from evslam.io.reader import Frame
from evslam.types import Events, Imu

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

EVENTS_IN_PACKET = 100
STREAMS = ("EVTS", "IMUS", "FRME")
_INFO = "<attr key='sizeX' type='int'>640</attr><attr key='sizeY' type='int'>480</attr>"


def write_aedat4(
    path: Path, events: Events, compression: int = LZ4, imu: Imu | None = None, frames: tuple[Frame, ...] = ()
) -> None:
    """Writes events in packets of 100, then inertial samples, then frames; no table of contents."""
    with Path(path).open("wb") as file:
        file.write(SIGNATURE + _header(compression))
        for start in range(0, len(events), EVENTS_IN_PACKET):
            file.write(_packet(0, _event_packet(events[start : start + EVENTS_IN_PACKET]), compression))
        if imu is not None:
            file.write(_packet(1, _imu_packet(imu), compression))
        for frame in frames:
            file.write(_packet(2, _frame_packet(frame), compression))


def _table(fields: dict[int, bytes], start: int) -> tuple[bytes, int, dict[int, int]]:
    """A table that begins at byte `start` of its buffer: its bytes, its position, and where its fields are."""
    num_fields = max(fields) + 1
    layout_bytes = -(-(4 + 2 * num_fields) // 4) * 4
    position, body, offsets = start + layout_bytes, b"", {}
    for field, value in sorted(fields.items(), key=lambda item: -len(item[1])):
        offsets[field] = 4 + len(body)
        body += value
    layout = struct.pack("<HH", 4 + 2 * num_fields, 4 + len(body))
    layout += b"".join(struct.pack("<H", offsets.get(field, 0)) for field in range(num_fields))
    table = layout.ljust(layout_bytes, b"\0") + struct.pack("<i", layout_bytes) + body
    return table, position, {field: position + offset for field, offset in offsets.items()}


def _buffer(identifier: bytes, fields: dict[int, bytes], vector_field: int, number: int, items: bytes) -> bytes:
    """A size-prefixed buffer with one table, whose last part is a vector."""
    table, position, places = _table(fields | {vector_field: bytes(4)}, 12)
    content = bytearray(struct.pack("<II", 0, position - 4) + identifier + table)
    content += bytes(-(len(content) + 4) % 8)
    struct.pack_into("<I", content, places[vector_field], len(content) - places[vector_field])
    content += struct.pack("<I", number) + items
    struct.pack_into("<I", content, 0, len(content) - 4)
    return bytes(content)


def _header(compression: int) -> bytes:
    streams = "".join(
        f"<node name='{number}'><attr key='typeIdentifier' type='string'>{kind}</attr><node name='info'>{_INFO}</node>"
        f"</node>"
        for number, kind in enumerate(STREAMS)
    )
    text = f"<dv version='2.0'><node name='outInfo'>{streams}</node></dv>".encode()
    fields = {0: struct.pack("<i", compression), 1: struct.pack("<q", -1)}
    return _buffer(b"IOHE", fields, 2, len(text), text + b"\0")


def _event_packet(events: Events) -> bytes:
    rows = np.zeros(len(events), EVENT)
    for name in "txyp":
        rows[name] = getattr(events, name)
    return _buffer(b"EVTS", {}, 0, len(rows), rows.tobytes())


def _imu_packet(imu: Imu) -> bytes:
    """Inertial samples: tables that follow the vector of their offsets."""
    samples = np.hstack([imu.acceleration / 9.80665, np.degrees(imu.gyro)]).astype("<f4")
    tables, offsets = b"", b""
    for index, (t_us, values) in enumerate(zip(imu.t_us.tolist(), samples, strict=True)):
        fields = {0: struct.pack("<q", t_us)} | {2 + k: value.tobytes() for k, value in enumerate(values)}
        table, position, _ = _table(fields, len(tables))
        offsets += struct.pack("<I", 4 * (len(samples) - index) + position)
        tables += table
    return _buffer(b"IMUS", {}, 0, len(samples), offsets + tables)


def _frame_packet(frame: Frame) -> bytes:
    height, width = frame.image.shape
    fields = {0: struct.pack("<q", frame.t_us), 5: b"\0", 6: struct.pack("<h", width), 7: struct.pack("<h", height)}
    return _buffer(b"FRME", fields, 10, frame.image.size, frame.image.tobytes())


def _packet(stream: int, content: bytes, compression: int) -> bytes:
    if compression in (LZ4, LZ4_HIGH):
        content = lz4.frame.compress(content)
    elif compression != UNCOMPRESSED:
        content = zstd.compress(content)
    return struct.pack("<ii", stream, len(content)) + content
