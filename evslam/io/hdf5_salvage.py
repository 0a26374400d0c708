"""HDF5 files that are cut off: the library opens them when the missing end is replaced by zeros.

Source: HDF5 File Format Specification, "Disk Format: Level 0A - Format Signature and Superblock".
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py

from evslam.io.files import opened

SUPERBLOCK_BYTES = 48
MAX_CHUNKS = 1 << 22
MAX_PADDING = 1 << 24  # bytes beyond the end in one read: more is asked for only where a length is damaged


def stated_bytes(path: Path) -> int:
    """The length of the file that its superblock states, 0 where it is not understood."""
    with opened(path) as file:
        block = file.read(SUPERBLOCK_BYTES)
    if len(block) < SUPERBLOCK_BYTES:
        return 0
    version, width = block[8], block[9 if block[8] >= 2 else 13]
    first = {0: 24, 1: 28, 2: 12, 3: 12}.get(version)
    if first is None or width != 8:
        return 0
    return int.from_bytes(block[first + 16 : first + 24], "little")


class PaddedFile(io.RawIOBase):
    """A file followed by zeros up to a length; for reading."""

    def __init__(self, path: Path, num_bytes: int) -> None:
        self._file = opened(path)
        self._there = self._file.seek(0, 2)
        self._num_bytes = num_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._num_bytes}[whence]
        self._position = max(base + offset, 0)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        number = max(min(len(view), self._num_bytes - self._position), 0)
        if min(self._position + number - self._there, number) > MAX_PADDING:
            raise OSError(f"{number} bytes are asked for at byte {self._position} of {self._there}")
        self._file.seek(self._position)
        content = self._file.read(number)
        view[: len(content)] = content
        view[len(content) : number] = bytes(number - len(content))
        self._position += number
        return number

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def num_whole(dataset: h5py.Dataset, num_bytes: int) -> int:
    """How many items from the first on lie within the first bytes of the file.

    Args:
        dataset: along its first axis.
        num_bytes: that are there.
    """
    if len(dataset) == 0:
        return 0
    item_bytes = int(dataset.dtype.itemsize * (dataset.size // len(dataset)))
    if dataset.chunks is None:
        offset = dataset.id.get_offset()
        return 0 if offset is None else min(max(num_bytes - offset, 0) // item_bytes, len(dataset))
    step = dataset.chunks[0]
    if -(-len(dataset) // step) > MAX_CHUNKS or dataset.chunks[1:] != dataset.shape[1:]:
        return 0
    for start in range(0, len(dataset), step):
        try:
            chunk = dataset.id.get_chunk_info_by_coord((start, *[0] * (dataset.ndim - 1)))
        except (OSError, RuntimeError, ValueError):
            return start
        # A lost index is read as zeros: a chunk at the place of the superblock.
        if not chunk.byte_offset or not chunk.size or chunk.byte_offset + chunk.size > num_bytes:
            return start
    return len(dataset)


def is_whole(dataset: h5py.Dataset, num_bytes: int) -> bool:
    """Whether all of a dataset lies within the first bytes of the file."""
    if dataset.chunks is not None:
        return num_whole(dataset, num_bytes) == len(dataset)
    offset = dataset.id.get_offset()
    return offset is None or offset + dataset.id.get_storage_size() <= num_bytes
