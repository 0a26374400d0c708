"""Loops of a map: what bending keeps, a path whose scale has drifted, landmarks of both visits."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.backend.loop_closure import Loop, bend, close_loops, find_loops
from evslam.geometry.similarity import Similarity
from evslam.multiview.edges import EdgePoints
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame
from tests.map_scenes import CANVAS, CONFIG, FOCAL, aligned_errors, cloud, project, true_map

NUM = 120  # keyframes of two rounds


def ring_map() -> SparseMap:
    """Two rounds inside a ring of points, looking outwards; each round has landmarks of its own at the same places."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * np.pi, 600)
    points = np.stack([6 * np.cos(angle), rng.uniform(-1.5, 1.5, 600), 6 * np.sin(angle)], 1)
    map_ = SparseMap()
    map_.add_landmarks(np.concatenate([points, points]), np.arange(1200))
    for index in range(NUM):
        turn = 4 * np.pi * index / NUM
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_rotvec([0, -turn, 0]).as_matrix()
        pose[:3, 3] = (0.0, 0.0, -2.0)
        depth = points @ pose[2, :3] + pose[2, 3]
        seen = np.flatnonzero((depth > 0.5) & (np.abs(project(pose, points)) < 0.5).all(1))
        ids = seen + (600 if index >= NUM // 2 else 0)
        map_.add_keyframe(PointFrame(index, ids, project(pose, points[seen])), pose, np.ones(len(ids), bool))
    return map_


def reprojection_px(map_: SparseMap, index: int) -> np.ndarray:
    keyframe = map_.keyframes[index]
    seen = keyframe.landmark >= 0
    error = project(keyframe.T_cam_world, map_.points[keyframe.landmark[seen]]) - keyframe.bearing[seen]
    return FOCAL * np.linalg.norm(error, axis=1)


def poses_of(map_: SparseMap) -> np.ndarray:
    return np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])


def placed(map_: SparseMap) -> Similarity:
    return Similarity.of_poses(np.linalg.inv(poses_of(map_)))


def drifted(map_: SparseMap, first: int = 0) -> None:
    """Let the scale fall and the heading turn, step by step from a keyframe on; by a third over the whole map."""
    true = placed(map_)
    before, after = np.arange(NUM - 1), np.arange(1, NUM)
    steps = true[before].inverse() @ true[after]
    wrong = np.tile([0.0, 0.0, 0.0, 0.0005, 0.001, 0.0, -0.003], (NUM - 1, 1))
    nodes = [true[[0]]]
    for step in range(NUM - 1):
        nodes.append(nodes[-1] @ steps[[step]].retract((step >= first) * wrong[[step]]))
    bend(map_, Similarity.join(nodes))


def test_a_similarity_of_the_whole_map_keeps_every_reprojection() -> None:
    map_ = true_map(6, cloud())
    edges = EdgePoints(np.full((3, 2), 50.0), np.ones(3), np.full(3, 0.1), np.zeros((3, 2)), np.ones(3))
    map_.keyframes[2].edges = edges
    before = [reprojection_px(map_, index) for index in range(6)]
    whole = Similarity(
        Rotation.from_rotvec([[0.3, -1.0, 0.2]]).as_matrix(), np.array([[1.0, 2.0, 3.0]]), np.array([0.4])
    )
    bend(map_, whole[np.zeros(6, int)] @ placed(map_))
    for index in range(6):
        np.testing.assert_allclose(reprojection_px(map_, index), before[index], atol=1e-6)
    assert map_.keyframes[2].edges is not None
    np.testing.assert_allclose(map_.keyframes[2].edges.inverse_depth, 1 / 0.4)
    np.testing.assert_allclose(map_.keyframes[2].edges.sigma, 0.1 / 0.4)


def test_a_path_with_scale_drift_is_closed() -> None:
    true_poses = poses_of(ring_map())
    map_ = ring_map()
    drifted(map_)
    assert aligned_errors(poses_of(map_), true_poses).max() > 0.012
    true = Similarity.of_poses(true_poses)
    loops = []
    for old in range(0, NUM // 2, 5):
        new = old + NUM // 2
        seen = map_.keyframes[new].landmark
        scale = Similarity(np.eye(3)[None], np.zeros((1, 3)), np.array([np.exp(-0.003 * (new - old))]))
        loops.append(Loop(old, new, scale @ true[[new]] @ true[[old]].inverse(), np.stack([seen - 600, seen], 1), 100))
    false = Similarity(np.eye(3)[None], np.array([[1.0, 0.0, 1.0]]), np.array([1.5]))
    loops.append(Loop(3, 70, false, np.zeros((0, 2), np.int64), 100))
    kept = close_loops(map_, loops, CANVAS, CONFIG.loop)
    assert kept == loops[:-1]
    assert map_.revisits == [(loop.old, loop.new) for loop in kept]
    assert aligned_errors(poses_of(map_), true_poses).max() < 0.005
    assert map_.alive[:600].all()
    assert (~map_.alive[600:]).sum() > 300
    assert np.concatenate([reprojection_px(map_, index) for index in range(NUM)]).max() < 15


def test_a_given_map_stays_where_it_is() -> None:
    """Its second round, another recording, drifts away."""
    map_, given = ring_map(), NUM // 2
    map_.num_given = given
    true = placed(map_)
    drifted(map_, given)
    before, points = poses_of(map_), map_.points.copy()
    loops = []
    for old in range(0, given, 5):
        new = old + given
        seen = map_.keyframes[new].landmark
        scale = Similarity(np.eye(3)[None], np.zeros((1, 3)), np.array([np.exp(-0.003 * old)]))
        new_from_old = scale @ true[[new]].inverse() @ true[[old]]
        loops.append(Loop(old, new, new_from_old, np.stack([seen - 600, seen], 1), 100))
    assert close_loops(map_, loops, CANVAS, CONFIG.loop) == loops
    after = poses_of(map_)
    np.testing.assert_allclose(after[:given], before[:given], atol=1e-12)
    np.testing.assert_allclose(map_.points[:600], points[:600], atol=1e-12)
    off = [np.abs(poses[given:] - poses_of(ring_map())[given:]).max() for poses in (before, after)]
    assert off[0] > 0.1
    assert off[1] < 0.1 * off[0]


def test_false_loops_alone_leave_the_map_as_it_is() -> None:
    map_ = ring_map()
    before, points = poses_of(map_), map_.points.copy()
    false = Similarity(np.eye(3)[None], np.array([[1.0, 0.0, 1.0]]), np.array([1.5]))
    loops = [Loop(old, 70, false, np.zeros((0, 2), np.int64), 100) for old in (3, 20)]
    assert close_loops(map_, loops, CANVAS, CONFIG.loop) == []
    np.testing.assert_array_equal(poses_of(map_), before)
    np.testing.assert_array_equal(map_.points, points)


def test_a_map_without_images_has_no_loops() -> None:
    assert find_loops(true_map(30, cloud()), CANVAS, CONFIG.places, CONFIG.loop, 0, lambda old, new: False) == []
