"""Prophesee DAT files: an ASCII header, two bytes with type and size of an event, then events of eight bytes.

Source: Metavision documentation, "DAT File Format" (docs.prophesee.ai). Verified against a recording of N-Cars, decoded
by another implementation.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evslam.errors import DataError
from evslam.io.clock import unwrapped
from evslam.io.events import HOLDBACK_US, RawEvents, ReadCounts
from evslam.io.files import opened
from evslam.io.prophesee import read_header, stated_size
from evslam.io.reader import FileReader, Place
from evslam.types import SensorSize

EVENT_TYPES = (0x00, 0x0C)  # Event2d and EventCD
EVENT = np.dtype([("t", "<u4"), ("address", "<u4")])
BLOCK_EVENTS = 1 << 17
_log = logging.getLogger(__name__)


def is_dat(path: Path) -> bool:
    """Whether the file begins with the header of a Prophesee DAT file."""
    entries, offset = read_header(path)
    with opened(path) as file:
        file.seek(offset)
        kind = file.read(2)
    return bool(entries) and len(kind) == 2 and kind[1] == EVENT.itemsize


class DatReader(FileReader):
    """Reads Prophesee DAT (an EventReader); a start is found by the times at the beginning of blocks.

    Raises:
        DataError: the file holds another kind of events, or none.
    """

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        super().__init__(path, size)
        entries, offset = read_header(self.path)
        self.sensor_size = stated_size(self.path, f"{entries.get('Width', '')}x{entries.get('Height', '')}")
        with opened(self.path) as file:
            file.seek(offset)
            kind = file.read(1)[0]
            num_bytes = file.seek(0, 2) - offset - 2
        if kind not in EVENT_TYPES:
            raise DataError(f"{self.path}, byte {offset}: events of type {kind} are no pixel events; give another file")
        self._start, self._length = offset + 2, num_bytes // EVENT.itemsize
        if self._length == 0:
            raise DataError(f"{self.path}: holds no events after its header of {offset} bytes; record it again")
        self.num_events, self._truncated_bytes = self._length, num_bytes % EVENT.itemsize
        if self._truncated_bytes:
            _log.warning("%s: the last %d bytes are no whole event and were left out", path, self._truncated_bytes)
        self._times = self._block_times()
        self.t_first_us = int(self._block(0).t.min())
        self.t_last_us = int(self._block(len(self._times) - 1).t.max())

    def _rows(self, first: int, number: int) -> np.ndarray:
        with opened(self.path) as file:
            file.seek(self._start + first * EVENT.itemsize)
            content = file.read(min(number, self._length - first) * EVENT.itemsize)
        return np.frombuffer(content, EVENT)

    def _block_times(self) -> np.ndarray:
        """Time of the first event of every block, with the overflows of the 32-bit clock counted."""
        first = [self._rows(start, 1)["t"] for start in range(0, self._length, BLOCK_EVENTS)]
        return unwrapped(np.concatenate(first), 32)

    def _block(self, number: int) -> RawEvents:
        first = number * BLOCK_EVENTS
        rows = self._rows(first, BLOCK_EVENTS)
        address = rows["address"]
        return RawEvents(
            unwrapped(rows["t"], 32, int(self._times[number])), (address & 0x3FFF).astype(np.uint16),
            (address >> 14 & 0x3FFF).astype(np.uint16), (address >> 28 & 1).astype(bool), Place(self.path, first),
        )  # fmt: skip

    def _blocks(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        counts.truncated_bytes = self._truncated_bytes
        first = 0 if start_us is None else int(np.searchsorted(self._times, start_us - HOLDBACK_US)) - 1
        for number in range(max(first, 0), len(self._times)):
            yield self._block(number)
