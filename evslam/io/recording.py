"""Opening a recording of any known format, and writing one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from evslam.errors import CalibrationError, DataError
from evslam.geometry.camera import Camera
from evslam.io.calibration import camera_from_fov, load_calibration, save_calibration, to_camera
from evslam.io.companions import Companions, companions_in, companions_of
from evslam.io.datasets import find_dataset
from evslam.io.depth import save_depth
from evslam.io.files import plain
from evslam.io.formats import EVENTS_FILE, recognise
from evslam.io.groundtruth import GroundTruth, PoseOptions, check_groundtruth, load_groundtruth
from evslam.io.hdf5_writer import Hdf5Writer
from evslam.io.imu import load_imu, save_imu
from evslam.io.reader import EventReader
from evslam.io.sensor import sensor_size
from evslam.io.trajectory import save_trajectory
from evslam.types import Events, Imu, SensorSize, Trajectory

GROUNDTRUTH_FILE, IMU_FILE, META_FILE, IMAGES_FOLDER = "groundtruth.txt", "imu.txt", "meta.yaml", "images"
DEPTH_FILE = "depth.npz"
WRITTEN_FILES = (EVENTS_FILE, "calib.yaml", "calib.txt", GROUNDTRUTH_FILE, IMU_FILE, META_FILE, DEPTH_FILE)


@dataclass(frozen=True)
class Recording:
    """An open recording: its events, and what lies beside them.

    Attributes:
        path: as given.
        format: name of the format.
        reader: the events.
        size: the sensor's resolution.
        size_source: in words, where the resolution comes from.
        folder: where calibration, ground truth and IMU are looked for.
        beside: calibration, ground truth and IMU.
        fov_deg: horizontal field of view of an assumed camera without distortion, where there is no calibration.
    """

    path: Path
    format: str
    reader: EventReader
    size: SensorSize
    size_source: str
    folder: Path
    beside: Companions
    fov_deg: float | None = None

    @cached_property
    def camera(self) -> Camera | None:
        """The calibrated camera, None without calibration; raises CalibrationError if it cannot be used."""
        if self.beside.calibration is not None:
            return load_calibration(self.beside.calibration, self.size, self.beside.camera)
        inside = self.reader.intrinsics()
        if inside is not None:
            return to_camera(self.reader.path, inside, self.size)
        return None if self.fov_deg is None else camera_from_fov(self.fov_deg, self.size)

    @property
    def camera_source(self) -> str | None:
        """In words, where the camera comes from, None without one."""
        if self.beside.calibration is not None:
            return str(self.beside.calibration)
        if self.reader.intrinsics() is not None:
            return f"inside {self.reader.path}"
        return None if self.fov_deg is None else f"assumed: pinhole with a field of view of {self.fov_deg:g} degrees"

    @cached_property
    def pose_check(self) -> GroundTruth | None:
        """Ground truth with what a check found suspicious; None if there is none; raises DataError as below."""
        path, options = self.beside.groundtruth, self.beside.pose_options
        span = (self.reader.t_first_us, self.reader.t_last_us)
        if path is not None:
            return load_groundtruth(path, options, span)
        inside = self.reader.groundtruth()
        return None if inside is None else check_groundtruth(inside, options, span)

    @cached_property
    def groundtruth(self) -> Trajectory | None:
        """Poses T_world_cam, None if there are none; raises DataError if they cannot be used."""
        return None if self.pose_check is None else self.pose_check.trajectory

    @cached_property
    def imu(self) -> Imu | None:
        """Inertial measurements, None if there are none; raises DataError if they cannot be used."""
        return self.reader.imu() if self.beside.imu is None else load_imu(self.beside.imu)

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
    kind, events_file = recognise(path if match is None else match.events)
    reader = kind.reader(events_file, None)
    folder = reader.folder or (path if path.is_dir() else path.parent)
    beside = companions_in(folder) if match is None else companions_of(match)
    if calib is not None:
        beside = _with_calibration(beside, Path(calib))
    meta, images = _existing(folder / META_FILE), _existing(folder / IMAGES_FOLDER)
    reader.size, source = sensor_size(reader, size, meta, images, beside)
    return Recording(path, kind.name, reader, reader.size, source, folder, beside, fov_deg)


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
    folder = fresh_folder(Path(folder))
    with Hdf5Writer(folder / EVENTS_FILE) as writer:
        for part in events:
            writer.append(part)
    write_companions(folder, camera=camera, trajectory=trajectory, imu=imu, depth=depth, meta=meta)
    return writer.num_events


def write_companions(
    folder: Path,
    *,
    camera: Camera | None = None,
    trajectory: Trajectory | None = None,
    imu: Imu | None = None,
    depth: tuple[np.ndarray, np.ndarray] | None = None,
    meta: dict[str, Any] | None = None,
) -> None:
    """Writes what lies beside the events of a recording; see `write_recording`."""
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


def _with_calibration(beside: Companions, calib: Path) -> Companions:
    """The calibration that the user gives, as FILE or FILE#CAMERA."""
    camera = None
    if not calib.is_file() and "#" in calib.name:
        name, _, camera = calib.name.rpartition("#")
        calib = calib.with_name(name)
    if not calib.is_file():
        raise CalibrationError(f"{calib}: no such calibration file; check --calib FILE")
    return replace(beside, calibration=calib, camera=camera)


def fresh_folder(folder: Path) -> Path:
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
