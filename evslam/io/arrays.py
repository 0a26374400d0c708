"""Events in numpy files: .npz with one array a column, structured .npy, and .npz with one structured array.

Source: numpy.lib.format, "The .npy format". Verified against files that numpy writes.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from evslam.errors import DataError
from evslam.io.events import HOLDBACK_US, RawEvents, ReadCounts
from evslam.io.files import opened
from evslam.io.inflated import ZipMember
from evslam.io.reader import FileReader, Place
from evslam.io.text_layout import COLUMN_NAMES
from evslam.types import SensorSize

NPY_SIGNATURE, ZIP_SIGNATURE = b"\x93NUMPY", b"PK\x03\x04"
BLOCK_EVENTS = 1 << 17
MAX_ITEM_BYTES = 1 << 10
SECOND_US = 1_000_000
BROKEN = (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, EOFError, ValueError)


def is_arrays(path: Path) -> bool:
    """Whether the file is .npy, or a zip file of .npy files."""
    with opened(path) as file:
        head = file.read(6)
    if not head.startswith(ZIP_SIGNATURE):
        return head == NPY_SIGNATURE
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except BROKEN:
        return path.suffix == ".npz"
    return bool(names) and all(name.endswith(".npy") for name in names)


@dataclass(frozen=True)
class _Array:
    """An array in a file that can be read from anywhere."""

    path: Path
    name: str
    file: BinaryIO
    dtype: np.dtype
    length: int
    start: int

    @staticmethod
    def of(path: Path, name: str, file: BinaryIO) -> _Array:
        """Reads the header.

        Raises:
            DataError: it is no array of one dimension with numbers.
        """
        try:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        except (
            *BROKEN,
            SyntaxError,
            TypeError,
            OverflowError,
            RecursionError,
            MemoryError,
            tokenize.TokenError,
        ) as error:
            raise DataError(f"{path}: array {name} has no readable header ({error!s:.100}); save it again") from None
        if len(shape) != 1 or shape[0] < 0 or dtype.hasobject or not 0 < dtype.itemsize <= MAX_ITEM_BYTES:
            raise DataError(
                f"{path}: array {name} has shape {shape} and type {dtype}; one dimension of numbers is read"
            )
        return _Array(path, name, file, dtype, int(shape[0]), file.tell())

    def read(self, start: int, stop: int) -> np.ndarray:
        """Items start to stop, fewer where the file ends before."""
        self.file.seek(self.start + start * self.dtype.itemsize)
        content = self.file.read(max(min(stop, self.length) - start, 0) * self.dtype.itemsize)
        return np.frombuffer(content[: len(content) // self.dtype.itemsize * self.dtype.itemsize], self.dtype)


class ArraysReader(FileReader):
    """Reads .npz and structured .npy (an EventReader) in pieces; a start is found by bisection of the times.

    Columns go by the names t, x, y, p and their usual variants. Whole-numbered times are microseconds, others seconds.

    Raises:
        DataError: the file cannot be read or lacks a column.
    """

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        super().__init__(path, size)
        arrays = self._arrays()
        self._columns = self._find(arrays)
        used = {array.name: array for array, _ in self._columns.values()}
        lengths = {name: array.length for name, array in used.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"{path}: the arrays differ in length ({lengths}); save them again")
        stated = next(iter(lengths.values()))
        self._length = min(self._available(array) for array in used.values())
        self._lost_bytes = sum((stated - self._length) * array.dtype.itemsize for array in used.values())
        if self._length == 0:
            raise DataError(f"{path}: holds no whole event; give another recording")
        self.num_events = self._length
        self.t_first_us = int(self._read("t", 0, 1 << 12).min())
        self.t_last_us = int(self._read("t", max(self._length - (1 << 12), 0), self._length).max())

    def _arrays(self) -> dict[str, _Array]:
        with opened(self.path) as file:
            is_plain = file.read(6) == NPY_SIGNATURE
        if is_plain:
            return {"": _Array.of(self.path, "", opened(self.path))}
        try:
            with zipfile.ZipFile(self.path) as archive:
                members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        except BROKEN as error:
            raise DataError(f"{self.path}: not a readable .npz file ({error}); save or copy it again") from None
        arrays = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            try:
                arrays[name] = _Array.of(self.path, name, ZipMember(self.path, member).open())
            except DataError:
                if name.lower() in ("events", *(other for names in COLUMN_NAMES.values() for other in names)):
                    raise
        return arrays

    def _find(self, arrays: dict[str, _Array]) -> dict[str, tuple[_Array, str | None]]:
        """For each column its array, and the field where that is structured."""
        fields: dict[str, tuple[_Array, str | None]] = {}
        for array in arrays.values():
            for field in array.dtype.names or ():
                if array.dtype[field].kind in "iufb" and not array.dtype[field].subdtype:
                    fields.setdefault(field.lower(), (array, field))
            if array.dtype.names is None and array.dtype.kind in "iufb":
                fields[array.name.lower()] = (array, None)
        found = {role: next((fields[name] for name in names if name in fields), None)
                 for role, names in COLUMN_NAMES.items()}  # fmt: skip
        missing = [role for role, column in found.items() if column is None]
        if missing:
            there = ", ".join(sorted(fields)) or "none"
            raise DataError(
                f"{self.path}: no column for {', '.join(missing)} (known names: "
                f"{'; '.join(', '.join(names) for names in COLUMN_NAMES.values())}), there are: {there}; rename them"
            )
        return {role: column for role, column in found.items() if column is not None}

    def _available(self, array: _Array) -> int:
        """Number of items that are there in the file."""
        stop = array.start + array.length * array.dtype.itemsize
        return max(min(stop, array.file.seek(0, 2)) - array.start, 0) // array.dtype.itemsize

    def _read(self, role: str, start: int, stop: int) -> np.ndarray:
        array, field = self._columns[role]
        rows = array.read(start, min(stop, self._length))
        if len(rows) < min(stop, self._length) - start:
            raise DataError(
                f"{self.path}: array {array.name} ends at item {start + len(rows)} of {self._length}; copy it again"
            )
        column = rows if field is None else rows[field]
        if role == "t" and column.dtype.kind == "f":
            wrong = ~(np.abs(column.astype(np.float64)) < 1e12)
            if wrong.any():
                index = int(np.argmax(wrong))
                raise DataError(
                    f"{self.path}, event {start + index}: time {column[index]} is not in seconds; correct it"
                )
            return np.rint(column.astype(np.float64) * SECOND_US).astype(np.int64)
        if column.dtype.kind == "f":
            return np.where(np.abs(column) < 1 << 15, column, -(1 << 15)).astype(np.int32)
        return column.astype(np.int64) if role == "t" else column

    def _blocks(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        counts.truncated_bytes = self._lost_bytes
        first = 0 if start_us is None else self._index_before(start_us)
        for start in range(first, self._length, BLOCK_EVENTS):
            t, x, y, p = (self._read(role, start, start + BLOCK_EVENTS) for role in "txyp")
            yield RawEvents(t, x, y, p, Place(self.path, start))

    def _index_before(self, start_us: int) -> int:
        """Index of an event before which every event is older than start_us; in steps of a block."""
        first, stop = 0, math.ceil(self._length / BLOCK_EVENTS)
        while stop - first > 1:
            middle = (first + stop) // 2
            older = self._read("t", middle * BLOCK_EVENTS, middle * BLOCK_EVENTS + 1)[0] < start_us - HOLDBACK_US
            first, stop = (middle, stop) if older else (first, middle)
        return first * BLOCK_EVENTS
