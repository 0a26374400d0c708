"""A map moved into metres with gravity along -z stays the same map."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.inertial.scale_problem import ScaleFit
from evslam.inertial.world import MetricWorld, upright
from evslam.multiview.edges import EdgePoints
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame, Trajectory

GRAVITY = 9.81 * np.array([0.1, 0.9, 0.2]) / np.linalg.norm([0.1, 0.9, 0.2])


def test_gravity_points_down_and_the_camera_ahead() -> None:
    rotation = upright(GRAVITY, np.eye(3))
    assert rotation @ rotation.T == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert rotation @ GRAVITY == pytest.approx([0, 0, -9.81])
    ahead = rotation @ [0, 0, 1]
    assert ahead[1] == pytest.approx(0, abs=1e-12)
    assert ahead[0] > 0.9


def test_a_camera_that_looks_down_has_a_heading_too() -> None:
    rotation = upright(np.array([0, 0, 9.81]), np.eye(3))
    assert rotation @ [0, 0, 1] == pytest.approx([0, 0, -1])
    assert rotation @ [0, -1, 0] == pytest.approx([1, 0, 0])


def test_bearings_and_depths_are_those_of_before() -> None:
    rng, map_ = np.random.default_rng(0), SparseMap()
    map_.add_landmarks(rng.normal(0, 1, (5, 3)), np.arange(5))
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = Rotation.random(rng=0).as_matrix(), [0.1, 0.2, 3.0]
    frame = PointFrame(1000, np.arange(5), np.zeros((5, 2)))
    keyframe = map_.add_keyframe(frame, pose, np.ones(5, bool))
    keyframe.edges = EdgePoints(np.zeros((1, 2)), np.array([0.5]), np.array([0.1]), np.ones((1, 2)), np.ones(1))
    before = map_.points @ pose[:3, :3].T + pose[:3, 3]
    path = Trajectory(np.array([1000]), np.concatenate([-pose[:3, :3].T @ pose[:3, 3],
                      Rotation.from_matrix(pose[:3, :3].T).as_quat()])[None])  # fmt: skip
    world = MetricWorld.of(ScaleFit(0.5, GRAVITY, np.zeros(3), 1e-3), np.eye(3))
    world.move(map_)
    moved = keyframe.T_cam_world
    assert map_.points @ moved[:3, :3].T + moved[:3, 3] == pytest.approx(2 * before)
    assert keyframe.edges.inverse_depth.tolist() == [0.25]
    assert keyframe.edges.sigma.tolist() == [0.05]
    told = world.trajectory(path)
    assert told.position[0] == pytest.approx(-moved[:3, :3].T @ moved[:3, 3])
    assert Rotation.from_quat(told.quaternion[0]).as_matrix() == pytest.approx(moved[:3, :3].T)
