"""Rigid transforms as calibration files and options give them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.errors import CalibrationError, DataError
from evslam.io.calibration_forms import numbers
from evslam.io.calibration_tree import read_tree
from evslam.io.pose_tables import poses_from_matrices

POSE_KEYS = ("px", "py", "pz", "qx", "qy", "qz", "qw")
REMEDY = 'give "x y z qx qy qz qw", or FILE#KEY of a calibration file, such as camchain.yaml#cam0.T_cam_imu'


def parse_transform(text: str) -> np.ndarray:
    """A transform (7,) from numbers or from FILE#KEY, with a leading "inverse " for the other direction.

    Args:
        text: seven numbers x y z qx qy qz qw, a matrix of 12 or 16 row by row, or a key of a calibration file.

    Raises:
        CalibrationError: none of them, or the file lacks the transform.
    """
    body = text.strip()
    inverse = body.startswith("inverse ")
    body = body.removeprefix("inverse ").strip()
    file, separator, key = body.rpartition("#")
    if separator:
        pose = read_transform(Path(file), key)
    elif len(body.split()) in (7, 12, 16):
        pose = _pose(f"transform {text!r}", body.split())
    else:
        raise CalibrationError(f"transform {text!r} has {len(body.split())} words; {REMEDY}")
    return invert(pose) if inverse else pose


def read_transform(path: Path, key: str) -> np.ndarray:
    """A transform (7,) from a calibration file.

    Args:
        path: any file that `evslam.io.calibration_tree.read_tree` reads.
        key: names and indices on the way to it, separated by dots: "cam0.T_cam_imu", "value0.T_imu_cam.2".

    Raises:
        CalibrationError: there is no such key, or no transform behind it.
    """
    value = read_tree(path)
    for name in key.split("."):
        try:
            value = value[int(name)] if isinstance(value, list) else value[name]
        except (LookupError, TypeError, ValueError):
            there = ", ".join(map(str, value)) if isinstance(value, Mapping) else f"{type(value).__name__}"
            raise CalibrationError(f"{path}: no key {name!r} of {key!r}; there is: {there[:200]}; {REMEDY}") from None
    return _pose(f"{path}, {key}", value)


def invert(poses: np.ndarray) -> np.ndarray:
    """The inverse of each pose (..., 7)."""
    flat = poses.reshape(-1, 7)
    rotation = Rotation.from_quat(flat[:, 3:]).inv()
    return np.hstack([-rotation.apply(flat[:, :3]), rotation.as_quat()]).reshape(poses.shape)


def compose(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left @ right of poses (N, 7) or (7,), broadcast over N."""
    left, right = np.atleast_2d(left), np.atleast_2d(right)
    rotation = Rotation.from_quat(left[:, 3:])
    return np.hstack(
        [left[:, :3] + rotation.apply(right[:, :3]), (rotation * Rotation.from_quat(right[:, 3:])).as_quat()]
    )


def _pose(place: str, value: Any) -> np.ndarray:
    """A pose of seven numbers, of px ... qw by name, or of a 4 x 4 or 3 x 4 matrix."""
    try:
        words = [value[key] for key in POSE_KEYS] if isinstance(value, Mapping) and "px" in value else numbers(value)
        flat = np.array([float(word) for word in words])
    except (LookupError, TypeError, ValueError):
        raise CalibrationError(f"{place}: no transform; {REMEDY}") from None
    if len(flat) == 7 and abs(np.linalg.norm(flat[3:]) - 1) < 1e-2 and np.isfinite(flat).all():
        return np.concatenate([flat[:3], flat[3:] / np.linalg.norm(flat[3:])])
    if len(flat) in (12, 16):
        try:
            return poses_from_matrices(flat.reshape(1, -1, 4), lambda _: place)[0]
        except DataError as error:
            raise CalibrationError(str(error)) from None
    raise CalibrationError(f"{place}: {len(flat)} numbers that are no transform; {REMEDY}")
