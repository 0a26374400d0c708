"""Prophesee DAT files: an ASCII header, two bytes with type and size of an event, then events of eight bytes.

Source: Metavision documentation, "DAT File Format" (docs.prophesee.ai). Verified against a recording of N-Cars, decoded
by another implementation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evslam.errors import DataError
from evslam.io.files import opened
from evslam.io.prophesee import read_header, stated_size
from evslam.io.records import RecordReader
from evslam.types import SensorSize

EVENT_TYPES = (0x00, 0x0C)  # Event2d and EventCD
EVENT = np.dtype([("t", "<u4"), ("address", "<u4")])


def is_dat(path: Path) -> bool:
    """Whether the file begins with the header of a Prophesee DAT file."""
    entries, offset = read_header(path)
    with opened(path) as file:
        file.seek(offset)
        kind = file.read(2)
    return bool(entries) and len(kind) == 2 and kind[1] == EVENT.itemsize


class DatReader(RecordReader):
    """Reads Prophesee DAT (an EventReader).

    Raises:
        DataError: the file holds another kind of events, or none.
    """

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        entries, offset = read_header(path)
        with opened(path) as file:
            file.seek(offset)
            kind = file.read(1)
        if not kind or kind[0] not in EVENT_TYPES:
            raise DataError(f"{path}, byte {offset}: events of type {kind!r} are no pixel events; give another file")
        super().__init__(path, size, offset + 2, EVENT)
        self.num_events = self._length
        self.sensor_size = stated_size(self.path, f"{entries.get('Width', '')}x{entries.get('Height', '')}")

    def _pixels(self, address: np.ndarray) -> tuple[np.ndarray | slice, np.ndarray, np.ndarray, np.ndarray]:
        x, y = (address & 0x3FFF).astype(np.uint16), (address >> 14 & 0x3FFF).astype(np.uint16)
        return slice(None), x, y, (address >> 28 & 1).astype(bool)
