"""Opening a recording of any known format, and writing one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from evslam.errors import CalibrationError, DataError
from evslam.geometry.camera import Camera
from evslam.io.calibration import camera_from_fov, load_calibration, save_calibration
from evslam.io.companions import Companions, companions_in, companions_of
from evslam.io.datasets import Match, find_dataset
from evslam.io.depth import save_depth
from evslam.io.events import EventReader
from evslam.io.files import plain
from evslam.io.groundtruth import GroundTruth, PoseOptions, load_groundtruth
from evslam.io.hdf5 import Hdf5Reader, Hdf5Writer, is_hdf5
from evslam.io.imu import load_imu, save_imu
from evslam.io.sensor import sensor_size
from evslam.io.text import TextReader, is_text
from evslam.io.trajectory import save_trajectory
from evslam.types import Events, Imu, SensorSize, Trajectory

GROUNDTRUTH_FILE, IMU_FILE, META_FILE, IMAGES_FOLDER = "groundtruth.txt", "imu.txt", "meta.yaml", "images"
DEPTH_FILE, EVENTS_FILE = "depth.npz", "events.h5"
WRITTEN_FILES = (EVENTS_FILE, "calib.yaml", "calib.txt", GROUNDTRUTH_FILE, IMU_FILE, META_FILE, DEPTH_FILE)


@dataclass(frozen=True)
class Format:
    """A recording format.

    Attributes:
        name: as shown to the user.
        event_files: glob patterns of the file with the events inside a recording's folder.
        recognises: whether a file is of this format, judged by its content.
        reader: opens such a file for a sensor; size None accepts every pixel.
    """

    name: str
    event_files: tuple[str, ...]
    recognises: Callable[[Path], bool]
    reader: Callable[[Path, SensorSize | None], EventReader]


# In the order of preference; a format without a signature of its own comes last.
FORMATS = (
    Format("evslam HDF5", (EVENTS_FILE,), is_hdf5, Hdf5Reader),
    Format("Event Camera Dataset text", ("events.txt",), is_text, TextReader),
)


@dataclass(frozen=True)
class Recording:
    """An open recording: its events, and what lies beside them.

    Attributes:
        path: as given.
        format: name of the format.
        reader: the events.
        size: the sensor's resolution.
        size_source: in words, where the resolution comes from.
        beside: calibration, ground truth and IMU.
        fov_deg: horizontal field of view of an assumed camera without distortion, where there is no calibration.
    """

    path: Path
    format: str
    reader: EventReader
    size: SensorSize
    size_source: str
    beside: Companions
    fov_deg: float | None = None

    @property
    def folder(self) -> Path:
        """Where the recording lies."""
        return self.path if self.path.is_dir() else self.path.parent

    @cached_property
    def camera(self) -> Camera | None:
        """The calibrated camera, None without calibration; raises CalibrationError if it cannot be used."""
        if self.beside.calibration is not None:
            return load_calibration(self.beside.calibration, self.size, self.beside.camera)
        return None if self.fov_deg is None else camera_from_fov(self.fov_deg, self.size)

    @property
    def camera_source(self) -> str | None:
        """In words, where the camera comes from, None without one."""
        if self.beside.calibration is not None:
            return str(self.beside.calibration)
        return None if self.fov_deg is None else f"assumed: pinhole with a field of view of {self.fov_deg:g} degrees"

    @cached_property
    def pose_check(self) -> GroundTruth | None:
        """Ground truth with what a check found suspicious; None if there is none; raises DataError as below."""
        path = self.beside.groundtruth
        span = (self.reader.t_first_us, self.reader.t_last_us)
        return None if path is None else load_groundtruth(path, self.beside.pose_options, span)

    @cached_property
    def groundtruth(self) -> Trajectory | None:
        """Poses T_world_cam, None if there are none; raises DataError if they cannot be used."""
        return None if self.pose_check is None else self.pose_check.trajectory

    @cached_property
    def imu(self) -> Imu | None:
        """Inertial measurements, None if there are none; raises DataError if they cannot be used."""
        return None if self.beside.imu is None else load_imu(self.beside.imu)

    def with_groundtruth(self, path: Path | None, options: PoseOptions | None) -> Recording:
        """The same recording with another ground truth file, or another understanding of its own; None keeps it.

        Raises:
            DataError: the file does not exist.
        """
        if path is not None and not path.is_file():
            raise DataError(f"{path}: no such ground truth file; check --groundtruth FILE")
        own = self.beside.pose_options if path is None else PoseOptions()
        beside = replace(self.beside, groundtruth=path or self.beside.groundtruth, pose_options=options or own)
        return replace(self, beside=beside)

    def require_camera(self) -> Camera:
        """The calibrated camera.

        Raises:
            CalibrationError: there is no calibration, or it cannot be used.
        """
        if self.camera is None:
            raise CalibrationError(
                f"{self.path}: no calibration; looked for {self.beside.looked_for}; "
                f"give one with --calib FILE, or --fov DEG for a first look"
            )
        return self.camera


def open_recording(
    path: Path, *, calib: Path | None = None, size: SensorSize | None = None, fov_deg: float | None = None
) -> Recording:
    """Opens a recording; the format is recognised by content, a public dataset by its layout (configs/datasets).

    Args:
        path: a folder with events and, if there are any, calibration, groundtruth.txt, imu.txt, meta.yaml and images;
            a folder of a public dataset; or the file with the events, beside which those are looked for.
        calib: calibration file to use instead of the recording's own; FILE#NAME chooses one of its cameras.
        size: the sensor's resolution, where the recording's own is missing or wrong.
        fov_deg: horizontal field of view to go on with where there is no calibration, degrees.

    Returns:
        The recording; events are not read yet, ground truth and IMU when first asked for.

    Raises:
        DataError: there is no recording, or its events cannot be read.
        CalibrationError: a given calibration file does not exist, or one needed to find the resolution is malformed.
    """
    path = Path(path)
    match = find_dataset(path) if path.exists() else None
    kind, events_file = _recognise(path, match)
    folder = path if path.is_dir() else path.parent
    beside = companions_in(folder) if match is None else companions_of(match)
    if calib is not None:
        beside = _with_calibration(beside, Path(calib))
    meta, images = _existing(folder / META_FILE), _existing(folder / IMAGES_FOLDER)
    found, source = sensor_size(kind.reader(events_file, None), size, meta, images, beside)
    return Recording(path, kind.name, kind.reader(events_file, found), found, source, beside, fov_deg)


def write_recording(
    folder: Path,
    events: Iterator[Events],
    *,
    camera: Camera | None = None,
    trajectory: Trajectory | None = None,
    imu: Imu | None = None,
    depth: tuple[np.ndarray, np.ndarray] | None = None,
    meta: dict[str, Any] | None = None,
) -> int:
    """Writes a recording in evslam's own layout, events in a stream, and returns their number.

    Args:
        folder: is created; must not hold any of a recording's files yet.
        events: sorted chunks.
        camera: goes to calib.txt, or calib.yaml for a fisheye.
        trajectory: ground truth T_world_cam.
        imu: inertial measurements.
        depth: times (K,) in microseconds and maps (K, H, W) in metres.
        meta: what else is to be known, for meta.yaml; the sensor's size is added from the camera.

    Raises:
        DataError: the folder holds a recording already or cannot be written, or the events are not sorted.
    """
    folder = _fresh_folder(Path(folder))
    with Hdf5Writer(folder / EVENTS_FILE) as writer:
        for part in events:
            writer.append(part)
    entries = dict(meta or {})
    if camera is not None:
        save_calibration(camera, folder / ("calib.yaml" if camera.model == "equidistant" else "calib.txt"))
        entries |= {"width": camera.size.width, "height": camera.size.height}
    if trajectory is not None:
        save_trajectory(trajectory, folder / GROUNDTRUTH_FILE)
    if imu is not None:
        save_imu(imu, folder / IMU_FILE)
    if depth is not None:
        save_depth(*depth, folder / DEPTH_FILE)
    (folder / META_FILE).write_text(yaml.safe_dump(plain(entries), sort_keys=False), encoding="utf-8")
    return writer.num_events


def _recognise(path: Path, match: Match | None) -> tuple[Format, Path]:
    """The format and the file with the events."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; check the path")
    patterns = [pattern for kind in FORMATS for pattern in kind.event_files]
    candidates = [path] if path.is_file() else [file for pattern in patterns for file in sorted(path.glob(pattern))]
    for file in candidates if match is None else [match.events]:
        for kind in FORMATS:
            if kind.recognises(file):
                return kind, file
    formats = ", ".join(kind.name for kind in FORMATS)
    if match is not None:
        raise DataError(
            f"{match.events}: events of {match.layout.name} ({match.layout.events_format}) are not readable in this "
            f"version ({formats}); convert them to text or HDF5 first"
        )
    if path.is_file():
        raise DataError(f"{path}: not a recording of a known format ({formats}); give another file")
    names = sorted(entry.name for entry in path.iterdir())
    there = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") if names else "nothing"
    raise DataError(
        f"{path}: no recording here; looked for {' or '.join(patterns)}, there is: {there}; give its folder"
    )


def _with_calibration(beside: Companions, calib: Path) -> Companions:
    """The calibration that the user gives, as FILE or FILE#CAMERA."""
    camera = None
    if not calib.is_file() and "#" in calib.name:
        name, _, camera = calib.name.rpartition("#")
        calib = calib.with_name(name)
    if not calib.is_file():
        raise CalibrationError(f"{calib}: no such calibration file; check --calib FILE")
    return replace(beside, calibration=calib, camera=camera)


def _fresh_folder(folder: Path) -> Path:
    """Creates a folder; refuses one that holds files of a recording."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder}: cannot be created ({error.strerror}); choose another folder") from None
    there = [name for name in WRITTEN_FILES if (folder / name).exists()]
    if there:
        raise DataError(f"{folder}: holds {', '.join(there)} already; choose another folder or remove them")
    return folder


def _existing(path: Path) -> Path | None:
    return path if path.exists() else None
