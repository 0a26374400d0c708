"""The place of the IMU in calibration files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from evslam.errors import CalibrationError
from evslam.io.extrinsics import read_T_cam_imu
from evslam.types import SensorSize

SIZE = SensorSize(height=180, width=240)
MATRIX = [[0.0, -1.0, 0.0, 0.1], [1.0, 0.0, 0.0, 0.2], [0.0, 0.0, 1.0, 0.3], [0.0, 0.0, 0.0, 1.0]]
HALF = np.sqrt(0.5)


def write(path: Path, **cameras: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(cameras), encoding="utf-8")
    return path


def test_the_camera_of_the_sensor_is_taken(tmp_path: Path) -> None:
    other = [[1.0, 0, 0, 9], [0, 1, 0, 9], [0, 0, 1, 9], [0, 0, 0, 1]]
    cameras = {
        "cam0": {"T_cam_imu": other, "resolution": [752, 480]},
        "cam1": {"T_cam_imu": MATRIX, "resolution": [240, 180]},
    }
    path = write(tmp_path / "camchain-imucam.yaml", **cameras)
    found = read_T_cam_imu(path, SIZE)
    assert found is not None
    assert found[0] == "cam1.T_cam_imu"
    assert found[1] == pytest.approx([0.1, 0.2, 0.3, 0, 0, HALF, HALF])
    named = read_T_cam_imu(path, SIZE, "cam0")
    assert named is not None
    assert named[1][:3].tolist() == [9, 9, 9]


def test_no_imu_no_transform(tmp_path: Path) -> None:
    assert read_T_cam_imu(write(tmp_path / "chain.yaml", cam0={"resolution": [240, 180]}), SIZE) is None
    (tmp_path / "calib.txt").write_text("200 200 120 90\n")
    assert read_T_cam_imu(tmp_path / "calib.txt", SIZE) is None


def test_what_is_no_transform_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "chain.yaml", cam0={"T_cam_imu": [1.0, 2.0]})
    with pytest.raises(CalibrationError, match="T_cam_imu"):
        read_T_cam_imu(path, SIZE)
