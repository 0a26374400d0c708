"""The formats that recordings come in, and how one is recognised by its content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evslam.errors import DataError
from evslam.io.aedat2 import Aedat2Reader, is_aedat2
from evslam.io.aedat4 import Aedat4Reader, is_aedat4
from evslam.io.archive import ArchiveReader, is_archive
from evslam.io.arrays import ArraysReader, is_arrays
from evslam.io.dat import DatReader, is_dat
from evslam.io.hdf5 import Hdf5Reader, has_layout, is_hdf5
from evslam.io.hdf5_layouts import LAYOUTS
from evslam.io.prophesee import RawReader, is_raw
from evslam.io.reader import EventReader
from evslam.io.rosbag import RosbagReader, is_rosbag
from evslam.io.text import TextReader, is_csv, is_text
from evslam.types import SensorSize

EVENTS_FILE = "events.h5"
HDF5_FILES = ("*.h5", "*.hdf5")


@dataclass(frozen=True)
class Format:
    """A recording format.

    Attributes:
        name: as shown to the user.
        event_files: glob patterns of the file with the events inside a recording's folder.
        recognises: whether a file is of this format, judged by its content.
        reader: opens such a file for a sensor; size None accepts every pixel.
        is_vague: whether much else looks like it, so that in a folder only `event_files` are taken for it.
    """

    name: str
    event_files: tuple[str, ...]
    recognises: Callable[[Path], bool]
    reader: Callable[[Path, SensorSize | None], EventReader]
    is_vague: bool = False


# In the order of preference; a format without a signature of its own comes last.
FORMATS = (
    *(Format(layout.name, (EVENTS_FILE, *HDF5_FILES), partial(has_layout, layout), Hdf5Reader) for layout in LAYOUTS),
    Format("HDF5", (EVENTS_FILE,), is_hdf5, Hdf5Reader, is_vague=True),  # says what is missing
    Format("AEDAT 4", ("*.aedat4",), is_aedat4, Aedat4Reader),
    Format("AEDAT 2", ("*.aedat",), is_aedat2, Aedat2Reader),
    Format("Prophesee RAW", ("*.raw",), is_raw, RawReader),
    Format("Prophesee DAT", ("*.dat",), is_dat, DatReader),
    Format("ROS bag", ("*.bag", "*.db3", "*.mcap"), is_rosbag, RosbagReader),
    Format("numpy arrays", ("events.npz", "events.npy"), is_arrays, ArraysReader),
    Format("Event Camera Dataset zip", ("*.zip",), is_archive, ArchiveReader),
    Format("CSV", ("events.txt", "*.csv"), is_csv, TextReader),
    Format("Event Camera Dataset text", ("events.txt",), is_text, TextReader, is_vague=True),
)


def recognise(path: Path) -> tuple[Format, Path]:
    """The format of a recording and the file with its events.

    Raises:
        DataError: there is nothing, nothing of a known format, or more than one file that could be meant.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; check the path")
    patterns = dict.fromkeys(pattern for kind in FORMATS for pattern in kind.event_files)
    if path.is_file():
        kind = _kind(path)
        if kind is None:
            formats = ", ".join(entry.name for entry in FORMATS)
            raise DataError(f"{path}: not a recording of a known format ({formats}); give another file")
        return kind, path
    for pattern in sorted(patterns, key=lambda pattern: "*" in pattern):  # full names first
        found = [
            (one, file) for file in sorted(path.glob(pattern))
            if file.is_file() and (one := _kind(file)) and (not one.is_vague or pattern in one.event_files)
        ]  # fmt: skip
        if len(found) > 1:
            names = ", ".join(file.name for _, file in found)
            raise DataError(f"{path}: holds more than one recording ({names}); give one of these files")
        if found:
            return found[0]
    entries = sorted(entry.name for entry in path.iterdir())
    there = ", ".join(entries[:10]) + (", ..." if len(entries) > 10 else "") if entries else "nothing"
    looked = " or ".join(patterns)
    raise DataError(f"{path}: no recording here; looked for {looked}, there is: {there}; give its folder")


def _kind(file: Path) -> Format | None:
    return next((kind for kind in FORMATS if kind.recognises(file)), None)
