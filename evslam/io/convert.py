"""Converting a recording of any format into evslam's own, checked by reading it back."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from evslam.errors import DataError
from evslam.io.hdf5 import COLUMNS, Hdf5Reader, Hdf5Writer
from evslam.io.reader import EventReader
from evslam.io.recording import EVENTS_FILE, Recording, write_recording
from evslam.types import Events


@dataclass
class _Checksum:
    """Checksum of events, the same however they are cut into chunks."""

    num_events: int = 0
    values: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS, 0))

    def watch(self, chunks: Iterable[Events]) -> Iterator[Events]:
        """Passes the chunks on and takes them into account."""
        for events in chunks:
            self.num_events += len(events)
            for name in COLUMNS:
                self.values[name] = zlib.crc32(getattr(events, name).tobytes(), self.values[name])
            yield events


def copy_events(reader: EventReader, path: Path) -> int:
    """Copies all events to an HDF5 file in a stream, reads them back and compares.

    Returns:
        The number of events.

    Raises:
        DataError: the source cannot be read, the file cannot be written, or what was written differs.
    """
    source = _Checksum()
    with Hdf5Writer(path) as writer:
        for events in source.watch(reader.read()):
            writer.append(events)
    _verify(source, path)
    return source.num_events


def convert_recording(recording: Recording, out: Path) -> int:
    """Converts a recording.

    Args:
        recording: what to convert.
        out: a new .h5 file for the events alone, or a folder for everything that the recording has.

    Returns:
        The number of events.

    Raises:
        DataError: as in `copy_events`, or ground truth or IMU cannot be used.
        CalibrationError: the calibration cannot be used.
    """
    if Path(out).suffix in (".h5", ".hdf5"):
        return copy_events(recording.reader, out)
    source = _Checksum()
    write_recording(
        out,
        source.watch(recording.reader.read()),
        camera=recording.camera,
        trajectory=recording.groundtruth,
        imu=recording.imu,
        meta={"source": recording.path.name, "width": recording.size.width, "height": recording.size.height},
    )
    _verify(source, Path(out) / EVENTS_FILE)
    return source.num_events


def _verify(source: _Checksum, path: Path) -> None:
    copy = _Checksum()
    for _ in copy.watch(Hdf5Reader(path).read()):
        pass
    if copy != source:
        raise DataError(
            f"{path}: reading back gave {copy.num_events} events unlike the {source.num_events} written; "
            f"check the disk and convert again"
        )
