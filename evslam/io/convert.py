"""Converting a recording of any format into evslam's own, checked by reading it back; interrupted work goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from evslam.errors import DataError
from evslam.io.hdf5 import Hdf5Reader
from evslam.io.hdf5_writer import Checksum, Hdf5Writer
from evslam.io.reader import EventReader
from evslam.io.recording import EVENTS_FILE, Recording, fresh_folder, write_companions
from evslam.types import Events

_log = logging.getLogger(__name__)
HDF5_SUFFIXES = (".h5", ".hdf5")
Progress = Callable[[float], object]


def copy_events(reader: EventReader, path: Path, progress: Progress | None = None) -> int:
    """Copies all events to an HDF5 file in a stream, reads them back and compares.

    An interrupted copy leaves PATH.part; the next copy of the same file goes on from there.

    Args:
        reader: the source.
        path: the new file.
        progress: is called with the seconds of the recording that were done since the last call; they sum up to twice
            its duration, once for writing and once for reading back.

    Returns:
        The number of events.

    Raises:
        DataError: the source cannot be read, the file cannot be written, or what was written differs.
    """
    report = progress or (lambda seconds: None)
    with Hdf5Writer(path, _identity(reader)) as writer:
        done_us = max(writer.last_us, reader.t_first_us)
        if writer.num_events:
            _log.info("%s: going on after %d events", path, writer.num_events)
        report((done_us - reader.t_first_us) * 1e-6)
        for events in _watched(_rest(reader, writer), done_us, report):
            writer.append(events)
    written = writer.stored
    copy = Checksum()
    for events in _watched(Hdf5Reader(path).read(), reader.t_first_us, report):
        copy.add(events)
    if copy != written:
        raise DataError(
            f"{path}: reading back gave {copy.num_events} events unlike the {written.num_events} written; "
            f"check the disk and convert again"
        )
    return written.num_events


def convert_recording(recording: Recording, out: Path, progress: Progress | None = None) -> int:
    """Converts a recording.

    Args:
        recording: what to convert.
        out: a new .h5 file for the events alone, or a folder for everything that the recording has.
        progress: see `copy_events`.

    Returns:
        The number of events.

    Raises:
        DataError: as in `copy_events`, or ground truth or IMU cannot be used.
        CalibrationError: the calibration cannot be used.
    """
    if Path(out).suffix in HDF5_SUFFIXES:
        return copy_events(recording.reader, out, progress)
    camera, trajectory, imu = recording.camera, recording.groundtruth, recording.imu  # what is unfit is said at once
    folder = fresh_folder(Path(out))
    num_events = copy_events(recording.reader, folder / EVENTS_FILE, progress)
    meta = {"source": recording.path.name, "width": recording.size.width, "height": recording.size.height}
    write_companions(folder, camera=camera, trajectory=trajectory, imu=imu, meta=meta)
    return num_events


def _identity(reader: EventReader) -> str:
    """Tells one source from another, and from the same file after a change."""
    status = reader.path.stat()
    return (
        f"{reader.path.name}, {status.st_size} bytes, {status.st_mtime_ns} ns, {type(reader).__name__}, {reader.size}"
    )


def _rest(reader: EventReader, writer: Hdf5Writer) -> Iterator[Events]:
    """The events that are not in the file yet."""
    if writer.num_events == 0:
        yield from reader.read()
        return
    known = writer.num_last()
    for events in reader.read(start_us=writer.last_us):
        skipped = min(known, len(events))
        known -= skipped
        yield events[skipped:]


def _watched(chunks: Iterator[Events], done_us: int, report: Progress) -> Iterator[Events]:
    """Passes chunks on and reports how far they have come."""
    for events in chunks:
        yield events
        if len(events):
            report(max(int(events.t[-1]) - done_us, 0) * 1e-6)
            done_us = max(int(events.t[-1]), done_us)
