"""AEDAT 2, which jAER writes: an ASCII header, then pairs of a 32-bit address and a 32-bit time in microseconds.

Source: "AEDAT 2.0" (docs.inivation.com, file formats): big-endian; (0, 0) is the lower left corner, so rows are turned
over here. Only pixel events are read, not the samples of frames and inertial sensors among them. Verified against files
that the tests write from that page; no recording was at hand.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from evslam.errors import DataError
from evslam.io.files import opened
from evslam.io.records import RecordReader
from evslam.types import SensorSize

SIGNATURE = b"#!AER-DAT2.0"
MAX_HEADER_BYTES = 1 << 22  # jAER writes all its preferences into it
RECORD = np.dtype([("address", ">u4"), ("t", ">u4")])
WIDTH_HEIGHT = {"128": (128, 128), "208": (208, 192), "240": (240, 180), "346": (346, 260), "640": (640, 480)}
END = re.compile(rb"#\s*End Of ASCII Header", re.IGNORECASE)


def is_aedat2(path: Path) -> bool:
    """Whether the file begins as AEDAT 2 does."""
    with opened(path) as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


class Aedat2Reader(RecordReader):
    """Reads AEDAT 2 of a DVS128 or a DAVIS (an EventReader).

    Raises:
        DataError: the header names no known chip, or there is no event.
    """

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        lines, offset = _header(path)
        chip = " ".join(line for line in lines if "aechip" in line.lower() or "hardwareinterface" in line.lower())
        davis = re.search(r"dav[a-z]*[ _]?(128|208|240|346|640)", chip, re.IGNORECASE)
        dvs = re.search(r"(dvs|tmpdiff)[ _]?128", chip, re.IGNORECASE)
        if davis is None and dvs is None:
            raise DataError(
                f'{path}, header: names no known chip ({chip.strip("# ") or "none"}); add a line "# AEChip: Davis346", '
                f"or Davis240, Davis640, DVS128"
            )
        width, height = WIDTH_HEIGHT[davis[1] if davis else "128"]
        self._is_davis, self._height = davis is not None, height
        super().__init__(path, size, offset, RECORD)
        self.sensor_size = SensorSize(height=height, width=width)

    def _pixels(self, address: np.ndarray) -> tuple[np.ndarray | slice, np.ndarray, np.ndarray, np.ndarray]:
        address = address.astype(np.uint32)
        if self._is_davis:  # bit 31: sample of a frame or inertial sensor; 10: external event
            keep = address & 0x80000400 == 0
            x, row, p = address >> 12 & 0x3FF, address >> 22 & 0x1FF, address >> 11 & 1
        else:  # bit 15: external event
            keep = address & 0x8000 == 0
            x, row, p = address >> 1 & 0x7F, address >> 8 & 0x7F, address & 1
        return keep, x.astype(np.int32), self._height - 1 - row.astype(np.int32), p.astype(bool)


def _header(path: Path) -> tuple[list[str], int]:
    """The header's lines and the offset of what follows: lines of printable text that begin with #."""
    with opened(path) as file:
        content = file.read(MAX_HEADER_BYTES)
    lines, offset = [], 0
    while content.startswith(b"#", offset):
        stop = content.find(b"\n", offset) + 1 or len(content)  # without an end the header itself is cut off
        line = content[offset:stop]
        if any(byte < 32 and byte not in b"\t\r\n" for byte in line):
            break
        lines.append(line.decode("latin-1").strip())
        offset = stop
        if END.match(line):
            break
    return lines, offset
