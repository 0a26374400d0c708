"""Errors of poses against a map: after the best similarity, in the camera frame."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.eval.bench.covariance import aligned_errors


def test_a_similarity_is_no_error_and_a_step_is_one() -> None:
    rng = np.random.default_rng(0)
    turn, place = Rotation.from_rotvec(rng.normal(0, 0.3, (400, 3))), rng.normal(0, 1, (400, 3))
    true = np.hstack([place, turn.as_quat()])
    world, scale = Rotation.from_rotvec([0.4, -1.0, 2.0]), 2.5
    moved = scale * world.apply(place) + [1.0, 2.0, 3.0]
    aligned = np.hstack([moved, (world * turn).as_quat()])
    assert np.abs(aligned_errors(aligned, true)).max() < 1e-12

    step = np.array([0.01, -0.02, 0.03, 0.004, 0.005, -0.006])  # of frame 7, in its own axes and the map's unit
    aligned[7, :3] -= (world * turn[7]).apply(step[:3])
    aligned[7, 3:] = (world * turn[7] * Rotation.from_rotvec(-step[3:])).as_quat()
    error = aligned_errors(aligned, true)
    np.testing.assert_allclose(error[7], step, atol=3e-4)
    assert np.abs(np.delete(error, 7, axis=0)).max() < 3e-4
