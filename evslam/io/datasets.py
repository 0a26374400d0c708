"""The registry of public datasets, `configs/datasets/*.yaml`: which files a recording consists of, and where."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from evslam.errors import ConfigError, DataError
from evslam.types import SensorSize

PACKAGE = "package:"  # a calibration file that stands beside the registry's entries
LEVELS = 3  # folders above a file of events in which its recording's folder is looked for


@dataclass(frozen=True)
class Layout:
    """One way in which recordings of a dataset lie on a disk. Patterns are those of `Path.glob`, relative to a folder;
    {names} of groups in `folder` and `file` may stand in them, and {events} for the name of the file with the events.

    Attributes:
        name: the dataset.
        page: where to get it.
        licence: of the data.
        verified: whether everything here was looked up; else `unverified` says what was not.
        unverified: see there.
        source: where the layout was looked up.
        events_format: name of the format of the events.
        groundtruth_is: which pose, unit and direction the ground truth has, in words.
        events: patterns of the file with the events.
        folder, file: regular expressions that the recording's folder and its file with the events match.
        files: patterns that all must match in the folder.
        sensor: width and height.
        calibration: patterns of the calibration file, in the folders `beside`.
        camera: which camera of that file.
        groundtruth: patterns of the poses, in the folders `beside`.
        groundtruth_unit: of their times, where the file does not say.
        hand_eye: factors of T_body_cam, see `evslam.io.transforms.parse_transform`; "calibration#KEY" means the
            calibration file.
        imu: file with inertial measurements in the text form of the Event Camera Dataset.
        beside: folders, relative to the recording's, to look in.
        events_topic, groundtruth_topic: inside a bag.
    """

    name: str
    page: str
    licence: str
    verified: bool
    source: str
    events_format: str
    groundtruth_is: str
    events: tuple[str, ...]
    unverified: str = ""
    folder: str = ""
    file: str = ""
    files: tuple[str, ...] = ()
    sensor: tuple[int, ...] = ()
    calibration: tuple[str, ...] = ()
    camera: str | None = None
    groundtruth: tuple[str, ...] = ()
    groundtruth_unit: str | None = None
    hand_eye: tuple[str, ...] = ()
    imu: str = ""
    beside: tuple[str, ...] = (".",)
    events_topic: str = ""
    groundtruth_topic: str = ""

    @property
    def size(self) -> SensorSize | None:
        """The sensor's resolution."""
        return SensorSize(height=self.sensor[1], width=self.sensor[0]) if self.sensor else None


@dataclass(frozen=True)
class Match:
    """A recording of a known dataset: its layout, folder, file with the events, and what its names say."""

    layout: Layout
    folder: Path
    events: Path
    groups: dict[str, str]

    def find(self, patterns: tuple[str, ...]) -> Path | None:
        """The first file that matches a pattern in one of the folders `beside`."""
        for pattern in patterns:
            if pattern.startswith(PACKAGE):
                return Path(str(resources.files("evslam.configs").joinpath("datasets", pattern[len(PACKAGE) :])))
            for beside in self.layout.beside:
                for path in _glob(self.folder / beside, self.fill(pattern)):
                    return path
        return None

    def fill(self, pattern: str) -> str:
        """The pattern with what the names say in place of {names}."""
        return pattern.format(**self.groups, events=self.events.name)


@cache
def registry() -> tuple[Layout, ...]:
    """Every layout of every dataset, the most particular first.

    Raises:
        ConfigError: an entry has an unknown or missing key.
    """
    layouts = []
    for entry in resources.files("evslam.configs").joinpath("datasets").iterdir():
        if entry.name.endswith(".yaml"):
            layouts += read_layouts(entry.read_text(encoding="utf-8"), entry.name)
    layouts.sort(key=lambda each: (-bool(each.folder) - bool(each.file), -len(each.files), each.name))
    return tuple(layouts)


def read_layouts(text: str, source: str) -> list[Layout]:
    """The layouts of one entry; each takes the keys above `layouts` unless it has its own.

    Raises:
        ConfigError: the entry is no mapping, or has an unknown or missing key.
    """
    tree = yaml.safe_load(text)
    if not isinstance(tree, dict) or not isinstance(tree.get("layouts"), list):
        raise ConfigError(f"{source}: a mapping with a list of layouts is expected")
    shared = {key: value for key, value in tree.items() if key != "layouts"}
    known = [field.name for field in fields(Layout)]
    layouts = []
    for each in tree["layouts"]:
        entries = shared | each
        for key in entries:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
                raise ConfigError(f"{source}: unknown key {key}; did you mean {near}?")
        try:
            layouts.append(Layout(**{key: _frozen(value) for key, value in entries.items()}))
        except TypeError as error:
            raise ConfigError(f"{source}: {error}") from None
    return layouts


def find_dataset(path: Path) -> Match | None:
    """The dataset that a folder, or a file of events, belongs to; None if its layout is unknown.

    Raises:
        DataError: a folder holds several recordings of a dataset.
    """
    path = Path(path)
    folders = [path] if path.is_dir() else list(path.resolve().parents)[:LEVELS]
    for folder in folders:
        for layout in registry():
            found = list(_matches(layout, folder, None if path.is_dir() else path.resolve()))
            if len({match.events for match in found}) > 1:
                names = ", ".join(match.events.name for match in found[:5])
                raise DataError(f"{path}: holds {len(found)} recordings of {layout.name} ({names}); name one file")
            if found:
                return found[0]
    return None


def _matches(layout: Layout, folder: Path, wanted: Path | None) -> Iterator[Match]:
    by_folder = re.search(layout.folder, folder.resolve().name)
    if by_folder is None or not all(_glob(folder, pattern) for pattern in layout.files):
        return
    for pattern in layout.events:
        for events in _glob(folder, pattern):
            by_file = re.search(layout.file, events.name)
            if by_file is not None and wanted in (None, events.resolve()):
                groups = {**by_folder.groupdict(), **by_file.groupdict()}
                yield Match(layout, folder, events, {key: value or "" for key, value in groups.items()})


def _glob(folder: Path, pattern: str) -> list[Path]:
    """Files that match, sorted; a pattern may go up with "..", which Path.glob alone does not take everywhere."""
    while pattern.startswith("../"):
        folder, pattern = folder / "..", pattern[3:]
    return sorted(path for path in folder.glob(pattern) if path.is_file()) if folder.is_dir() else []


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
