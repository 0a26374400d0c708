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
    """Some that fit badly are left to the adjustment: the poses may be wrong."""
    map_ = map_without_landmarks()
    for number, keyframe in enumerate(map_.keyframes):
        keyframe.bearing[7, 1] += (-1) ** number * 15 / scene.FOCAL
        keyframe.bearing[9, 1] += (-1) ** number * 5 / scene.FOCAL
    assert add_new_landmarks(map_, scene.CANVAS, CONFIG) == len(POINTS) - 1
    assert not is_firm(map_, np.array([7])).any()
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


def slanted(number: int = 200) -> np.ndarray:
    """Points (N, 3) on a slanted plane."""
    place = np.random.default_rng(6).uniform(-0.4, 0.4, (number, 2))
    depth = 3.0 / (1.0 - 0.8 * place[:, 0])
    return np.column_stack([place * depth[:, None], depth])


def map_of_plane_with_new_tracks() -> tuple[SparseMap, np.ndarray, np.ndarray]:
    """Tracks from 150 on appear in the newest keyframe; also the points, and the true depths there."""
    points, pose = slanted(), scene.arc(4)[-1]
    map_ = scene.true_map(4, points[:150], noise_px=0.0)
    last = map_.keyframes.pop()
    frame = scene.point_frame(last.t_us, pose, points, np.random.default_rng(0), 0.0)
    map_.add_keyframe(frame, pose, np.arange(len(points)) < 150)
    return map_, points, (points @ pose[:3, :3].T + pose[:3, 3])[:, 2]


def test_new_tracks_get_the_depth_of_their_surroundings_for_a_guess() -> None:
    map_, _, depth = map_of_plane_with_new_tracks()
    assert add_new_landmarks(map_, scene.CANVAS, CONFIG) == 0
    newest, new = map_.keyframes[-1], np.arange(150, 200)
    landmark = map_.landmarks(new)
    assert (landmark >= 0).all()
    assert not is_firm(map_, new).any()
    assert is_firm(map_, np.arange(150)).all()
    assert np.array_equal(newest.landmark[150:], landmark)
    pose = newest.T_cam_world
    local = map_.points[landmark] @ pose[:3, :3].T + pose[:3, 3]
    assert np.median(np.abs(local[:, 2] / depth[150:] - 1)) < 0.05
    assert np.abs(local[:, :2] / local[:, 2:] - newest.bearing[150:]).max() < 1e-9
    centre = np.linalg.inv(pose)[:3, 3]
    assert np.allclose(map_.spread[landmark], CONFIG.depth_spread * (map_.points[landmark] - centre), atol=1e-12)
    assert not map_.spread[map_.landmarks(np.arange(150))].any()


def test_a_guess_becomes_firm_once_parallax_tells() -> None:
    map_, points, _ = map_of_plane_with_new_tracks()
    add_new_landmarks(map_, scene.CANVAS, CONFIG)
    guesses, newest = map_.landmarks(np.arange(150, 200)), map_.keyframes[-1]
    rng = np.random.default_rng(0)
    for number in range(1, 4):
        pose = newest.T_cam_world.copy()
        pose[:3, 3] -= [0.25 * number, 0.0, 0.0]
        frame = scene.point_frame(newest.t_us + number, pose, points, rng, 0.0)
        map_.add_keyframe(frame, pose, np.ones(len(points), bool))
        firm = add_new_landmarks(map_, scene.CANVAS, CONFIG)
        if number < 2:
            assert firm == 0  # two keyframes are too few
            assert np.array_equal(map_.landmarks(np.arange(150, 200)), guesses)
    landmark = map_.landmarks(np.arange(150, 200))
    assert is_firm(map_, np.arange(200)).all()
    assert np.abs(map_.points[landmark] - points[150:]).max() < 1e-4
    assert not map_.alive[guesses].any()
    assert np.array_equal(newest.landmark[150:], landmark)
