"""Inertial measurements: derivatives of the motion, with white noise and a walking bias."""

from __future__ import annotations

import numpy as np

from evslam.sim.config import ImuConfig
from evslam.sim.motion import Motion
from evslam.types import Imu


def simulate_imu(
    motion: Motion, config: ImuConfig, duration: float, seed: np.random.SeedSequence
) -> tuple[Imu, dict[str, list[float]]]:
    """IMU in the camera frame, on the clock of the events.

    Arguments: duration: seconds, samples at 0, 1 / rate, ... up to it.
    Returns: measurements (specific force in m/s^2, angular velocity in rad/s) and the initial biases.
    """
    rng = np.random.default_rng(seed)
    t_us = np.round(np.arange(int(duration * config.rate_hz + 1e-6) + 1) * (1e6 / config.rate_hz)).astype(np.int64)
    seconds = t_us * 1e-6

    def measured(truth: np.ndarray, density: float, bias0: np.ndarray, walk: float) -> np.ndarray:
        white = rng.standard_normal(truth.shape) * density * np.sqrt(config.rate_hz)
        steps = rng.standard_normal(truth.shape) * walk / np.sqrt(config.rate_hz)
        return truth + white + bias0 + np.cumsum(steps, axis=0)

    gyro_bias, acc_bias = rng.standard_normal((2, 3)) * [[config.gyro_bias_sigma], [config.acc_bias_sigma]]
    gyro = measured(motion.angular_velocity(seconds), config.gyro_noise_density, gyro_bias, config.gyro_bias_walk)
    force = measured(motion.specific_force(seconds), config.acc_noise_density, acc_bias, config.acc_bias_walk)
    return Imu(t_us, force, gyro), {"gyro_bias0": gyro_bias.tolist(), "acc_bias0": acc_bias.tolist()}
