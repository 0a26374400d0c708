"""Keyframes taken out of a known place: which, what becomes of the frames around them, and where these go later."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evslam.backend.loop_closure import bend, placed
from evslam.culling import cull
from evslam.geometry.similarity import Similarity
from evslam.mapping.edge_image import EdgeImager
from evslam.multiview.sparse_map import SparseMap
from evslam.reconstruction import final_poses
from evslam.types import PointFrame
from tests.map_scenes import CANVAS, CONFIG, arc, cloud, point_frame, pose_error

LIMITS = replace(CONFIG.cull, keyframes=25, recent=5)
SMALL = replace(CONFIG, cull=LIMITS, places=replace(CONFIG.places, min_gap=10))
IMAGER = EdgeImager(CANVAS, CONFIG.edges)
POINTS, TO, STEP = cloud(), arc(101), 5
PATH = np.concatenate([TO, TO[-2::-1], TO[1:]])  # there, back, and there again


def to_and_fro() -> tuple[SparseMap, list[PointFrame]]:
    """Every fifth frame is a keyframe; each way has tracks and landmarks of its own, which are exact."""
    rng, map_, frames = np.random.default_rng(0), SparseMap(), []
    for way in range(3):
        map_.add_landmarks(POINTS, way * len(POINTS) + np.arange(len(POINTS)))
    for number, pose in enumerate(PATH):
        frame = point_frame(number * 10_000, pose, POINTS, rng, 0.1)
        frame = replace(frame, ids=frame.ids + number // 101 * len(POINTS))
        frames.append(frame)
        if number % STEP == 0:
            map_.add_keyframe(frame, pose.copy(), np.ones(len(POINTS), bool))
    return map_, frames


@pytest.fixture
def agreeing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges, which these maps have not, lie where they should."""
    monkeypatch.setattr("evslam.culling.edges_agree", lambda *_: True)


def culled(map_: SparseMap, frames: list[PointFrame]) -> list[PointFrame]:
    """The frames that are left when nothing more is taken out."""
    while len(gone := cull(map_, frames, IMAGER, SMALL)):
        frames = [frame for frame in frames if frame.t_us not in set(gone.tolist())]
    return frames


def test_a_known_place_keeps_its_first_keyframes_and_every_frame_its_pose(agreeing: None) -> None:
    map_, frames = to_and_fro()
    left = culled(map_, frames)
    assert len(map_.keyframes) == LIMITS.keyframes + LIMITS.recent - 1
    assert len(left) + len(map_.anchored) == len(PATH)
    assert len(left) < 0.6 * len(PATH)
    t_us, poses = final_poses(map_, left, IMAGER, SMALL)
    assert t_us.tolist() == [number * 10_000 for number in range(len(PATH))]
    errors = np.array([pose_error(one, other) for one, other in zip(poses, PATH, strict=True)])
    assert errors[:, 0].max() < 0.01
    assert errors[:, 1].max() < 0.2
    times = [keyframe.t_us for keyframe in map_.keyframes]
    assert times == sorted(times)
    gap = int(np.diff(times).argmax())
    assert not map_.are_neighbours(gap, gap + 1)


def test_frames_of_a_known_place_go_where_its_keyframes_go(agreeing: None) -> None:
    map_, frames = to_and_fro()
    left = culled(map_, frames)
    turn = np.array([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    world = Similarity(turn, np.array([[1.0, 2.0, 3.0]]), np.array([1.5]))
    bend(map_, world[np.zeros(len(map_.keyframes), int)] @ placed(map_))
    _, poses = final_poses(map_, left, IMAGER, SMALL)
    expected = np.stack([world.carry(pose) for pose in PATH])
    errors = np.array([pose_error(one, other) for one, other in zip(poses, expected, strict=True)])
    assert errors[:, 0].max() < 0.015
    assert errors[:, 1].max() < 0.2


def test_nothing_is_taken_out_of_a_small_map_or_a_new_place(agreeing: None) -> None:
    map_, frames = to_and_fro()
    assert len(cull(map_, frames, IMAGER, CONFIG)) == 0
    far = replace(SMALL, cull=replace(LIMITS, max_distance=1e-4, max_deg=1e-3))
    map_.keyframes[-LIMITS.recent].T_cam_world[0, 3] += 0.5
    assert len(cull(map_, frames, IMAGER, far)) == 0
    assert len(map_.keyframes) == len(range(0, len(PATH), STEP))


def test_nothing_is_taken_out_where_edges_disagree() -> None:
    map_, frames = to_and_fro()
    assert len(cull(map_, frames, IMAGER, SMALL)) == 0
