"""IMU files: text lines "t ax ay az gx gy gz" (s, m/s^2, rad/s)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from evslam.io.columns import format_row, load_columns
from evslam.types import Imu

LAYOUT = "t ax ay az gx gy gz"


def load_imu(path: Path) -> Imu:
    """Reads inertial measurements.

    Raises:
        DataError: see `evslam.io.columns.load_columns`; two rows are the least.
    """
    columns = load_columns(path, LAYOUT, minimum=2)
    return Imu(columns.t_us, columns.values[:, :3], columns.values[:, 3:])


def save_imu(imu: Imu, path: Path) -> None:
    """Writes inertial measurements with 12 significant digits."""
    with Path(path).open("w", encoding="ascii") as file:
        file.write(f"# {LAYOUT}\n")
        for t_us, row in zip(imu.t_us.tolist(), np.hstack([imu.acceleration, imu.gyro]).tolist(), strict=True):
            file.write(format_row(t_us, row, ".12g"))
