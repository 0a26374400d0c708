"""Where the IMU sits in the camera, as calibration files tell it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from evslam.io.calibration_tree import read_tree
from evslam.io.transforms import read_transform
from evslam.types import SensorSize

KEY = "T_cam_imu"


def read_T_cam_imu(path: Path, size: SensorSize, camera: str | None = None) -> tuple[str, np.ndarray] | None:
    """T_cam_imu (7,) of a Kalibr camchain-imucam, and its key; None where the file names none.

    Args:
        path: any calibration file.
        size: the sensor's resolution, which chooses among several cameras where `camera` does not.
        camera: which camera of the file.

    Raises:
        CalibrationError: the file is missing or malformed, or what it names is no transform.
    """
    tree = read_tree(path)
    if not isinstance(tree, Mapping):
        return None
    known = {str(name): entry for name, entry in tree.items() if isinstance(entry, Mapping) and KEY in entry}
    wanted = [size.width, size.height]
    fitting = [name for name, entry in known.items() if entry.get("resolution", wanted) == wanted]
    names = [camera] if camera in known else [] if camera is not None else fitting
    return (f"{names[0]}.{KEY}", read_transform(path, f"{names[0]}.{KEY}")) if names else None
