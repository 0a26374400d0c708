"""Hypotheses of the relative pose of two views: the true one is among them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.multiview.two_view import linear_direction, rotation_angle_deg, two_view_hypotheses

FOCAL = 200.0


def two_views(flat: bool, noise_px: float, outliers: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """T_b_a (4, 4) with a translation of length 1, and bearings (150, 2) in both views."""
    rng = np.random.default_rng(seed)
    place = rng.uniform(-0.6, 0.6, (150, 2))
    depth = 8.0 / (1.0 - 0.4 * place[:, 0]) if flat else rng.uniform(4, 16, 150)
    points = np.column_stack([place * depth[:, None], depth])
    T_b_a = np.eye(4)
    T_b_a[:3, :3] = Rotation.from_rotvec([0.05, -0.1, 0.08]).as_matrix()
    T_b_a[:3, 3] = np.array([0.9, -0.2, 0.3]) / np.linalg.norm([0.9, -0.2, 0.3])
    moved = points @ T_b_a[:3, :3].T + T_b_a[:3, 3]
    a, b = place, moved[:, :2] / moved[:, 2:]
    noise = rng.normal(0, noise_px / FOCAL, (2, 150, 2))
    b = np.where(rng.random(150)[:, None] < outliers, rng.uniform(-0.6, 0.6, (150, 2)), b)
    return T_b_a, a + noise[0], b + noise[1]


@pytest.mark.parametrize(("flat", "outliers"), [(False, 0.0), (True, 0.0), (False, 0.3), (True, 0.3)])
def test_the_truth_is_among_few_hypotheses(flat: bool, outliers: float) -> None:
    for seed in range(5):
        true, a, b = two_views(flat, 0.3, outliers, seed)
        found = two_view_hypotheses(a, b, FOCAL, 10)
        assert 1 <= len(found) <= 10
        errors = [
            max(
                np.degrees(np.arccos(np.clip(one.T_b_a[:3, 3] @ true[:3, 3], -1, 1))),
                rotation_angle_deg(one.T_b_a[:3, :3].T @ true[:3, :3]),
            )
            for one in found
        ]
        assert min(errors) < 12


def test_hypotheses_are_sorted_different_and_of_length_one() -> None:
    _, a, b = two_views(False, 0.3, 0.1, 0)
    found = two_view_hypotheses(a, b, FOCAL, 10)
    shares = [one.in_front for one in found]
    assert shares == sorted(shares, reverse=True)
    for k, one in enumerate(found):
        assert np.linalg.norm(one.T_b_a[:3, 3]) == pytest.approx(1.0)
        np.testing.assert_allclose(one.T_b_a[:3, :3] @ one.T_b_a[:3, :3].T, np.eye(3), atol=1e-9)
        for other in found[:k]:
            near = one.T_b_a[:3, 3] @ other.T_b_a[:3, 3] > np.cos(np.radians(8))
            assert not near or rotation_angle_deg(one.T_b_a[:3, :3].T @ other.T_b_a[:3, :3]) >= 3


def test_no_more_than_asked_for_and_none_from_too_few_points() -> None:
    _, a, b = two_views(True, 0.3, 0.0, 0)
    assert len(two_view_hypotheses(a, b, FOCAL, 2)) == 2
    assert two_view_hypotheses(a[:7], b[:7], FOCAL, 10) == []


def test_direction_from_the_true_rotation() -> None:
    true, a, b = two_views(False, 0.1, 0.2, 3)
    direction = linear_direction(true[:3, :3], a, b, FOCAL)
    assert abs(direction @ true[:3, 3]) > np.cos(np.radians(2))


def test_the_same_input_gives_the_same_hypotheses() -> None:
    _, a, b = two_views(False, 0.3, 0.3, 1)
    first, second = (two_view_hypotheses(a, b, FOCAL, 10) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.T_b_a, other.T_b_a)
