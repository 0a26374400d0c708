"""Ground truth of a map: nothing is off where all is right, and what is off is told in depths and degrees."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.eval.bench.map_truth import MapTruth
from evslam.geometry.similarity import Similarity
from evslam.geometry.trajectory import camera_poses
from evslam.types import Trajectory
from tests.map_scenes import cloud, true_map

METRES = 2.5  # per unit of the map


@pytest.fixture
def truth() -> MapTruth:
    """A map that is right but for its scale."""
    map_ = true_map(12, cloud())
    poses = np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])
    poses[:, :3, 3] *= METRES
    return MapTruth(map_, Trajectory(np.array([keyframe.t_us for keyframe in map_.keyframes]), camera_poses(poses)))


def test_scale_and_near_keyframes(truth: MapTruth) -> None:
    np.testing.assert_allclose(truth.metres, METRES)
    assert truth.nearest(int(truth.map.keyframes[4].t_us)) == (4, True)
    away = truth.true[4].copy()
    away[:3, 3] += [0, 0, METRES * 0.3 * truth.depth.max()]
    assert truth.unlike(away).min() > 1


def test_errors_of_poses(truth: MapTruth) -> None:
    t_us, pose = truth.map.keyframes[6].t_us, truth.found[6].copy()
    np.testing.assert_allclose(truth.error(t_us, pose, 2), 0, atol=1e-6)
    pose[0, 3] += 0.1 * truth.depth[2]
    np.testing.assert_allclose(truth.error(t_us, pose, 2), (0.1, 0.0), atol=1e-6)
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec([0, np.radians(4.0), 0]).as_matrix()
    np.testing.assert_allclose(truth.error(t_us, turn @ truth.found[6], 2), (0.0, 4.0), atol=1e-6)


def test_errors_of_loops_do_not_depend_on_the_scale_of_the_second_visit(truth: MapTruth) -> None:
    change = truth.found[9] @ np.linalg.inv(truth.found[1])
    for scale in (1.0, 1.7):
        loop = Similarity(change[None, :3, :3], scale * change[None, :3, 3], np.array([scale]))
        np.testing.assert_allclose(truth.loop_error(1, 9, loop), 0, atol=1e-6)
    wrong = Similarity(change[None, :3, :3], change[None, :3, 3] + [[0.2 * truth.depth[1], 0, 0]], np.ones(1))
    np.testing.assert_allclose(truth.loop_error(1, 9, wrong), (0.2, 0.0), atol=1e-6)
