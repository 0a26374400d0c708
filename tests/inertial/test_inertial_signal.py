"""Inertial measurements: units told by their size, order, gaps, axes."""

from __future__ import annotations

import inertial_scenes as scenes
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.inertial.signal import STANDARD_GRAVITY, longest_stretch, prepare
from evslam.types import Imu

IMU = scenes.measured(scenes.hand_held())


def test_good_measurements_stay() -> None:
    signal = prepare(IMU)
    assert signal.notes == ()
    assert signal.force is not None
    assert np.array_equal(signal.force, IMU.acceleration)
    assert np.array_equal(signal.gyro, IMU.gyro)


def test_units_are_told_by_size() -> None:
    signal = prepare(Imu(IMU.t_us, IMU.acceleration / STANDARD_GRAVITY, np.degrees(IMU.gyro)))
    assert signal.force is not None
    assert signal.force == pytest.approx(IMU.acceleration)
    assert signal.gyro == pytest.approx(IMU.gyro)
    assert ["degrees/s" in signal.notes[0], "units of g" in signal.notes[1]] == [True, True]


def test_slow_degrees_are_told_too() -> None:
    signal = prepare(Imu(IMU.t_us, IMU.acceleration, np.degrees(IMU.gyro) * 0.4))
    assert signal.gyro == pytest.approx(0.4 * IMU.gyro)


@pytest.mark.parametrize("factor", [0.0, 0.3, 1000.0])
def test_an_accelerometer_without_gravity_is_not_used(factor: float) -> None:
    signal = prepare(Imu(IMU.t_us, factor * IMU.acceleration, IMU.gyro))
    assert signal.force is None
    assert "accelerometer is not used" in signal.notes[0]


def test_samples_are_put_in_order_and_counted() -> None:
    order = np.random.default_rng(0).permutation(len(IMU.t_us))
    order[:3] = order[3]
    gyro = IMU.gyro[order].copy()
    gyro[10, 1] = np.nan
    signal = prepare(Imu(IMU.t_us[order], IMU.acceleration[order], gyro))
    assert (np.diff(signal.t_us) > 0).all()
    assert len(signal) == len(IMU.t_us) - 4
    assert signal.notes[0].startswith("4 IMU samples")
    rows = np.searchsorted(IMU.t_us, signal.t_us)
    assert np.array_equal(signal.gyro, IMU.gyro[rows])


def test_nothing_usable_is_an_error() -> None:
    with pytest.raises(DataError, match="0 usable samples of 3"):
        prepare(Imu(np.arange(3), np.full((3, 3), np.nan), np.zeros((3, 3))))


def test_axes_are_turned_into_those_of_the_camera() -> None:
    turn = Rotation.from_quat(scenes.T_CAM_IMU[3:])
    signal = prepare(Imu(IMU.t_us, turn.inv().apply(IMU.acceleration), turn.inv().apply(IMU.gyro)), scenes.T_CAM_IMU)
    assert signal.force is not None
    assert signal.force == pytest.approx(IMU.acceleration)
    assert signal.gyro == pytest.approx(IMU.gyro)
    assert signal.lever.tolist() == scenes.T_CAM_IMU[:3].tolist()


@pytest.mark.parametrize(
    ("times", "expected"), [([0, 1, 2], (0, 3)), ([0, 1, 90, 91, 95], (2, 5)), ([0, 5, 9, 80], (0, 3)), ([7], (0, 1))]
)
def test_longest_stretch(times: list[int], expected: tuple[int, int]) -> None:
    found = longest_stretch(np.array(times), 10)
    assert (found.start, found.stop) == expected
