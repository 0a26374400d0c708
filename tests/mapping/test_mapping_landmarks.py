"""New landmarks: known points are recovered; small angles and bad tracks are refused."""

from __future__ import annotations

import map_scenes as scene
import numpy as np
import pytest

from evslam.config import load_config
from evslam.mapping.landmarks import add_new_landmarks, is_firm
from evslam.multiview.sparse_map import SparseMap

CONFIG = load_config().landmark
POINTS = scene.cloud(60)


def map_without_landmarks(num_keyframes: int = 6, length: float = 1.2, noise_px: float = 0.2) -> SparseMap:
    rng, map_ = np.random.default_rng(2), SparseMap()
    for number, pose in enumerate(scene.arc(num_keyframes, length)):
        frame = scene.point_frame(number * scene.STEP_US, pose, POINTS, rng, noise_px)
        map_.add_keyframe(frame, pose, np.ones(len(POINTS), bool))
    return map_


def test_points_seen_from_known_poses_are_recovered() -> None:
    map_ = map_without_landmarks()
    assert add_new_landmarks(map_, scene.CANVAS, CONFIG) == len(POINTS)
    landmark = map_.landmarks(np.arange(len(POINTS)))
    error = np.linalg.norm(map_.points[landmark] - POINTS, axis=1) / POINTS[:, 2]
    assert np.median(error) < 0.003
    assert error.max() < 0.02
    assert all(np.array_equal(keyframe.landmark, landmark) for keyframe in map_.keyframes)
    assert add_new_landmarks(map_, scene.CANVAS, CONFIG) == 0


def test_noiseless_points_are_exact() -> None:
    map_ = map_without_landmarks(noise_px=0.0)
    add_new_landmarks(map_, scene.CANVAS, CONFIG)
    assert np.abs(map_.points[map_.landmarks(np.arange(len(POINTS)))] - POINTS).max() < 1e-6


def test_points_under_a_small_angle_are_refused() -> None:
    map_ = map_without_landmarks(length=0.01, noise_px=0.0)
    add_new_landmarks(map_, scene.CANVAS, CONFIG)
    centres = np.stack([np.linalg.inv(keyframe.T_cam_world)[:3, 3] for keyframe in map_.keyframes])
    rays = POINTS[:, None] - centres
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    angle = np.degrees(np.arccos((rays @ rays.transpose(0, 2, 1)).min((1, 2))))
    added = is_firm(map_, np.arange(len(POINTS)))
    assert 5 < added.sum() < len(POINTS) - 5
    assert angle[added].min() > CONFIG.min_angle_deg - 1e-3
    assert angle[~added].max() < CONFIG.min_angle_deg + 1e-3


def test_tracks_that_fit_no_point_are_refused_and_forgotten() -> None:
    map_ = map_without_landmarks()
    for number, keyframe in enumerate(map_.keyframes):
        keyframe.bearing[7, 1] += (-1) ** number * 15 / scene.FOCAL
    map_.keyframes[2].bearing[9, 1] += 10 / scene.FOCAL
    assert add_new_landmarks(map_, scene.CANVAS, CONFIG) == len(POINTS) - 2
    assert not is_firm(map_, np.array([7, 9])).any()
    assert not any(keyframe.usable[7] for keyframe in map_.keyframes)
    assert all(keyframe.usable[8] for keyframe in map_.keyframes)


@pytest.mark.parametrize(("seen_by", "expected"), [(CONFIG.min_views, 1), (CONFIG.min_views - 1, 0)])
def test_enough_keyframes_must_have_seen_a_track(seen_by: int, expected: int) -> None:
    map_ = map_without_landmarks()
    map_.forget(np.arange(1, len(POINTS)))
    for keyframe in map_.keyframes[: len(map_.keyframes) - seen_by]:
        keyframe.usable[0] = False
    assert add_new_landmarks(map_, scene.CANVAS, CONFIG) == expected


def test_only_tracks_of_the_newest_keyframe_are_looked_at() -> None:
    map_ = map_without_landmarks()
    newest = map_.keyframes[-1]
    newest.ids, newest.bearing = newest.ids[30:], newest.bearing[30:]
    newest.landmark, newest.usable = newest.landmark[30:], newest.usable[30:]
    assert add_new_landmarks(map_, scene.CANVAS, CONFIG) == 30
    assert (map_.landmarks(np.arange(30)) == -1).all()  # not even guessed
    assert map_.keyframes[0].landmark.tolist() == [-1] * 30 + list(range(30))
