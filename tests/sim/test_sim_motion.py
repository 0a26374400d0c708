"""Motion, inertial measurements and trajectories."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.errors import ConfigError
from evslam.sim.config import ImuConfig, MotionConfig
from evslam.sim.imu import simulate_imu
from evslam.sim.motion import GRAVITY
from evslam.sim.paths import LOOK_FORWARD, PATHS, build_motion

QUIET = ImuConfig(1000, 0, 0, 0, 0, 0, 0)


def motion_of(kind: str, duration: float = 2.0):  # type: ignore[no-untyped-def]
    config = MotionConfig(kind, speed=0.5, rate_deg=60, frequency_hz=0.6, heading_deg=30, pitch_deg=10)
    return build_motion(config, np.random.default_rng(3), duration)


@pytest.mark.parametrize("kind", list(PATHS))
def test_imu_is_the_derivative_of_the_pose(kind: str) -> None:
    motion = motion_of(kind)
    imu, _ = simulate_imu(motion, QUIET, 2.0, np.random.SeedSequence(0))
    t, h = imu.t_us[100:1900:50] * 1e-6, 1e-3
    acceleration = (motion.position(t + h) - 2 * motion.position(t) + motion.position(t - h)) / h**2
    force = np.einsum("nji,nj->ni", motion.axes(t), acceleration - GRAVITY)
    np.testing.assert_allclose(imu.acceleration[100:1900:50], force, atol=2e-3)
    turn = Rotation.from_matrix(motion.axes(t - h)).inv() * Rotation.from_matrix(motion.axes(t + h))
    np.testing.assert_allclose(imu.gyro[100:1900:50], turn.as_rotvec() / (2 * h), atol=1e-4)


def test_trajectory_holds_the_poses_of_the_motion() -> None:
    motion, t = motion_of("handheld"), np.array([0.0, 0.7312344, 2.0])
    trajectory = motion.trajectory(t)
    assert trajectory.t_us.tolist() == [0, 731234, 2_000_000]
    np.testing.assert_allclose(trajectory.position[1], motion.position(np.array([0.731234]))[0], rtol=1e-12)
    axes = Rotation.from_quat(trajectory.quaternion).as_matrix()
    np.testing.assert_allclose(axes[2], motion.axes(np.array([2.0]))[0], atol=1e-12)


def test_camera_looks_forward_with_its_rows_down() -> None:
    right, down, forward = LOOK_FORWARD.as_matrix().T
    np.testing.assert_allclose([right, down, forward], [[0, -1, 0], [0, 0, -1], [1, 0, 0]], atol=1e-12)


def test_resting_camera_measures_gravity_upwards() -> None:
    motion = build_motion(MotionConfig("handheld"), np.random.default_rng(0), 1.0)
    np.testing.assert_allclose(motion.specific_force(np.array([0.5])), [[0, -9.81, 0]], atol=1e-9)


@pytest.mark.parametrize(("kind", "rate"), [("handheld", 190.0), ("pan", 33.0)])
def test_mean_rate_is_the_configured_one(kind: str, rate: float) -> None:
    motion = build_motion(MotionConfig(kind, rate_deg=rate), np.random.default_rng(1), 14.0)
    figures = motion.summary(14.0)
    assert figures["w_mean_deg"] == pytest.approx(rate, rel=0.15)
    assert figures["path_m"] == 0
    assert figures["rot_path_deg"] > (360 if kind == "pan" else 2000)


def test_slider_travels_straight_and_starts_and_stops_at_rest() -> None:
    motion = build_motion(MotionConfig("slider", speed=0.25), np.random.default_rng(0), 4.0)
    assert motion.summary(4.0)["path_m"] == pytest.approx(1.0, abs=2e-3)
    np.testing.assert_allclose(motion.velocity(np.array([0.0, 4.0])), 0, atol=5e-3)
    np.testing.assert_allclose(
        motion.position(np.array([4.0])) - motion.position(np.array([0.0])), [[0, -1, 0]], atol=1e-3
    )


def test_walk_turns_back_at_the_end_of_the_way() -> None:
    config = MotionConfig("walk", speed=1.0, extent=(2.0, 0.0))
    x = build_motion(config, np.random.default_rng(0), 4.0).position(np.array([0.0, 2.0, 4.0]))[:, 0]
    np.testing.assert_allclose(x - x[0], [0, 2, 0], atol=0.15)


def test_imu_noise_and_bias_have_the_configured_size() -> None:
    imu, bias = simulate_imu(motion_of("handheld", 20.0), ImuConfig(), 20.0, np.random.SeedSequence(5))
    quiet, _ = simulate_imu(motion_of("handheld", 20.0), QUIET, 20.0, np.random.SeedSequence(5))
    assert len(imu.t_us) == 20_001
    assert (np.diff(imu.t_us) == 1000).all()
    for noisy, true, density, name in (
        (imu.gyro, quiet.gyro, 0.00017, "gyro_bias0"),
        (imu.acceleration, quiet.acceleration, 0.002, "acc_bias0"),
    ):
        assert np.diff(noisy - true, axis=0).std() == pytest.approx(density * np.sqrt(1000) * np.sqrt(2), rel=0.05)
        np.testing.assert_allclose((noisy - true)[:200].mean(0), bias[name], atol=0.02)


def test_unknown_motion_is_named() -> None:
    with pytest.raises(ConfigError, match="'flying' is unknown; use one of handheld"):
        build_motion(MotionConfig("flying"), np.random.default_rng(0), 1.0)
