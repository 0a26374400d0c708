"""A hand-held motion with an exact IMU, for tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.sim.config import ImuConfig, MotionConfig
from evslam.sim.imu import simulate_imu
from evslam.sim.motion import Motion
from evslam.sim.paths import build_motion
from evslam.types import Imu, Trajectory

EXACT = ImuConfig(
    gyro_noise_density=0, acc_noise_density=0, gyro_bias_sigma=0, acc_bias_sigma=0, gyro_bias_walk=0, acc_bias_walk=0
)
DURATION_S = 10.0
T_CAM_IMU = np.concatenate([[0.06, -0.02, 0.03], Rotation.from_euler("xyz", [80, -10, 170], degrees=True).as_quat()])
GYRO_BIAS, ACCEL_BIAS = np.array([0.02, -0.01, 0.015]), np.array([0.1, -0.08, 0.05])


def hand_held(seed: int = 0, speed: float = 0.4) -> Motion:
    """Ten seconds."""
    config = MotionConfig("handheld", speed=speed, rate_deg=25, frequency_hz=0.4)
    return build_motion(config, np.random.default_rng(seed), DURATION_S)


def measured(motion: Motion, config: ImuConfig = EXACT, seed: int = 0) -> Imu:
    """In camera axes."""
    return simulate_imu(motion, config, DURATION_S, np.random.SeedSequence(seed))[0]


def measured_elsewhere(motion: Motion, step_s: float = 1e-4) -> Imu:
    """Exact, by an IMU that sits at T_CAM_IMU, with biases."""
    imu = measured(motion)
    turn, lever = Rotation.from_quat(T_CAM_IMU[3:]), T_CAM_IMU[:3]
    seconds = imu.t_us * 1e-6
    rate = motion.angular_velocity(seconds)
    bent = (motion.angular_velocity(seconds + step_s) - motion.angular_velocity(seconds - step_s)) / (2 * step_s)
    force = imu.acceleration + np.cross(bent, lever) + np.cross(rate, np.cross(rate, lever))
    return Imu(imu.t_us, turn.inv().apply(force) + ACCEL_BIAS, turn.inv().apply(rate) + GYRO_BIAS)


def seen(motion: Motion, units_per_metre: float, late_s: float = 0.0, noise: float = 0.0) -> Trajectory:
    """The path at 100 Hz as a camera tells it: from its first pose on, in a unit of its own, late and noisy."""
    t = np.arange(0.05, DURATION_S - 0.05, 0.01)
    rng = np.random.default_rng(1)
    true = motion.trajectory(t)
    first = Rotation.from_quat(true.quaternion[0]).inv()
    position = units_per_metre * first.apply(true.position - true.position[0]) + rng.normal(0, noise, (len(t), 3))
    turn = first * Rotation.from_quat(true.quaternion) * Rotation.from_rotvec(rng.normal(0, noise, (len(t), 3)))
    trajectory = Trajectory(true.t_us, np.hstack([position, turn.as_quat()]))
    return replace(trajectory, t_us=trajectory.t_us + round(1e6 * late_s))


def gravity_in(motion: Motion) -> np.ndarray:
    """Gravity (3,) in the axes of the first camera of `seen`."""
    return np.asarray(motion.axes(np.array([0.05]))[0].T @ [0.0, 0.0, -9.81])
