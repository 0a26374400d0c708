"""evslam HDF5: datasets t (int64 microseconds), x, y (uint16) and p (uint8) at the root of the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import h5py
import hdf5plugin  # noqa: F401  registers the compression filters that other writers use
import numpy as np

from evslam.errors import DataError
from evslam.io.events import HOLDBACK_US, MAX_T_US, RawEvents, ReadCounts
from evslam.io.files import opened
from evslam.io.reader import FileReader, Place
from evslam.types import Events, SensorSize

SIGNATURE = b"\x89HDF\r\n\x1a\n"
COLUMNS = {"t": np.int64, "x": np.uint16, "y": np.uint16, "p": np.uint8}
BLOCK_EVENTS = 1 << 17
PROBE_EVENTS = 1 << 12  # read at the head and at the tail to learn the time span
MAX_EVENTS_PER_US = 1000


def is_hdf5(path: Path) -> bool:
    """Whether the file begins as HDF5 does."""
    with opened(path) as file:
        return file.read(len(SIGNATURE)) == SIGNATURE


class Hdf5Reader(FileReader):
    """Reads evslam HDF5 (an EventReader).

    Args:
        path: the HDF5 file.
        size: the sensor's resolution; None accepts every pixel.

    Raises:
        DataError: the file is no readable HDF5, lacks a dataset, holds no events, or its times are no microseconds.
    """

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        super().__init__(path, size)
        with self._file() as file:
            self.num_events = _checked_length(self.path, file)
            self._length = self.num_events
            self.t_first_us = int(self._column(file, "t", 0, PROBE_EVENTS).min())
            self.t_last_us = int(self._column(file, "t", max(self._length - PROBE_EVENTS, 0), self._length).max())
        self._check_unit()

    def _file(self) -> h5py.File:
        with opened(self.path):  # says it well if the file is missing
            pass
        try:
            return h5py.File(self.path, "r")
        except OSError as error:
            raise DataError(
                f"{self.path}: not a readable HDF5 file, perhaps cut off ({_reason(error)}); copy or convert it again"
            ) from None

    def _column(self, file: h5py.File, name: str, start: int, stop: int) -> np.ndarray:
        try:
            return file[name][start:stop]
        except OSError as error:
            raise DataError(
                f"{self.path}: dataset {name} cannot be read at events {start} to {stop} ({_reason(error)}); "
                f"copy or convert it again"
            ) from None

    def _blocks(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        first = 0 if start_us is None else self._index_before(start_us)
        with self._file() as file:
            for start in range(first - first % BLOCK_EVENTS, self._length, BLOCK_EVENTS):
                t, x, y, p = (self._column(file, name, start, start + BLOCK_EVENTS) for name in COLUMNS)
                yield RawEvents(t.astype(np.int64), x, y, p, Place(self.path, start))

    def _index_before(self, start_us: int) -> int:
        """Index of an event before which every event is older than start_us."""
        first, stop = 0, self._length
        with self._file() as file:
            while stop - first > 1:
                middle = (first + stop) // 2
                older = self._column(file, "t", middle, middle + 1)[0] < start_us - HOLDBACK_US
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


class Hdf5Writer:
    """Writes evslam HDF5; the file gets its name when it is complete.

    Args:
        path: file to write; must not exist.

    Raises:
        DataError: the file exists or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.num_events = 0
        self._last_us = 0
        self._waiting: list[Events] = []  # written in whole blocks: smaller pieces would be compressed again and again
        self._num_stored = 0
        self._part = self.path.with_name(self.path.name + ".part")
        if self.path.exists():
            raise DataError(f"{self.path}: exists already; choose another place or remove it")
        try:
            self._file = h5py.File(self._part, "w")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({_reason(error)}); choose another place") from None
        for name, dtype in COLUMNS.items():
            self._file.create_dataset(
                name, (0,), dtype, maxshape=(None,), chunks=(BLOCK_EVENTS,), compression="lzf", shuffle=True
            )

    def append(self, events: Events) -> None:
        """Adds events that are not older than those before.

        Raises:
            DataError: the times go backwards.
        """
        if len(events) == 0:
            return
        if events.t[0] < self._last_us or (events.t[1:] < events.t[:-1]).any():
            raise DataError(f"{self.path}: events to be written go back in time near {events.t[0]} us; sort them first")
        self._waiting.append(events)
        self.num_events, self._last_us = self.num_events + len(events), int(events.t[-1])
        if self.num_events - self._num_stored >= BLOCK_EVENTS:
            self._store(self.num_events - self.num_events % BLOCK_EVENTS)

    def close(self) -> None:
        """Completes the file."""
        if self._file:
            self._store(self.num_events)
            self._file.close()
            os.replace(self._part, self.path)

    def _store(self, stop: int) -> None:
        """Writes the waiting events up to index `stop`."""
        waiting = Events.concatenate(self._waiting)
        number = stop - self._num_stored
        try:
            for name in COLUMNS:
                dataset = self._file[name]
                dataset.resize((stop,))
                dataset[self._num_stored :] = getattr(waiting, name)[:number]
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({_reason(error)}); make room on the disk") from None
        self._waiting, self._num_stored = [waiting[number:]], stop

    def __enter__(self) -> Hdf5Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()
            self._part.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).splitlines()[0]


def _checked_length(path: Path, file: h5py.File) -> int:
    """The number of events, after a check that the datasets are there, of equal length and of whole numbers."""
    datasets: list[str] = []
    file.visititems(lambda name, item: datasets.append(name) if isinstance(item, h5py.Dataset) else None)
    if not set(COLUMNS) <= set(datasets):
        found = ", ".join(datasets[:20]) or "none"
        raise DataError(f"{path}: datasets t, x, y, p are expected, there are: {found}; convert it to this layout")
    if file["t"].dtype.kind == "f":
        raise DataError(
            f"{path}: t has type {file['t'].dtype}, seconds where microseconds are expected; multiply t by 1e6 and "
            f"store it as int64"
        )
    for name in COLUMNS:
        if file[name].ndim != 1 or file[name].dtype.kind not in "iub":
            raise DataError(
                f"{path}: {name} has type {file[name].dtype} and shape {file[name].shape}, one column of whole "
                f"numbers is expected; convert it to {np.dtype(COLUMNS[name])}"
            )
    lengths = {name: len(file[name]) for name in COLUMNS}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise DataError(f"{path}: the datasets differ in length ({shown}); write the file again")
    if lengths["t"] == 0:
        raise DataError(f"{path}: holds no events; give another recording")
    return lengths["t"]
