"""Opening a recording of any known format, and writing one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from evslam.errors import CalibrationError, DataError
from evslam.geometry.camera import Camera
from evslam.io.calibration import load_calibration, save_calibration, to_camera
from evslam.io.depth import save_depth
from evslam.io.files import plain
from evslam.io.formats import EVENTS_FILE, recognise
from evslam.io.hdf5_writer import Hdf5Writer
from evslam.io.imu import load_imu, save_imu
from evslam.io.reader import EventReader
from evslam.io.sensor import sensor_size
from evslam.io.trajectory import load_trajectory, save_trajectory
from evslam.types import Events, Imu, SensorSize, Trajectory

CALIBRATION_FILES = ("calib.yaml", "calib.txt")
GROUNDTRUTH_FILE, IMU_FILE, META_FILE, IMAGES_FOLDER = "groundtruth.txt", "imu.txt", "meta.yaml", "images"
DEPTH_FILE = "depth.npz"
WRITTEN_FILES = (EVENTS_FILE, *CALIBRATION_FILES, GROUNDTRUTH_FILE, IMU_FILE, META_FILE, DEPTH_FILE)


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
        calib: the calibration file, None if there is none.
    """

    path: Path
    format: str
    reader: EventReader
    size: SensorSize
    size_source: str
    folder: Path
    calib: Path | None

    @cached_property
    def camera(self) -> Camera | None:
        """The calibrated camera, None without calibration; raises CalibrationError if it cannot be used."""
        if self.calib is not None:
            return load_calibration(self.calib, self.size)
        inside = self.reader.intrinsics()
        return None if inside is None else to_camera(self.reader.path, inside, self.size)

    @cached_property
    def groundtruth(self) -> Trajectory | None:
        """Poses T_world_cam, None if there are none; raises DataError if they cannot be used."""
        path = _existing(self.folder / GROUNDTRUTH_FILE)
        return self.reader.groundtruth() if path is None else load_trajectory(path)

    @cached_property
    def imu(self) -> Imu | None:
        """Inertial measurements, None if there are none; raises DataError if they cannot be used."""
        path = _existing(self.folder / IMU_FILE)
        return self.reader.imu() if path is None else load_imu(path)

    def require_camera(self) -> Camera:
        """The calibrated camera.

        Raises:
            CalibrationError: there is no calibration, or it cannot be used.
        """
        if self.camera is None:
            raise CalibrationError(
                f"{self.path}: no calibration; looked for {' and '.join(CALIBRATION_FILES)} in {self.folder}; "
                f"give one with --calib FILE"
            )
        return self.camera


def open_recording(path: Path, *, calib: Path | None = None, size: SensorSize | None = None) -> Recording:
    """Opens a recording; the format is recognised by content.

    Args:
        path: a folder with events and, if there are any, calib.txt or calib.yaml, groundtruth.txt, imu.txt, meta.yaml
            and images; or the file with the events, beside which those are looked for.
        calib: calibration file to use instead of the recording's own.
        size: the sensor's resolution, where the recording's own is missing or wrong.

    Returns:
        The recording; events are not read yet, ground truth and IMU when first asked for.

    Raises:
        DataError: there is no recording, or its events cannot be read.
        CalibrationError: a given calibration file does not exist, or one needed to find the resolution is malformed.
    """
    path = Path(path)
    kind, events_file = recognise(path)
    reader = kind.reader(events_file, None)
    folder = reader.folder or (path if path.is_dir() else path.parent)
    if calib is not None and not Path(calib).is_file():
        raise CalibrationError(f"{calib}: no such calibration file; check --calib FILE")
    if calib is None:
        calib = next((folder / name for name in CALIBRATION_FILES if (folder / name).is_file()), None)
    meta, images = _existing(folder / META_FILE), _existing(folder / IMAGES_FOLDER)
    reader.size, source = sensor_size(reader, size, meta, images, calib)
    return Recording(path, kind.name, reader, reader.size, source, folder, calib)


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


def fresh_folder(folder: Path) -> Path:
    """Creates a folder.

    Raises:
        DataError: it holds files of a recording, or cannot be created.
    """
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
