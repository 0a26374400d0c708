"""Loops closed while tracking: when, what moves, in a thread or not, from a checkpoint."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from evslam.backend.loop_closure import Loop
from evslam.beside import at_once, in_thread
from evslam.geometry.similarity import Similarity
from evslam.looping import LoopCloser
from evslam.mapping.edge_image import EdgeImager
from evslam.multiview.sparse_map import SparseMap
from evslam.types import PointFrame
from tests.backend.test_backend_loop_closure import NUM, drifted, poses_of, ring_map
from tests.map_scenes import CANVAS, CONFIG

IMAGER = EdgeImager(CANVAS, CONFIG.edges)
NEIGHBOURS = CONFIG.places.neighbours


def closer_of(map_: SparseMap, shown: int, worker: Callable[..., Callable[[], None]] = at_once) -> LoopCloser:
    """A drifted map, and the closer that has found loops of the last `shown` keyframes that have neighbours."""
    true = Similarity.of_poses(poses_of(map_))
    drifted(map_)
    closer = LoopCloser(CONFIG, IMAGER, worker)
    for new in range(NUM - NEIGHBOURS - shown, NUM - NEIGHBOURS):
        old, seen = new - NUM // 2, map_.keyframes[new].landmark
        scale = Similarity(np.eye(3)[None], np.zeros((1, 3)), np.array([np.exp(-0.003 * (new - old))]))
        new_from_old = scale @ true[[new]] @ true[[old]].inverse()
        closer.found.append(Loop(old, new, new_from_old, np.stack([seen - 600, seen], 1), 100))
    return closer


def grow(map_: SparseMap) -> None:
    """One more keyframe at the place of the last."""
    last = map_.keyframes[-1]
    frame = PointFrame(last.t_us + 1, last.ids, last.bearing)
    map_.add_keyframe(frame, last.T_cam_world.copy(), np.ones(len(last.ids), bool))


def gap(map_: SparseMap, true: np.ndarray) -> float:
    """Error of where the last keyframes that have neighbours are to those of the round before."""
    new = np.arange(NUM - NEIGHBOURS - 8, NUM - NEIGHBOURS)
    apart = [poses[new] @ np.linalg.inv(poses[new - NUM // 2]) for poses in (poses_of(map_), true)]
    return float(np.abs(apart[0] - apart[1]).max())


def test_a_loop_is_closed_while_the_map_grows() -> None:
    true, map_ = poses_of(ring_map()), ring_map()
    closer = closer_of(map_, 8)
    wide = gap(map_, true)
    assert closer.take(map_) is None
    assert closer.closing is not None
    grow(map_)
    before = map_.keyframes[-1].T_cam_world
    moved = closer.take(map_)
    assert moved is not None
    np.testing.assert_allclose(moved.carry(before), map_.keyframes[-1].T_cam_world, atol=1e-9)
    assert moved.scale[0] == pytest.approx(np.exp(0.003 * NUM / 2), rel=0.02)  # it had shrunk since the first round
    between = map_.keyframes[-2].T_cam_world @ np.linalg.inv(map_.keyframes[-1].T_cam_world)
    np.testing.assert_allclose(between, np.eye(4), atol=1e-9)
    assert gap(map_, true) < 0.2 * wide
    assert len(map_.revisits) == 8
    assert closer.closed[0].num_loops == 8
    assert closer.closed[0].t_us == map_.keyframes[-1].t_us
    assert not closer.found
    assert closer.take(map_) is None


def test_few_loops_wait_for_more_and_are_dropped_if_none_come() -> None:
    map_ = ring_map()
    closer = closer_of(map_, 2)
    before = poses_of(map_)
    for _ in range(CONFIG.loop.max_step + 2):
        assert closer.take(map_) is None
        grow(map_)
    assert not closer.found
    np.testing.assert_array_equal(poses_of(map_)[:NUM], before)


def test_loops_that_contradict_each_other_close_nothing() -> None:
    map_ = ring_map()
    closer = closer_of(map_, 8)
    rng = np.random.default_rng(0)
    for number, loop in enumerate(closer.found):
        turn = Rotation.from_rotvec(rng.normal(0, 1, 3)).as_matrix()[None]
        false = Similarity(turn, rng.normal(0, 2, (1, 3)), np.ones(1))
        closer.found[number] = Loop(loop.old, loop.new, false, loop.landmarks, 100)
    before = poses_of(map_)
    assert closer.take(map_) is None
    grow(map_)
    assert closer.take(map_) is None
    np.testing.assert_array_equal(poses_of(map_)[:NUM], before)


def test_a_thread_or_a_checkpoint_in_between_changes_nothing() -> None:
    found = []
    for worker in (at_once, in_thread):
        map_ = ring_map()
        closer = closer_of(map_, 8, worker)
        closer.take(map_)
        if worker is in_thread:
            content = io.BytesIO()
            torch.save(closer.state_dict(), content)
            content.seek(0)
            closer = LoopCloser(CONFIG, IMAGER, worker)
            closer.load_state_dict(torch.load(content, weights_only=True))
        grow(map_)
        closer.take(map_)
        found.append(poses_of(map_))
    np.testing.assert_array_equal(*found)


def test_a_map_without_images_is_not_searched() -> None:
    map_, closer = ring_map(), LoopCloser(CONFIG, IMAGER, at_once)
    closer.look(map_)
    assert not closer.found


def test_loops_are_not_looked_for_where_they_are_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for changes in ({}, {"use": False}, {"online_keyframes": 0}):
        closer = LoopCloser(replace(CONFIG, loop=replace(CONFIG.loop, **changes)), IMAGER, at_once)
        monkeypatch.setattr(closer.index, "update", asked.append)
        monkeypatch.setattr(closer.index, "alike", lambda new, places: [])
        closer.look(ring_map())
        assert len(asked) == 1
