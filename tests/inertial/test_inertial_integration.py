"""Integrals of rates and forces against the motion that they are derivatives of, and against plain loops."""

from __future__ import annotations

import inertial_scenes as scenes
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.geometry.turning import turned
from evslam.inertial.integration import increments

GRAVITY = np.array([0.0, 0.0, -9.81])


def test_turned_is_the_product_of_the_steps() -> None:
    rng = np.random.default_rng(0)
    t, omega = np.cumsum(rng.uniform(0.001, 0.01, 37)), rng.normal(0, 2, (37, 3))
    expected = [Rotation.identity()]
    for k in range(36):
        expected.append(expected[-1] * Rotation.from_rotvec((omega[k] + omega[k + 1]) / 2 * (t[k + 1] - t[k])))
    apart = (turned(t, omega).inv() * Rotation.concatenate(expected)).magnitude()
    assert apart.max() < 1e-12


def test_turned_follows_a_motion() -> None:
    motion = scenes.hand_held()
    imu = scenes.measured(motion)
    seconds = imu.t_us * 1e-6
    true = Rotation.from_matrix(motion.axes(seconds))
    apart = ((true[0] * turned(seconds, imu.gyro)).inv() * true).magnitude()
    assert apart.max() < 2e-6


def test_increments_follow_a_motion() -> None:
    motion = scenes.hand_held()
    imu = scenes.measured(motion)
    seconds, nodes = imu.t_us * 1e-6, np.sort(np.random.default_rng(0).uniform(0.1, 9.9, 40))
    bias = np.array([0.1, -0.2, 0.3])
    moved = increments(seconds, motion.axes(seconds), imu.acceleration + bias, nodes)
    velocity, position, dt = motion.velocity(nodes), motion.position(nodes), np.diff(nodes)[:, None]
    told = moved.velocity + GRAVITY * dt - moved.velocity_by_bias @ bias
    assert told == pytest.approx(np.diff(velocity, axis=0), abs=1e-5)
    told = moved.position + GRAVITY * dt**2 / 2 - moved.position_by_bias @ bias
    assert told == pytest.approx(np.diff(position, axis=0) - velocity[:-1] * dt, abs=1e-5)


def test_increments_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(2)
    t, force = np.arange(101) * 0.01, rng.normal(0, 1, (101, 3))
    axes = Rotation.from_rotvec(rng.normal(0, 1, (101, 3))).as_matrix()
    moved = increments(t, axes, force, t[[0, 30, 100]])
    for k, (first, last) in enumerate([(0, 30), (30, 100)]):
        velocity, position = np.zeros(3), np.zeros(3)
        for j in range(first, last):
            now, then = axes[j] @ force[j], axes[j + 1] @ force[j + 1]
            position = position + 0.01 * velocity + 0.01**2 * (2 * now + then) / 6
            velocity = velocity + 0.01 * (now + then) / 2
        assert moved.velocity[k] == pytest.approx(velocity, abs=1e-10)
        assert moved.position[k] == pytest.approx(position, abs=1e-10)
