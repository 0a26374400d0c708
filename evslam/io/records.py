"""Files of records of eight bytes with a 32-bit clock: what DAT and AEDAT 2 have in common."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from evslam.errors import DataError
from evslam.io.clock import unwrapped
from evslam.io.events import HOLDBACK_US, RawEvents, ReadCounts
from evslam.io.files import opened
from evslam.io.reader import FileReader, Place
from evslam.types import SensorSize

BLOCK_RECORDS = 1 << 17
CLOCK_BITS = 32
_log = logging.getLogger(__name__)


class RecordReader(FileReader):
    """Reads records from a byte offset on (an EventReader); a start is found by the times at the beginning of blocks.

    Args:
        path: the file.
        size: see EventReader.
        start: byte offset of the first record.
        dtype: of a record, with the fields "t" and "address".

    Raises:
        DataError: there is no event.
    """

    def __init__(self, path: Path, size: SensorSize | None, start: int, dtype: np.dtype) -> None:
        super().__init__(path, size)
        self._start, self._dtype = start, dtype
        with opened(self.path) as file:
            num_bytes = max(file.seek(0, 2) - start, 0)
        self._length, self._truncated_bytes = num_bytes // dtype.itemsize, num_bytes % dtype.itemsize
        if self._truncated_bytes:
            _log.warning("%s: the last %d bytes are no whole event and were left out", path, self._truncated_bytes)
        self._times = self._block_times()
        numbers = range(len(self._times))
        first = next((t for number in numbers if len(t := self._block(number).t)), None)
        last = next((t for number in reversed(numbers) if len(t := self._block(number).t)), None)
        if first is None or last is None:
            raise DataError(f"{self.path}: holds no events after its header of {start} bytes; record it again")
        self.t_first_us, self.t_last_us = int(first.min()), int(last.max())

    @abstractmethod
    def _pixels(self, address: np.ndarray) -> tuple[np.ndarray | slice, np.ndarray, np.ndarray, np.ndarray]:
        """Which of the addresses are pixel events, and column, row and polarity of all of them."""

    def _rows(self, first: int, number: int) -> np.ndarray:
        with opened(self.path) as file:
            file.seek(self._start + first * self._dtype.itemsize)
            content = file.read(min(number, self._length - first) * self._dtype.itemsize)
        return np.frombuffer(content, self._dtype)

    def _block_times(self) -> np.ndarray:
        """Time of the first record of every block, with the overflows of the clock counted."""
        first = [self._rows(start, 1)["t"] for start in range(0, self._length, BLOCK_RECORDS)]
        return unwrapped(np.concatenate([np.empty(0, self._dtype["t"]), *first]), CLOCK_BITS)

    def _block(self, number: int) -> RawEvents:
        first = number * BLOCK_RECORDS
        rows = self._rows(first, BLOCK_RECORDS)
        keep, x, y, p = self._pixels(rows["address"])
        t = unwrapped(rows["t"], CLOCK_BITS, int(self._times[number]))
        return RawEvents(t[keep], x[keep], y[keep], p[keep], Place(self.path, first))

    def _blocks(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        counts.truncated_bytes = self._truncated_bytes
        first = 0 if start_us is None else int(np.searchsorted(self._times, start_us - HOLDBACK_US)) - 1
        for number in range(max(first, 0), len(self._times)):
            yield self._block(number)
