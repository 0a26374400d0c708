"""Tracks that one rotation explains are found among others."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.tracking.turning import turning_together

FOCAL = 200.0


def turned(bearing: np.ndarray, vector: tuple[float, float, float]) -> np.ndarray:
    rays = np.column_stack([bearing, np.ones(len(bearing))]) @ Rotation.from_rotvec(vector).as_matrix().T
    return rays[:, :2] / rays[:, 2:]


@pytest.mark.parametrize("seed", range(4))
def test_a_dense_object_with_most_of_the_tracks_does_not_win(seed: int) -> None:
    """The scene is all over the image; the object has twice as many tracks in a corner of it."""
    rng = np.random.default_rng(seed)
    scene, body = rng.uniform(-0.5, 0.5, (50, 2)), rng.uniform(0.1, 0.35, (100, 2))
    before = np.concatenate([scene, body])
    after = turned(before, (0.05, -0.1, 0.2)) + rng.normal(0, 0.3 / FOCAL, before.shape)
    after[50:] += (0.15, -0.05)
    (found,) = turning_together(before, after, FOCAL, (4.0,))
    assert found[:50].all()
    assert not found[50:].any()


def test_parallax_up_to_the_limit_turns_along() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(-0.5, 0.5, (80, 2))
    parallax = rng.uniform(-3, 3, (80, 1)) * (1.0, 0.0) / FOCAL
    assert turning_together(before, turned(before, (0.1, 0.0, 0.0)) + parallax, FOCAL, (6.0,))[0].all()


def test_tracks_in_one_place_tell_no_rotation() -> None:
    before = np.zeros((5, 2)) + 1e-3 * np.arange(5)[:, None]
    assert turning_together(before, before + 1.0, FOCAL, (1.0,))[0].all()
