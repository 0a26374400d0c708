"""Metric scale, gravity, biases and offset of a path that is known up to scale."""

from __future__ import annotations

from dataclasses import replace

import inertial_scenes as scenes
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.config import load_config
from evslam.inertial.alignment import InertialEstimate, align_inertially
from evslam.inertial.signal import InertialSignal, prepare
from evslam.sim.config import ImuConfig
from evslam.types import Imu, Trajectory

CONFIG = load_config()
SPREAD = CONFIG.gyro.min_spread


def align(trajectory: Trajectory, signal: InertialSignal) -> InertialEstimate:
    return align_inertially(trajectory, signal, CONFIG.inertial, SPREAD)


def angle_deg(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(one, other)), one @ other)))


@pytest.mark.parametrize("units_per_metre", [0.1, 1.0, 7.0])
def test_exact_measurements_give_exact_answers(units_per_metre: float) -> None:
    motion = scenes.hand_held()
    trajectory = scenes.seen(motion, units_per_metre, late_s=0.0035)
    found = align(trajectory, prepare(scenes.measured_elsewhere(motion), scenes.T_CAM_IMU))
    assert found.is_sure
    assert found.fit is not None
    assert found.offset_s == pytest.approx(0.0035, abs=2e-5)
    turn = Rotation.from_quat(scenes.T_CAM_IMU[3:])
    assert found.gyro_bias == pytest.approx(turn.apply(scenes.GYRO_BIAS), abs=1e-4)
    assert found.fit.inverse_scale == pytest.approx(units_per_metre, rel=1e-3)
    assert angle_deg(found.fit.gravity, scenes.gravity_in(motion)) < 0.05
    assert found.fit.bias == pytest.approx(turn.apply(scenes.ACCEL_BIAS), abs=5e-3)


@pytest.mark.parametrize("seed", range(4))
def test_noisy_measurements_are_as_good_as_they_say(seed: int) -> None:
    motion = scenes.hand_held(seed)
    found = align(scenes.seen(motion, 0.5, noise=1e-3), prepare(scenes.measured(motion, ImuConfig(), seed)))
    assert found.is_sure
    assert found.fit is not None
    error = np.log(found.fit.inverse_scale / 0.5)
    assert abs(error) < 0.02
    assert abs(error) < 3 * found.scale_sigma
    assert found.scale_sigma < 0.02
    assert angle_deg(found.fit.gravity, scenes.gravity_in(motion)) < 0.5


def test_without_the_lever_the_scale_would_be_off() -> None:
    motion = scenes.hand_held()
    signal = prepare(scenes.measured_elsewhere(motion), scenes.T_CAM_IMU)
    found = align(scenes.seen(motion, 1.0), replace(signal, lever=np.zeros(3)))
    assert found.fit is not None
    assert abs(np.log(found.fit.inverse_scale)) > 0.005


def test_a_steady_motion_tells_no_scale() -> None:
    t = np.arange(0.1, 9.9, 0.01)
    position = np.outer(t, [0.3, 0.0, 0.0]) + np.random.default_rng(0).normal(0, 1e-3, (len(t), 3))
    poses = np.hstack([position, np.tile([0.0, 0.0, 0.0, 1.0], (len(t), 1))])
    trajectory = Trajectory(np.round(t * 1e6).astype(np.int64), poses)
    t_us, rng = np.arange(0, 10_000_000, 1000), np.random.default_rng(1)
    force = np.array([0.0, -9.81, 0.0]) + rng.normal(0, 0.06, (len(t_us), 3))
    found = align(trajectory, prepare(Imu(t_us, force, rng.normal(0, 0.005, (len(t_us), 3)))))
    assert not found.is_sure
    assert "scale" in found.reason


def test_wrong_axes_are_noticed() -> None:
    motion = scenes.hand_held()
    imu = scenes.measured(motion)
    found = align(scenes.seen(motion, 1.0), prepare(Imu(imu.t_us, imu.acceleration, imu.gyro[:, [1, 2, 0]])))
    assert not found.is_sure
    assert "axes" in found.reason
    assert found.fit is None


def test_slow_turns_in_degrees_are_noticed() -> None:
    motion = scenes.hand_held()
    imu = scenes.measured(motion)
    signal = replace(prepare(imu), gyro=np.degrees(imu.gyro))
    found = align(scenes.seen(motion, 1.0), signal)
    assert found.is_sure
    assert found.fit is not None
    assert found.fit.inverse_scale == pytest.approx(1.0, rel=5e-3)


def test_a_gap_leaves_the_longest_stretch() -> None:
    motion = scenes.hand_held()
    signal = prepare(scenes.measured(motion))
    found = align(scenes.seen(motion, 1.0), signal[(signal.t_us < 3_000_000) | (signal.t_us > 3_200_000)])
    assert found.is_sure
    assert found.duration_s == pytest.approx(10 - 0.05 - 3.2, abs=0.1)


@pytest.mark.parametrize(("first_us", "stop_us", "reason"), [
    (20_000_000, 30_000_000, "covers too little"),
    (0, 1_500_000, "are needed"),
])  # fmt: skip
def test_little_cover_is_told(first_us: int, stop_us: int, reason: str) -> None:
    motion = scenes.hand_held()
    imu = scenes.measured(motion)
    keep = slice(None) if first_us else imu.t_us < stop_us
    signal = prepare(Imu((imu.t_us + first_us)[keep], imu.acceleration[keep], imu.gyro[keep]))
    found = align(scenes.seen(motion, 1.0), signal)
    assert not found.is_sure
    assert reason in found.reason


def test_without_accelerometer_offset_and_bias_remain() -> None:
    motion = scenes.hand_held()
    imu = scenes.measured(motion)
    found = align(scenes.seen(motion, 1.0, late_s=0.002), prepare(Imu(imu.t_us, 0 * imu.acceleration, imu.gyro)))
    assert found.reason == "no accelerometer"
    assert found.figures()["offset_ms"] == pytest.approx(2.0, abs=0.05)
    assert found.figures()["scale"] is None


@pytest.mark.parametrize("poses", [0, 1, 5])
def test_hardly_any_pose_is_no_error(poses: int) -> None:
    motion = scenes.hand_held()
    whole = scenes.seen(motion, 1.0)
    found = align(Trajectory(whole.t_us[:poses], whole.poses[:poses]), prepare(scenes.measured(motion)))
    assert "covers too little" in found.reason
