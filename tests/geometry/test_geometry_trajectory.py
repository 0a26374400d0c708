"""Interpolation between poses, exact in time, and path lengths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.geometry.trajectory import interpolate, path_length
from evslam.types import Trajectory


def straight(t_us: list[int], positions: list[list[float]], rotation: Rotation | None = None) -> Trajectory:
    quaternions = np.tile([0.0, 0.0, 0.0, 1.0], (len(t_us), 1)) if rotation is None else rotation.as_quat()
    return Trajectory(np.array(t_us, np.int64), np.hstack([np.array(positions, float).reshape(-1, 3), quaternions]))


TURN = Rotation.from_rotvec([[0, 0, 0], [0, 0, math.pi / 2], [0, 0, math.pi / 2]])
THREE = straight([1_000, 2_000, 4_000], [[0, 0, 0], [1, 0, 0], [1, 2, 0]], TURN)


def test_linear_and_spherical_linear() -> None:
    poses = interpolate(THREE, np.array([3_000, 1_500, 1_000]))
    np.testing.assert_allclose(poses[:, :3], np.array([[1, 1, 0], [0.5, 0, 0], [0, 0, 0]]), atol=1e-15)
    angles = Rotation.from_quat(poses[:, 3:]).as_rotvec()
    np.testing.assert_allclose(angles, np.outer([2, 1, 0], [0, 0, math.pi / 4]), atol=1e-15)


def test_own_poses_come_back() -> None:
    np.testing.assert_allclose(interpolate(THREE, THREE.t_us), THREE.poses, atol=1e-15)


def test_quaternion_signs_do_not_matter_and_stay() -> None:
    flipped = THREE.poses.copy()
    flipped[1, 3:] *= -1
    poses = interpolate(Trajectory(THREE.t_us, flipped), np.array([1_500, 2_000, 3_000]))
    expected = interpolate(THREE, np.array([1_500, 2_000, 3_000]))
    np.testing.assert_allclose(poses[0], expected[0], atol=1e-15)
    np.testing.assert_allclose(poses[1:, 3:], -expected[1:, 3:], atol=1e-15)


def test_microseconds_of_an_absolute_clock_are_kept() -> None:
    start = 1_700_000_000_000_000
    trajectory = straight([start, start + 3], [[0, 0, 0], [3, 0, 0]])
    np.testing.assert_allclose(interpolate(trajectory, start + np.arange(4))[:, 0], [0, 1, 2, 3], rtol=0, atol=1e-15)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), rate=st.floats(-20.0, 20.0))
def test_constant_motion_is_reproduced(seed: int, rate: float) -> None:
    random = np.random.default_rng(seed)
    t_us = np.cumsum(random.integers(1, 100_000, 20))
    axis = random.normal(size=3)
    axis /= np.linalg.norm(axis)
    velocity = random.normal(size=3)

    def poses(t: np.ndarray) -> np.ndarray:
        seconds = (t * 1e-6)[:, None]
        return np.hstack([seconds * velocity, Rotation.from_rotvec(rate * seconds * axis).as_quat()])

    query = random.integers(t_us[0], t_us[-1] + 1, 50)
    found, expected = interpolate(Trajectory(t_us, poses(t_us)), query), poses(query)
    np.testing.assert_allclose(found[:, :3], expected[:, :3], atol=1e-12)
    difference = Rotation.from_quat(found[:, 3:]) * Rotation.from_quat(expected[:, 3:]).inv()
    assert difference.magnitude().max() < 1e-12
    np.testing.assert_allclose(np.linalg.norm(found[:, 3:], axis=1), 1.0, atol=1e-14)


@pytest.mark.parametrize("time", [999, 4_001])
def test_a_time_outside_is_named_with_the_covered_interval(time: int) -> None:
    with pytest.raises(DataError, match=rf"no pose at {time} us \(1 of 2 times\): .* \[1000, 4000\] us"):
        interpolate(THREE, np.array([2_000, time]))


def test_a_single_pose_covers_its_own_time_only() -> None:
    single = Trajectory(THREE.t_us[:1], THREE.poses[:1])
    np.testing.assert_allclose(interpolate(single, np.array([1_000, 1_000])), THREE.poses[[0, 0]], atol=1e-15)
    with pytest.raises(DataError, match=r"\[1000, 1000\]"):
        interpolate(single, np.array([1_001]))


def test_no_times_no_poses() -> None:
    assert interpolate(THREE, np.empty(0, np.int64)).shape == (0, 7)


def test_broken_trajectories_are_refused() -> None:
    t_us, poses = THREE.t_us, THREE.poses
    with pytest.raises(DataError, match="has no poses"):
        interpolate(Trajectory.from_results([]), np.array([0]))
    with pytest.raises(DataError, match="2000 us is followed by 1000 us"):
        interpolate(Trajectory(t_us[[1, 0, 2]], poses), np.array([1_500]))
    for column, value in ((0, math.nan), (5, math.inf), (slice(3, 7), 0.0)):
        broken = poses.copy()
        broken[1, column] = value
        with pytest.raises(DataError, match="pose at 2000 us is"):
            interpolate(Trajectory(t_us, broken), np.array([1_500]))


def test_path_length() -> None:
    square = straight([0, 1, 2, 3, 4], [[0, 0, 1], [2, 0, 1], [2, 2, 1], [0, 2, 1], [0, 0, 1]])
    assert path_length(square) == pytest.approx(8.0, rel=1e-15)
    assert path_length(THREE) == pytest.approx(3.0, rel=1e-15)
    assert path_length(Trajectory(THREE.t_us[:1], THREE.poses[:1])) == 0.0
    assert path_length(Trajectory.from_results([])) == 0.0
    broken = THREE.poses.copy()
    broken[1, 2] = math.nan
    with pytest.raises(DataError, match="position of pose 1"):
        path_length(Trajectory(THREE.t_us, broken))
