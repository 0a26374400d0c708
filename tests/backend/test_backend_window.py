"""Windowed bundle adjustment: what moves, what holds, and what is taken out."""

from __future__ import annotations

from dataclasses import replace

import map_scenes as scene
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.backend.window import adjust_window, choose_window
from evslam.config import load_config
from evslam.multiview.sparse_map import SparseMap

CONFIG = load_config().window
POINTS = scene.cloud()
TRUE = scene.arc(8)


def disturb(map_: SparseMap, which: range, size: float = 0.02) -> None:
    rng = np.random.default_rng(5)
    for index in which:
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_rotvec(rng.normal(0, 0.5 * size, 3)).as_matrix()
        turn[:3, 3] = rng.normal(0, size, 3)
        map_.keyframes[index].T_cam_world = turn @ map_.keyframes[index].T_cam_world


def test_the_last_keyframes_move_and_the_best_others_hold_them() -> None:
    map_ = scene.true_map(8, POINTS)
    for keyframe, share in zip(map_.keyframes, (0.2, 1.0, 0.5, 0.0), strict=False):
        keyframe.landmark[round(share * len(POINTS)) :] = -1
    window = choose_window(map_, replace(CONFIG, keyframes=4, max_fixed=2))
    assert window.views == [1, 2, 4, 5, 6, 7]
    assert window.is_free.tolist() == [False, False, True, True, True, True]
    assert window.landmarks.tolist() == list(range(len(POINTS)))


def test_keyframes_that_share_nothing_do_not_hold() -> None:
    map_ = scene.true_map(4, POINTS)
    map_.keyframes[0].landmark[:] = -1
    window = choose_window(map_, replace(CONFIG, keyframes=2, max_fixed=5))
    assert window.views == [1, 2, 3]
    assert window.is_free.tolist() == [False, False, True]  # two views hold place and scale


def test_a_young_map_is_held_by_its_first_keyframe_alone() -> None:
    window = choose_window(scene.true_map(5, POINTS), CONFIG)
    assert window.views == [0, 1, 2, 3, 4]
    assert window.is_free.tolist() == [False, True, True, True, True]


def test_landmarks_seen_once_or_taken_out_or_by_others_only_are_left_alone() -> None:
    map_ = scene.true_map(6, POINTS)
    for keyframe in map_.keyframes[:-1]:
        keyframe.landmark[0] = -1
    for keyframe in map_.keyframes[2:]:
        keyframe.landmark[1] = -1
    map_.remove_landmarks(np.array([2]))
    window = choose_window(map_, replace(CONFIG, keyframes=4))
    assert window.landmarks.tolist() == list(range(3, len(POINTS)))


def test_disturbed_keyframes_and_landmarks_move_back() -> None:
    map_ = scene.true_map(8, POINTS, noise_px=0.1)
    disturb(map_, range(3, 8))
    map_.points += np.random.default_rng(1).normal(0, 0.05, map_.points.shape)
    window = choose_window(map_, replace(CONFIG, keyframes=5))
    before = [map_.keyframes[k].T_cam_world for k in range(3)]
    result = adjust_window(map_, window, scene.FOCAL, replace(CONFIG, max_iterations=20))
    assert result is not None
    errors = np.array([scene.pose_error(map_.keyframes[k].T_cam_world, TRUE[k]) for k in range(3, 8)])
    assert errors[:, 0].max() < 0.005
    assert errors[:, 1].max() < 0.1
    assert np.median(np.linalg.norm(map_.points - POINTS, axis=1)) < 0.01
    for k in range(3):
        assert np.array_equal(map_.keyframes[k].T_cam_world, before[k])
    assert map_.alive.all()


def test_with_one_fixed_keyframe_the_scale_stays() -> None:
    map_ = scene.true_map(6, POINTS, noise_px=0.1)
    disturb(map_, range(1, 5), 0.01)
    window = choose_window(map_, CONFIG)
    adjust_window(map_, window, scene.FOCAL, replace(CONFIG, max_iterations=20))
    errors = np.array([scene.pose_error(k.T_cam_world, p) for k, p in zip(map_.keyframes, scene.arc(6), strict=True)])
    length = np.linalg.norm(np.linalg.inv(map_.keyframes[-1].T_cam_world)[:3, 3])
    assert length == pytest.approx(np.linalg.norm(np.linalg.inv(scene.arc(6)[-1])[:3, 3]), rel=1e-9)
    assert errors[:, 0].max() < 0.006
    assert errors[:, 1].max() < 0.1


def test_bad_observations_and_bad_landmarks_are_taken_out() -> None:
    map_ = scene.true_map(8, POINTS)
    map_.keyframes[6].bearing[10] += 12 / scene.FOCAL  # one observation of a good landmark
    for number, keyframe in enumerate(map_.keyframes):
        keyframe.bearing[20] += (-1) ** number * 6 / scene.FOCAL  # a landmark that fits nowhere
    window = choose_window(map_, CONFIG)
    adjust_window(map_, window, scene.FOCAL, CONFIG)
    assert np.flatnonzero(~map_.alive).tolist() == [20]
    assert map_.landmarks(np.array([10, 20, 30])).tolist() == [10, -1, 30]
    assert [keyframe.landmark[10] for keyframe in map_.keyframes] == [10] * 6 + [-1, 10]
    assert all(keyframe.landmark[20] == -1 for keyframe in map_.keyframes)
    assert np.linalg.norm(map_.points[10] - POINTS[10]) < 0.03
    assert (map_.keyframes[0].landmark >= 0).sum() == len(POINTS) - 1


def test_guesses_go_with_the_keyframe_that_sees_them_and_tell_across_their_lines() -> None:
    """Some were guessed in the newest keyframe and seen by no other, the rest by all; no depth is right."""
    map_ = scene.true_map(8, POINTS, noise_px=0.0)
    alone, guess = np.arange(5), np.arange(60)
    for keyframe in map_.keyframes[:-1]:
        keyframe.landmark[alone] = -1
    disturb(map_, range(7, 8), 0.005)
    newest = map_.keyframes[-1]
    T_world_cam = np.linalg.inv(newest.T_cam_world)
    rays = np.column_stack([newest.bearing[guess], np.ones(len(guess))]) @ T_world_cam[:3, :3].T
    map_.spread[guess] = 0.3 * 4.0 * rays
    map_.points[guess] = T_world_cam[:3, 3] + 4.0 * rays
    window = choose_window(map_, replace(CONFIG, keyframes=1))
    assert np.isin(alone, window.landmarks).all()
    adjust_window(map_, window, scene.FOCAL, replace(CONFIG, max_iterations=20))
    assert scene.pose_error(newest.T_cam_world, TRUE[7])[0] < 1e-3
    place = map_.points[alone] @ newest.T_cam_world[:3, :3].T + newest.T_cam_world[:3, 3]
    np.testing.assert_allclose(place[:, :2] / place[:, 2:], newest.bearing[alone], atol=1e-5)
    np.testing.assert_allclose(place[:, 2], 4.0, rtol=0.02)
    np.testing.assert_allclose(map_.points[guess[5:]], POINTS[guess[5:]], rtol=0.1, atol=0.05)


def test_too_few_observations_change_nothing() -> None:
    map_ = scene.true_map(3, POINTS[:5])
    disturb(map_, range(1, 3))
    poses = [keyframe.T_cam_world for keyframe in map_.keyframes]
    assert adjust_window(map_, choose_window(map_, CONFIG), scene.FOCAL, CONFIG) is None
    assert all(np.array_equal(k.T_cam_world, p) for k, p in zip(map_.keyframes, poses, strict=True))


def test_keyframes_of_a_given_map_hold_and_do_not_move() -> None:
    map_ = scene.true_map(10, scene.cloud())
    map_.num_given = 7
    window = choose_window(map_, CONFIG)
    assert [view for view, free in zip(window.views, window.is_free, strict=True) if free] == [7, 8, 9]
    before = [keyframe.T_cam_world.copy() for keyframe in map_.keyframes]
    for keyframe in map_.keyframes[7:]:
        keyframe.T_cam_world[:3, 3] += 0.02
    adjust_window(map_, window, scene.FOCAL, CONFIG)
    for index, keyframe in enumerate(map_.keyframes):
        error = np.abs(keyframe.T_cam_world - before[index]).max()
        assert error == 0 if index < 7 else error < 0.004
