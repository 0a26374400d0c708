"""The EventReader protocol, what a file may hold besides events, and the base class that all readers share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from evslam.io.calibration import Intrinsics
from evslam.io.events import LARGEST_SENSOR, RawEvents, ReadCounts, validated, windowed
from evslam.types import Events, Imu, SensorSize, Trajectory


@dataclass(frozen=True)
class Frame:
    """A grey image of the same sensor.

    Attributes:
        t_us: microseconds of the events' clock.
        image: (H, W) uint8.
    """

    t_us: int
    image: np.ndarray


class Container(Protocol):
    """What a reader offers from inside its file; files beside the recording come first (`evslam.io.recording`).

    Attributes:
        sensor_size: the resolution that the file states, None if it does not.
    """

    sensor_size: SensorSize | None

    def intrinsics(self) -> Intrinsics | None:
        """The calibration of the event camera, None if the file holds none.

        Raises:
            CalibrationError: it cannot be used.
        """
        ...

    def imu(self) -> Imu | None:
        """Inertial measurements (m/s^2, rad/s), None if the file holds none.

        Raises:
            DataError: they cannot be used.
        """
        ...

    def groundtruth(self) -> Trajectory | None:
        """Poses as the file states them, None if it holds none.

        Raises:
            DataError: they cannot be used.
        """
        ...

    def frames(self) -> Iterator[Frame]:
        """Grey images in the order of the file.

        Raises:
            DataError: a frame cannot be decoded.
        """
        ...


class EventReader(Container, Protocol):
    """One class per format implements this; see `evslam.io.formats.FORMATS`.

    Attributes:
        path: the file with the events.
        size: events outside this resolution are dropped; None takes that of the file, or every pixel.
        t_first_us, t_last_us: time of the first and the last event, microseconds (oldest and newest of the events
            at the head and at the tail of the file).
        num_events: number of events in the file, None where only reading it all would tell.
        counts: what the latest `read` met so far.
        folder: where calibration, ground truth and IMU of a packed recording lie, None for beside the file.
    """

    path: Path
    size: SensorSize | None
    t_first_us: int
    t_last_us: int
    num_events: int | None
    counts: ReadCounts
    folder: Path | None

    def read(self, start_us: int | None = None, stop_us: int | None = None, chunk: int = 100_000) -> Iterator[Events]:
        """The events with start_us <= t < stop_us, checked, sorted by time, in chunks of `chunk` (the last is shorter).

        Raises:
            DataError: an event cannot be used; see `evslam.io.events.validated`.
        """
        ...


class FileReader(ABC):
    """What all EventReaders have in common; a format adds `_blocks`, the times, and what else its file holds.

    Args:
        path: the file.
        size: see EventReader.
    """

    num_events: int | None = None
    sensor_size: SensorSize | None = None
    folder: Path | None = None
    t_first_us: int
    t_last_us: int

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        self.path = Path(path)
        self.size = size
        self.counts = ReadCounts()

    def read(self, start_us: int | None = None, stop_us: int | None = None, chunk: int = 100_000) -> Iterator[Events]:
        """See EventReader.read."""
        self.counts = ReadCounts()
        size = self.size or self.sensor_size or LARGEST_SENSOR
        events = validated(self._blocks(start_us, self.counts), size, self.counts, str(self.path))
        return windowed(events, start_us, stop_us, chunk)

    @abstractmethod
    def _blocks(self, start_us: int | None, counts: ReadCounts) -> Iterator[RawEvents]:
        """Decodes from an event on before which every event is older than start_us; counts what was lost."""

    def intrinsics(self) -> Intrinsics | None:
        """See Container."""
        return None

    def imu(self) -> Imu | None:
        """See Container."""
        return None

    def groundtruth(self) -> Trajectory | None:
        """See Container."""
        return None

    def frames(self) -> Iterator[Frame]:
        """See Container."""
        return iter(())


class Place:
    """Says where an event of a block stands: "FILE, event 12", or "FILE, packet 3, event 12"."""

    def __init__(self, path: Path, start: int = 0, block: str = "") -> None:
        self.path, self.start, self.block = path, start, block

    def __call__(self, index: int) -> str:
        return f"{self.path}, {self.block}event {self.start + index}"
