"""HDF5 of public datasets: what stands beside the events, and unfit files."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from evslam.errors import CalibrationError, DataError
from evslam.eval.bench.format_files import write_m3ed, write_mvsec
from evslam.geometry.camera import Camera
from evslam.io.hdf5 import Hdf5Reader
from evslam.io.poses import from_matrices
from evslam.io.recording import open_recording
from evslam.types import Events, SensorSize


def some_events() -> Events:
    zeros = np.zeros(3, np.uint16)
    return Events(np.array([5, 6, 1_000_000]), zeros, zeros, np.array([True, False, True]))


def add(path: Path, **datasets: Any) -> Path:
    with h5py.File(path, "a") as file:
        for name, values in datasets.items():
            file[name.replace("__", "/")] = values
    return path


def test_mvsec_imu_poses_and_frames(tmp_path: Path) -> None:
    write_mvsec(tmp_path / "a.hdf5", some_events())
    pose = np.array([[0, -1, 0, 1.0], [1, 0, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    images = np.arange(2 * 4 * 6, dtype=np.uint8).reshape(2, 4, 6)
    path = add(
        tmp_path / "a.hdf5",
        davis__left__imu=np.arange(12.0).reshape(2, 6), davis__left__imu_ts=[0.001, 0.002],
        davis__left__pose=np.stack([np.eye(4), pose]), davis__left__pose_ts=[0.0, 0.5],
        davis__left__image_raw=images, davis__left__image_raw_ts=[0.25, 0.75],
    )  # fmt: skip
    recording = open_recording(path)
    assert (recording.format, recording.size) == ("MVSEC HDF5", SensorSize(260, 346))
    assert recording.imu is not None
    assert recording.imu.t_us.tolist() == [1_000, 2_000]
    assert recording.imu.gyro[1].tolist() == [9, 10, 11]
    assert recording.groundtruth is not None
    assert recording.groundtruth.t_us.tolist() == [0, 500_000]
    np.testing.assert_allclose(recording.groundtruth.poses[1], [1, 2, 3, 0, 0, np.sqrt(0.5), np.sqrt(0.5)])
    frames = list(recording.reader.frames())
    assert [frame.t_us for frame in frames] == [250_000, 750_000]
    np.testing.assert_array_equal(frames[1].image, images[1])


def test_m3ed_imu_and_size(tmp_path: Path) -> None:
    write_m3ed(tmp_path / "a.h5", some_events())
    accel, omega = np.arange(6.0).reshape(2, 3), np.arange(6.0, 12).reshape(2, 3)
    path = add(tmp_path / "a.h5", ovc__imu__ts=[10, 20], ovc__imu__accel=accel, ovc__imu__omega=omega)
    recording = open_recording(path)
    assert (recording.format, recording.size) == ("M3ED HDF5", SensorSize(480, 640))
    assert recording.imu is not None
    assert recording.imu.acceleration.tolist() == accel.tolist()
    assert recording.imu.gyro.tolist() == omega.tolist()
    assert recording.groundtruth is None


def test_m3ed_calibration(tmp_path: Path) -> None:
    write_m3ed(tmp_path / "a.h5", some_events())
    inside = {
        "prophesee__left__calib__intrinsics": [320.0, 321.0, 300.0, 200.0],
        "prophesee__left__calib__distortion_coeffs": [-0.1, 0.2, 0.01, 0.02],
        "prophesee__left__calib__distortion_model": "radtan",
    }
    camera = open_recording(add(tmp_path / "a.h5", **inside)).require_camera()
    assert camera == Camera(320, 321, 300, 200, SensorSize(480, 640), "radtan", (-0.1, 0.2, 0.01, 0.02, 0.0))
    with h5py.File(tmp_path / "a.h5", "a") as file:
        del file["prophesee/left/calib/distortion_model"]
    with pytest.raises(
        CalibrationError, match=r"4 coefficients of the model None; give a calibration with --calib FILE"
    ):
        open_recording(tmp_path / "a.h5").require_camera()


def test_offset_is_added(tmp_path: Path) -> None:
    events = {f"events__{name}": getattr(some_events(), name) for name in "txyp"}
    reader = Hdf5Reader(add(tmp_path / "a.h5", **events, t_offset=np.int64(49_599_250_523)))
    assert (reader.t_first_us, reader.t_last_us) == (49_599_250_528, 49_600_250_523)


@pytest.mark.parametrize(
    ("datasets", "message"),
    [
        ({"davis__left__events": np.zeros((4, 3))}, r"davis/left/events has type float64 and shape \(4, 3\)"),
        ({"davis__left__events": np.full((2, 4), np.nan)}, r"event 0: time nan is no time; leave it out"),
        ({"CD__events": [1]}, r"there are: CD/events; .*Metavision's own HDF5 needs its plugin, convert it to RAW"),
    ],
)
def test_unfit_files_are_refused(datasets: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        Hdf5Reader(add(tmp_path / "a.h5", **datasets))


@pytest.mark.parametrize("offset", [np.array([1, 2]), np.float64(1.5), b"text"])
def test_unfit_offset_is_refused(offset: Any, tmp_path: Path) -> None:
    events = {f"events__{name}": getattr(some_events(), name) for name in "txyp"}
    with pytest.raises(DataError, match="t_offset"):
        Hdf5Reader(add(tmp_path / "a.h5", **events, t_offset=offset))


def test_pixel_that_is_no_number_is_dropped_and_counted(tmp_path: Path) -> None:
    rows = np.array([[1, 2, 0.1, 1], [np.nan, 2, 0.2, 1], [3, 4, 0.3, -1]])
    reader = Hdf5Reader(add(tmp_path / "a.h5", davis__left__events=rows))
    assert Events.concatenate(list(reader.read())).x.tolist() == [1, 3]
    assert reader.counts.dropped_outside == 1


def test_matrices_that_are_no_motion_are_refused(tmp_path: Path) -> None:
    mirrored = np.diag([1.0, 1, -1, 1])
    with pytest.raises(DataError, match=r"a.h5, pose 1: its matrix is no rotation and translation; leave it out"):
        from_matrices(tmp_path / "a.h5", np.array([0, 1]), np.stack([np.eye(4), mirrored]))
    with pytest.raises(DataError, match=r"poses have shape \(1, 3, 4\), \(1, 4, 4\) is expected"):
        from_matrices(tmp_path / "a.h5", np.array([0]), np.eye(4)[None, :3])
