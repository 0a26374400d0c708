"""What is expected of the next pose, and what a world that is moved does to it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.config import load_config
from evslam.geometry.similarity import Similarity
from evslam.multiview.observations import PointSightings
from evslam.tracking.gyro import Gyro
from evslam.tracking.point_pose import PointPose
from evslam.tracking.recent_motion import RecentMotion, mean_twist
from evslam.types import Imu

STEP_US = 10_000
OMEGA, V = np.array([0.0, 0.8, 0.0]), np.array([0.3, 0.0, 0.1])  # in the camera frame, per second
WORLD = Similarity(Rotation.from_rotvec([[0.2, -0.1, 0.3]]).as_matrix(), np.array([[1.0, 2.0, -0.5]]), np.array([1.4]))


def true_pose(number: int) -> np.ndarray:
    """T_cam_world (4, 4) after so many steps of one motion."""
    step = np.eye(4)  # T_before_now
    step[:3, :3], step[:3, 3] = Rotation.from_rotvec(OMEGA * STEP_US * 1e-6).as_matrix(), V * STEP_US * 1e-6
    return np.linalg.inv(np.linalg.matrix_power(step, number))


def by_points(T_cam_world: np.ndarray) -> PointPose:
    empty = PointSightings(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    return PointPose(T_cam_world, np.zeros(0, np.int64), np.zeros(0), 0, 4.0 * np.eye(6), empty)


def after(steps: int, gyro: Gyro | None = None) -> RecentMotion:
    motion = RecentMotion(gyro)
    motion.begin(true_pose(0))
    for number in range(1, steps + 1):
        motion.move(number * STEP_US, by_points(true_pose(number)))
    return motion


def test_the_next_pose_at_rest_and_at_constant_velocity() -> None:
    rest, going_on = after(5).expected()
    assert rest == pytest.approx(true_pose(5))
    assert going_on == pytest.approx(true_pose(6))


def test_the_twist_is_that_of_the_camera() -> None:
    motion = after(5)
    assert motion.twist[3:] == pytest.approx(OMEGA)
    assert motion.twist[:3] == pytest.approx(V, abs=0.003)  # in the axes at the end of the step, 0.008 rad further
    assert mean_twist(motion.around(3 * STEP_US, 0.01))[3:] == pytest.approx(OMEGA)
    assert [t_us for t_us, _ in motion.around(3 * STEP_US, 0.01)] == [20_000, 30_000, 40_000]


def test_a_gyroscope_turns_the_last_pose_on() -> None:
    t_us = np.arange(0, 200_000, 1000)
    rates = np.tile(OMEGA, (len(t_us), 1))
    motion = after(5, Gyro(Imu(t_us, np.zeros_like(rates), rates), load_config().gyro))
    turned = motion.turned(6 * STEP_US)
    assert turned is not None
    assert turned[:3, :3] == pytest.approx(true_pose(6)[:3, :3], abs=1e-6)
    assert np.linalg.inv(turned)[:3, 3] == pytest.approx(np.linalg.inv(true_pose(5))[:3, 3])
    assert motion.turned(300_000) is None
    assert after(5).turned(6 * STEP_US) is None


def test_all_of_it_goes_with_a_world_that_is_moved() -> None:
    motion, bent = after(5), true_pose(5).copy()
    bent[0, 3] += 0.01
    motion.bend_to(bent, true_pose(5))
    best, twist, last = motion.best_pose, motion.twist, motion.last
    assert best == pytest.approx(bent)
    assert last is not None
    pose = motion.carry(last[1], WORLD)
    assert pose.T_cam_world == pytest.approx(WORLD.carry(true_pose(5)))
    assert motion.best_pose == pytest.approx(WORLD.carry(best))
    assert motion.expected()[1] == pytest.approx(WORLD.carry(true_pose(6)))
    assert motion.twist == pytest.approx(twist * [1.4, 1.4, 1.4, 1, 1, 1])
    assert motion.poses[0][1] == pytest.approx(WORLD.carry(true_pose(1)))
    assert np.diag(motion.covariance(5 * STEP_US)) == pytest.approx([7.84, 7.84, 7.84, 4, 4, 4])


def test_only_a_frame_that_points_placed_has_a_covariance() -> None:
    motion = after(2)
    assert np.array_equal(motion.covariance(2 * STEP_US), 4 * np.eye(6))
    assert np.isnan(motion.covariance(STEP_US)).all()
    motion.begin(true_pose(0))
    assert np.isnan(motion.covariance(2 * STEP_US)).all()
    assert motion.expected()[1] == pytest.approx(true_pose(0))
    assert motion.around(STEP_US, 1.0) == []


def test_a_checkpoint_goes_on_where_it_was_taken() -> None:
    one, other = after(20), RecentMotion()
    other.load_state_dict(one.state_dict())
    for motion in (one, other):
        motion.move(21 * STEP_US, by_points(true_pose(21)))
    assert np.array_equal(other.expected(), one.expected())
    assert [t_us for t_us, _ in other.poses] == [k * STEP_US for k in range(6, 22)]
    assert np.array_equal(other.twist, one.twist)
