"""HDF5: evslam's own layout (t int64 microseconds, x, y uint16, p uint8 at the root), and those of public datasets."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  registers the compression filters that writers use
import numpy as np

from evslam.errors import DataError
from evslam.io.calibration import Intrinsics
from evslam.io.events import HOLDBACK_US, MAX_T_US, RawEvents, ReadCounts
from evslam.io.files import opened
from evslam.io.hdf5_layouts import (
    Columns,
    Layout,
    Samples,
    find_layout,
    reason,
    series,
    stated_calibration,
    stated_size,
)
from evslam.io.hdf5_salvage import PaddedFile, is_whole, num_whole, stated_bytes
from evslam.io.poses import from_matrices
from evslam.io.reader import FileReader, Frame, Place
from evslam.types import Imu, SensorSize, Trajectory

SIGNATURE = b"\x89HDF\r\n\x1a\n"
BLOCK_EVENTS = 1 << 17
PROBE_EVENTS = 1 << 12  # read at the head and at the tail to learn the time span
CACHE_BYTES = 1 << 25  # of decompressed chunks, for each dataset
MAX_EVENTS_PER_US = 1000
_log = logging.getLogger(__name__)


def is_hdf5(path: Path) -> bool:
    """Whether the file begins as HDF5 does."""
    with opened(path) as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


def has_layout(layout: Layout, path: Path) -> bool:
    """Whether the file is readable HDF5 with its events where the layout has them."""
    if not is_hdf5(path):
        return False
    try:
        with _opened_hdf5(path)[0] as file:
            return find_layout(path, file) == layout
    except (OSError, RuntimeError, ValueError, DataError):
        return False


def _opened_hdf5(path: Path) -> tuple[h5py.File, int]:
    """The open file, and the number of bytes missing at its end, for which zeros are read."""
    with opened(path) as raw:  # says it well if the file is missing
        there = raw.seek(0, 2)
    stated = stated_bytes(path)
    is_cut = there < stated
    source = PaddedFile(path, stated) if is_cut else path
    return h5py.File(source, "r", rdcc_nbytes=CACHE_BYTES), max(stated - there, 0)


class Hdf5Reader(FileReader):
    """Reads HDF5 (an EventReader); a start is found by bisection of the times.

    Raises:
        DataError: the file is no readable HDF5, has no known layout, holds no events, or its times are no microseconds.
    """

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        super().__init__(path, size)
        with self._columns() as columns:
            self._layout = columns.layout
            self._length = columns.length
            if self._missing_bytes:
                self._length = self._whole_length(columns)
            self.num_events = self._length
            self.sensor_size = stated_size(self.path, columns.file, self._layout)
            (head,) = columns.read("t", 0, min(PROBE_EVENTS, self._length))
            (tail,) = columns.read("t", max(self._length - PROBE_EVENTS, 0), self._length)
        self.t_first_us, self.t_last_us = int(head.min()), int(tail.max())
        self._check_unit()

    @contextmanager
    def _columns(self) -> Iterator[Columns]:
        with self._file() as file:
            try:
                columns = Columns.of(self.path, file)
            except DataError as error:
                if self._missing_bytes and "cut off" not in str(error):
                    raise DataError(
                        f"{self.path}: cut off, the last {self._missing_bytes} bytes are missing, with them what tells "
                        f"where the events are; copy it again"
                    ) from None
                raise
            except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:  # h5py on damaged metadata
                raise DataError(f"{self.path}: damaged ({reason(error)}); copy or convert it again") from None
            try:
                yield columns
            except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:  # h5py on damaged metadata
                raise DataError(f"{self.path}: damaged ({reason(error)}); copy or convert it again") from None

    @contextmanager
    def _file(self) -> Iterator[h5py.File]:
        """The open file; one that is cut off is opened with zeros in place of its end."""
        try:
            file, self._missing_bytes = _opened_hdf5(self.path)
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(
                f"{self.path}: not a readable HDF5 file, perhaps cut off ({reason(error)}); copy or convert it again"
            ) from None
        with file:
            yield file

    def _whole_length(self, columns: Columns) -> int:
        """The number of events that are there in a file that is cut off."""
        there = self.path.stat().st_size
        whole = min(num_whole(dataset, there) for dataset in columns.sets.values())
        if whole == 0:
            raise DataError(
                f"{self.path}: not a readable HDF5 file, cut off after {there} of {there + self._missing_bytes} bytes, "
                f"before the first whole event; copy it again"
            )
        _log.warning("%s: cut off; %d of %d events are whole and read", self.path, whole, columns.length)
        return whole

    def _blocks(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        counts.truncated_bytes = self._missing_bytes
        first = 0 if start_us is None else self._index_before(start_us)
        with self._columns() as columns:
            for start in range(first - first % BLOCK_EVENTS, self._length, BLOCK_EVENTS):
                t, x, y, p = columns.read("txyp", start, min(start + BLOCK_EVENTS, self._length))
                yield RawEvents(t, x, y, p, Place(self.path, start))

    def _index_before(self, start_us: int) -> int:
        """Index of an event before which every event is older than start_us."""
        first, stop = 0, self._length
        with self._columns() as columns:
            while stop - first > 1:
                middle = (first + stop) // 2
                older = columns.read("t", middle, middle + 1)[0][0] < start_us - HOLDBACK_US
                first, stop = (middle, stop) if older else (first, middle)
        return first

    def _check_unit(self) -> None:
        span_us = self.t_last_us - self.t_first_us
        if self._length > MAX_EVENTS_PER_US * (span_us + 1):
            raise DataError(
                f"{self.path}: {self._length} events within {span_us + 1} us, so t holds seconds or milliseconds "
                f"where microseconds are expected; multiply t by 1e6 or 1e3 and store it as int64"
            )
        if self.t_last_us > MAX_T_US:
            raise DataError(
                f"{self.path}: t reaches {self.t_last_us}, so it holds nanoseconds where microseconds are expected; "
                f"divide t by 1000"
            )

    def _samples(self, samples: Samples | None) -> tuple[np.ndarray, list[np.ndarray]] | None:
        """Strictly increasing times and the values at them, None if they are not in the file."""
        with self._columns() as columns:
            if samples is None or samples.t not in columns.file:
                return None
            t = series(self.path, columns.file, samples.t) * float(samples.unit_us)
            values = [series(self.path, columns.file, name) for name in samples.values]
        if t.ndim != 1 or not np.isfinite(t).all() or any(len(value) != len(t) for value in values if value.ndim):
            raise DataError(f"{self.path}: {samples.t} does not fit {', '.join(samples.values)}; download it again")
        t_us, first = np.unique(np.rint(t).astype(np.int64), return_index=True)
        return t_us, [value[first] for value in values]

    def intrinsics(self) -> Intrinsics | None:
        """See Container."""
        with self._columns() as columns:
            return stated_calibration(self.path, columns.file, self._layout)

    def imu(self) -> Imu | None:
        """See Container."""
        found = self._samples(self._layout.imu)
        if found is None:
            return None
        t_us, values = found
        table = np.hstack(values).astype(np.float64)
        if table.shape != (len(t_us), 6) or not np.isfinite(table).all():
            raise DataError(f"{self.path}: inertial samples of shape {table.shape} are no six finite numbers each")
        return Imu(t_us, table[:, :3], table[:, 3:])

    def groundtruth(self) -> Trajectory | None:
        """See Container."""
        found = self._samples(self._layout.poses)
        return None if found is None else from_matrices(self.path, found[0], found[1][0])

    def frames(self) -> Iterator[Frame]:
        """See Container."""
        samples = self._layout.frames
        with self._columns() as columns:
            if samples is None or not all(name in columns.file for name in (samples.t, *samples.values)):
                return
            t = series(self.path, columns.file, samples.t) * float(samples.unit_us)
            images = columns.file[samples.values[0]]
            if not is_whole(images, self.path.stat().st_size):
                raise DataError(f"{self.path}: cut off within the dataset {images.name}; copy it again")
            for t_us, index in zip(np.rint(t).astype(np.int64).tolist(), range(len(images)), strict=False):
                yield Frame(t_us, np.asarray(images[index], np.uint8))
