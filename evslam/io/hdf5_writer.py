"""Writing evslam HDF5, with a checksum of what is written and places from where interrupted writing can go on."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

import h5py
import hdf5plugin
import numpy as np

from evslam.errors import DataError
from evslam.io.hdf5_layouts import reason
from evslam.types import Events

COLUMNS = {"t": np.int64, "x": np.uint16, "y": np.uint16, "p": np.uint8}
BLOCK_EVENTS = 1 << 17
CHECKPOINT_EVENTS = 1 << 24  # so many events at most are written again after a crash
PROGRESS = "evslam_progress"  # attribute of an incomplete file


@dataclass
class Checksum:
    """Checksum of events, the same however they are cut into chunks."""

    num_events: int = 0
    values: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS, 0))

    def add(self, events: Events) -> None:
        """Takes events into account that follow those before."""
        for name in COLUMNS:
            column = np.ascontiguousarray(getattr(events, name)).view(np.uint8)
            self.values[name] = zlib.crc32(column.data, self.values[name])
        self.num_events += len(events)


class Hdf5Writer:
    """Writes evslam HDF5; the file gets its name when it is complete.

    Args:
        path: file to write; must not exist.
        source: says what is written. When writing is interrupted, the incomplete file stays, and a writer for the same
            source goes on with it. None for what cannot be repeated: nothing stays.

    Raises:
        DataError: the file exists or cannot be written.

    Attributes:
        stored: checksum of the events in the file; those of an interrupted writer are in it from the beginning.
        last_us: time of the last event.
    """

    def __init__(self, path: Path, source: str | None = None) -> None:
        self.path, self.source = Path(path), source
        self.last_us = 0
        self._waiting: list[Events] = []  # written in whole blocks: smaller pieces would be compressed again and again
        self._num_waiting = 0
        self._part = self.path.with_name(self.path.name + ".part")
        if self.path.exists():
            raise DataError(f"{self.path}: exists already; choose another place or remove it")
        self.stored = Checksum()
        try:
            self._file = self._resumed() or self._new()
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({reason(error)}); choose another place") from None
        self._num_saved = self.stored.num_events

    @property
    def num_events(self) -> int:
        """Events written so far, those of an interrupted writer included."""
        return self.stored.num_events + self._num_waiting

    def append(self, events: Events) -> None:
        """Adds events that are not older than those before.

        Raises:
            DataError: the times go backwards.
        """
        if len(events) == 0:
            return
        if events.t[0] < self.last_us or (events.t[1:] < events.t[:-1]).any():
            raise DataError(f"{self.path}: events to be written go back in time near {events.t[0]} us; sort them first")
        self._waiting.append(events)
        self._num_waiting, self.last_us = self._num_waiting + len(events), int(events.t[-1])
        if self._num_waiting >= BLOCK_EVENTS:
            self._store(self.num_events // BLOCK_EVENTS * BLOCK_EVENTS)
        if self.source is not None and self.stored.num_events - self._num_saved >= CHECKPOINT_EVENTS:
            self._save()

    def num_last(self) -> int:
        """Number of stored events at `last_us`, the newest time in the file."""
        number, times = 0, self._file["t"]
        for stop in range(self.stored.num_events, 0, -BLOCK_EVENTS):
            equal = times[max(stop - BLOCK_EVENTS, 0) : stop] == self.last_us
            number += int(equal.sum())
            if not equal.all():
                break
        return number

    def close(self) -> None:
        """Completes the file."""
        if self._file:
            self._store(self.num_events)
            self._file.attrs.pop(PROGRESS, None)
            self._file.close()
            os.replace(self._part, self.path)

    def _new(self) -> h5py.File:
        file = h5py.File(self._part, "w")
        compression = hdf5plugin.Blosc(cname="lz4", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)
        for name, dtype in COLUMNS.items():
            file.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(BLOCK_EVENTS,), compression=compression)
        return file

    def _resumed(self) -> h5py.File | None:
        """The incomplete file of the same source, cut to its last place that is known to be whole."""
        if self.source is None or not self._part.exists():
            return None
        file = None
        try:
            file = h5py.File(self._part, "r+")
            progress = json.loads(file.attrs[PROGRESS])
            stored = Checksum(**progress["stored"])
            if progress["source"] != self.source or any(len(file[name]) < stored.num_events for name in COLUMNS):
                raise ValueError("of another source")
            for name in COLUMNS:
                file[name].resize((stored.num_events,))
            self.last_us = int(file["t"][stored.num_events - 1]) if stored.num_events else 0
            self.stored = stored
            return file
        except (OSError, RuntimeError, KeyError, ValueError, TypeError):  # not usable: begin anew
            if file is not None:
                file.close()
            return None

    def _save(self) -> None:
        """Notes in the file that what is stored is whole."""
        self._file.attrs[PROGRESS] = json.dumps({"source": self.source, "stored": asdict(self.stored)})
        self._file.flush()
        self._num_saved = self.stored.num_events

    def _store(self, stop: int) -> None:
        """Writes the waiting events up to index `stop`."""
        first = self.stored.num_events
        waiting = Events.concatenate(self._waiting)
        part = waiting[: stop - first]
        try:
            for name in COLUMNS:
                dataset = self._file[name]
                dataset.resize((stop,))
                dataset[first:] = getattr(part, name)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({reason(error)}); make room on the disk") from None
        self.stored.add(part)
        self._waiting, self._num_waiting = [waiting[len(part) :]], len(waiting) - len(part)

    def __enter__(self) -> Hdf5Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        if self.source is not None:
            self._save()
        self._file.close()
        if self.source is None:
            self._part.unlink(missing_ok=True)
