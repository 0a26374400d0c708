"""Figures of the bench of false loops: what counts as seen again, as overlap, as precision and recall."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evslam.backend.look_index import LookIndex
from evslam.backend.places import View
from evslam.eval.bench.false_loops import LEAST_POINTS, Finished, curve, overlaps, revisited
from evslam.eval.bench.map_truth import MapTruth
from evslam.geometry.trajectory import camera_poses
from evslam.types import Trajectory
from tests.map_scenes import CANVAS, CONFIG, cloud, true_map

GAP = 1  # keyframe between; two steps are a fifth of the depth
CLOSE = replace(CONFIG, places=replace(CONFIG.places, min_gap=GAP))


@pytest.fixture
def finished() -> Finished:
    """Twelve keyframes that see the same cloud, but for the last one, which looks back."""
    points = cloud()
    map_ = true_map(12, points)
    map_.keyframes[-1].T_cam_world = np.diag([-1.0, 1, -1, 1]) @ map_.keyframes[-1].T_cam_world
    poses = np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])
    truth = MapTruth(map_, Trajectory(np.array([k.t_us for k in map_.keyframes]), camera_poses(poses)))
    rng = np.random.default_rng(0)
    views = []
    for pose in poses:
        seen = points @ pose[:3, :3].T + pose[:3, 3]
        seen[:, 2] = np.abs(seen[:, 2])  # the last one sees other points, in front of it
        look = rng.normal(0, 1, (len(seen), 128)).astype(np.float32)
        views.append(View(seen, seen[:, :2] / seen[:, 2:], np.full(len(seen), -1), look))
    return Finished("one", truth, CANVAS, views, LookIndex(4, 0))


def test_what_is_seen_again_and_what_overlaps(finished: Finished) -> None:
    assert revisited(finished, CLOSE).tolist() == [False] * (GAP + 1) + [True] * (10 - GAP) + [False]
    assert overlaps(finished, 0, 8)
    assert not overlaps(finished, 0, 11)


def test_precision_and_recall(finished: Finished) -> None:
    rows = [
        {"new": 5, "points": 70, "wrong": False},
        {"new": 6, "points": 30, "wrong": True},
        {"new": 7, "points": 30, "wrong": False},
    ]
    lines = {line["least_points"]: line for line in curve([finished], {"one": rows}, CLOSE)}
    assert set(lines) == set(LEAST_POINTS)
    assert (lines[20]["matches"], lines[20]["wrong"]) == (3, 1)
    assert lines[20]["precision"] == pytest.approx(2 / 3)
    assert lines[20]["recall_of_keyframes"] == pytest.approx(2 / 9)
    assert (lines[60]["precision"], lines[60]["recall_of_keyframes"]) == (1.0, pytest.approx(1 / 9))
    assert lines[100]["matches"] == 0
