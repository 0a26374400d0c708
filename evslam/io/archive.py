"""Recordings in the zip files that they are distributed as: events are read inside, what is small is unpacked."""

from __future__ import annotations

import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from evslam.errors import DataError
from evslam.io.files import opened
from evslam.io.inflated import ZipMember
from evslam.io.text import TextReader
from evslam.io.text_layout import find_layout
from evslam.types import SensorSize

SIGNATURE = b"PK\x03\x04"
EVENTS_MEMBER = "events.txt"
MAX_SMALL_BYTES = 1 << 28  # of a file that is unpacked
HEAD_BYTES = 1 << 16
BROKEN = (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, EOFError, ValueError)


def is_archive(path: Path) -> bool:
    """Whether the file is a zip file with an events.txt inside."""
    with opened(path) as file:
        if file.read(4) != SIGNATURE:
            return False
    try:
        with zipfile.ZipFile(path) as archive:
            return any(PurePosixPath(name).name == EVENTS_MEMBER for name in archive.namelist())
    except BROKEN:
        return True  # said when it is read


class ArchiveReader(TextReader):
    """Reads the events.txt of a zip file (an EventReader) in a stream, without unpacking it.

    Attributes:
        folder: where calibration, ground truth, IMU, meta.yaml and the first image are unpacked; it is removed with
            the reader.

    Raises:
        DataError: the zip file is broken, holds a path that leaves it, or more than one events.txt.
    """

    def __init__(self, path: Path, size: SensorSize | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="evslam-")
        self.folder = Path(self._folder.name)
        try:
            with zipfile.ZipFile(path) as archive:
                events = _checked(path, archive.infolist())
                _unpack(path, archive, PurePosixPath(events.filename).parent, self.folder)
        except BROKEN as error:
            raise DataError(f"{path}: not a readable zip file ({error}); download it again") from None
        member = ZipMember(path, events)
        with member.open() as file:
            (self.folder / EVENTS_MEMBER).write_bytes(file.read(HEAD_BYTES))
        layout = find_layout(self.folder / EVENTS_MEMBER)
        (self.folder / EVENTS_MEMBER).unlink()
        super().__init__(path, size, layout, member.open)


def _checked(path: Path, members: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    """The member with the events, after a check that no path leads out of the zip file."""
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/")).parts
        if ".." in parts or parts[:1] == ("/",) or ":" in "".join(parts[:1]):
            raise DataError(
                f"{path}: holds the path {member.filename!r}, which leads out of it; do not trust this file"
            )
    events = [member for member in members if PurePosixPath(member.filename).name == EVENTS_MEMBER]
    if len(events) != 1:
        names = ", ".join(member.filename for member in events[:5]) or "none"
        raise DataError(f"{path}: one {EVENTS_MEMBER} is expected, there are: {names}; unpack it and give one folder")
    return events[0]


def _unpack(path: Path, archive: zipfile.ZipFile, inside: PurePosixPath, folder: Path) -> None:
    """Unpacks the files beside the events and the first image of each folder beside them, under their plain names."""
    folders = set()
    for member in sorted(archive.infolist(), key=lambda member: member.filename):
        name = PurePosixPath(member.filename)
        is_beside = name.parent == inside
        is_first = name.parent.parent == inside and name.parent.name not in folders
        if member.filename[-1:] in ("", "/") or name.name == EVENTS_MEMBER or not (is_beside or is_first):
            continue
        if member.file_size > MAX_SMALL_BYTES:
            raise DataError(f"{path}: {member.filename} has {member.file_size} bytes; unpack it and give its folder")
        target = folder / name.relative_to(inside)
        if not is_beside:
            folders.add(name.parent.name)
        target.parent.mkdir(exist_ok=True)
        with archive.open(member) as source:
            target.write_bytes(source.read(MAX_SMALL_BYTES))
