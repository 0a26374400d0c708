"""What lies beside the events of a recording: calibration, ground truth, inertial measurements."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evslam.errors import CalibrationError
from evslam.io.datasets import Match
from evslam.io.groundtruth import PoseOptions
from evslam.io.transforms import compose, parse_transform
from evslam.types import SensorSize

CALIBRATION_FILES = (
    "calib.yaml", "calib.txt", "calib.yml", "calib.xml", "calib.json", "calibration.yaml", "calibration.json",
    "camera_info.yaml", "*camchain*.yaml", "cam_to_cam.yaml",
)  # fmt: skip
GROUNDTRUTH_FILES = ("groundtruth.txt", "groundtruth.csv", "groundtruth.npz", "stamped_groundtruth.txt")
KITTI_TIMES, IMU_FILE = "times.txt", "imu.txt"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Companions:
    """The files beside the events; what is missing is None.

    Attributes:
        dataset: name of the public dataset whose layout this is.
        calibration, camera: the calibration file, and which of its cameras.
        looked_for: in words, the calibration files that were looked for, and where.
        groundtruth, pose_options: the poses, and how to understand them.
        imu: text with inertial measurements.
        size: resolution of the dataset's sensor.
        findings: what is wrong with them, in words.
        about: the dataset, in words: where to get it, licence, what of its layout is not certain.
    """

    dataset: str | None
    calibration: Path | None
    camera: str | None
    looked_for: str
    groundtruth: Path | None
    pose_options: PoseOptions
    imu: Path | None
    size: SensorSize | None = None
    findings: tuple[str, ...] = ()
    about: str = "no known dataset"


def companions_in(folder: Path) -> Companions:
    """What lies in a folder under the names that evslam knows."""
    groundtruth, times = _first(folder, GROUNDTRUTH_FILES), folder / KITTI_TIMES
    options = PoseOptions(times=times if times.is_file() else None)
    return Companions(
        dataset=None,
        calibration=_first(folder, CALIBRATION_FILES),
        camera=None,
        looked_for=f"{', '.join(CALIBRATION_FILES)} in {folder}",
        groundtruth=groundtruth,
        pose_options=options,
        imu=_first(folder, (IMU_FILE,)),
    )


def companions_of(match: Match) -> Companions:
    """What the layout of a public dataset says."""
    layout = match.layout
    calibration = match.find(layout.calibration)
    T_body_cam, findings = _hand_eye(match, calibration)
    places = ", ".join(str(match.folder / beside) for beside in layout.beside)
    names = ", ".join(match.fill(pattern) for pattern in layout.calibration)
    return Companions(
        dataset=layout.name,
        calibration=calibration,
        camera=layout.camera,
        looked_for=f"{names} ({layout.name}) in {places}",
        groundtruth=match.find(layout.groundtruth),
        pose_options=PoseOptions(unit=layout.groundtruth_unit, T_body_cam=T_body_cam),
        imu=match.folder / layout.imu if layout.imu and (match.folder / layout.imu).is_file() else None,
        size=layout.size,
        findings=findings,
        about=f"{layout.name} ({layout.page}); licence: {layout.licence}"
        + (f"; not verified: {layout.unverified}" if layout.unverified else ""),
    )


def _hand_eye(match: Match, calibration: Path | None) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """T_body_cam of the dataset's ground truth, None for a pose of the camera itself or where a file is missing."""
    product: np.ndarray | None = None
    for factor in match.layout.hand_eye:
        words, inverse = factor.strip(), factor.strip().startswith("inverse ")
        words = words.removeprefix("inverse ")
        file, separator, key = words.partition("#")
        if separator:
            path = calibration if file == "calibration" else match.find((file,))
            if path is None:
                missing = f"{match.layout.name}: {file} is missing, so the ground truth is the pose of the body"
                return None, (f"{missing}, not of the camera; put it beside the recording",)
            words = f"{path}#{key}"
        try:
            transform = parse_transform(f"inverse {words}" if inverse else words)
        except CalibrationError as error:
            return None, (f"the ground truth is the pose of the body, not of the camera: {error}",)
        product = transform if product is None else compose(product, transform)[0]
    return None if product is None else tuple(product.tolist()), ()


def _first(folder: Path, patterns: tuple[str, ...]) -> Path | None:
    """The first file that matches; several that match one pattern are worth a warning."""
    for pattern in patterns:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if len(found) > 1:
            _log.warning("%s: %s is used of %s", folder, found[0].name, ", ".join(path.name for path in found))
        if found:
            return found[0]
    return None
