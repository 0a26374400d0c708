"""Rigid matrices against numpy's inverse and scipy's rotation vectors."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from evslam.geometry.rigid import inverse, rotation_vector, seen_from
from evslam.geometry.trajectory import camera_matrices, camera_poses


def motions(seed: int, count: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, :3, :3] = Rotation.random(count, random_state=seed).as_matrix()
    T[:, :3, 3] = rng.normal(size=(count, 3))
    return T


def test_inverse_is_the_matrix_inverse() -> None:
    T = motions(0, 20)
    np.testing.assert_allclose(inverse(T), np.linalg.inv(T), atol=1e-13)
    np.testing.assert_allclose(inverse(T[3]), np.linalg.inv(T[3]), atol=1e-13)


@given(seed=st.integers(0, 10_000), angle=st.sampled_from([0.0, 1e-12, 1e-6, 0.3, 2.0, 3.1, np.pi - 1e-7, np.pi]))
@settings(max_examples=50, deadline=None)
def test_rotation_vector_is_scipys(seed: int, angle: float) -> None:
    axis = np.random.default_rng(seed).normal(size=3)
    rotation = Rotation.from_rotvec(angle * axis / np.linalg.norm(axis))
    found = rotation_vector(rotation.as_matrix())
    assert abs(np.linalg.norm(found) - angle) < 1e-6
    assert (Rotation.from_rotvec(found) * rotation.inv()).magnitude() < 1e-6


def test_points_are_seen_where_the_matrix_takes_them() -> None:
    T, points = motions(1, 1)[0], np.random.default_rng(2).normal(size=(30, 3))
    bearing, depth = seen_from(T, points)
    there = (T @ np.column_stack([points, np.ones(30)]).T).T
    np.testing.assert_allclose(depth, there[:, 2], atol=1e-12)
    front = depth > 0.01
    assert front.any()
    np.testing.assert_allclose(bearing[front], there[front, :2] / there[front, 2:3], atol=1e-9)


def test_camera_matrices_undo_camera_poses() -> None:
    T = motions(3, 20)
    np.testing.assert_allclose(camera_matrices(camera_poses(T)), T, atol=1e-12)
