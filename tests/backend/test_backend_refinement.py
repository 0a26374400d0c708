"""Refinement of a finished map: every keyframe is covered, and frames between are bent to agree."""

from __future__ import annotations

from dataclasses import replace

import map_scenes as scene
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.backend.refinement import Scope, corrected, refine_map
from evslam.config import load_config

CONFIG = load_config()


def pose(turn: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_rotvec(turn).as_matrix(), shift
    return T


def test_corrected_poses_equal_the_keyframes_and_share_their_corrections_between() -> None:
    rng = np.random.default_rng(0)
    t_us = np.array([0, 10, 20, 30, 40, 50, 60]) * 1000
    poses = np.stack([pose(tuple(rng.normal(0, 0.3, 3)), tuple(rng.normal(0, 1, 3))) for _ in t_us])
    bends = pose((0, 0, 0.1), (0.2, 0, 0)), pose((0, 0, -0.3), (0, 0.4, 0))
    keys = np.array([1, 5])
    key_poses = np.stack([bend @ poses[k] for bend, k in zip(bends, keys, strict=True)])
    found = corrected(t_us, poses, t_us[keys], keys, key_poses)
    assert np.abs(found[keys] - key_poses).max() < 1e-12
    assert np.allclose(found[3], pose((0, 0, -0.1), (0.1, 0.2, 0)) @ poses[3], atol=1e-12)  # half way
    assert np.allclose(found[2], pose((0, 0, 0.0), (0.15, 0.1, 0)) @ poses[2], atol=1e-12)
    assert np.allclose(found[0], bends[0] @ poses[0], atol=1e-12)  # outside as at the nearest keyframe
    assert np.allclose(found[6], bends[1] @ poses[6], atol=1e-12)


def test_nothing_is_corrected_where_the_keyframes_agree() -> None:
    poses = scene.arc(9)
    keys = np.array([0, 4, 8])
    assert np.abs(corrected(np.arange(9), poses, keys, keys, poses[keys]) - poses).max() < 1e-12


@pytest.mark.parametrize(("size", "stretches"), [(20, [(0, 11)]), (4, [(0, 4), (2, 6), (4, 8), (6, 10), (8, 11)])])
def test_stretches_overlap_and_cover_all_keyframes(size: int, stretches: list[tuple[int, int]]) -> None:
    map_, asked = scene.true_map(11, scene.cloud()), []

    def link(views: list[int], is_free: np.ndarray) -> None:
        asked.append([view for view, free in zip(views, is_free, strict=True) if free])

    refine_map(map_, link, scene.FOCAL, CONFIG.window, replace(CONFIG.refine, keyframes=size, rounds=2))
    expected = [list(range(*each)) for each in stretches]
    if len(stretches) == 1:
        expected[0].remove(0)  # the first keyframe holds the world, where no others do
    assert asked == 2 * expected


def test_a_drifted_map_is_straightened() -> None:
    map_, true = scene.true_map(10, scene.cloud(), noise_px=0.1), scene.arc(10)
    for number, keyframe in enumerate(map_.keyframes):
        keyframe.T_cam_world = pose((0, 0.004 * number, 0), (0.005 * number, 0, 0)) @ keyframe.T_cam_world
    config = replace(CONFIG.refine, rounds=3)
    refine_map(map_, lambda views, is_free: None, scene.FOCAL, CONFIG.window, config)
    scale = np.linalg.norm(true[-1, :3, 3]) / np.linalg.norm(map_.keyframes[-1].T_cam_world[:3, 3])
    found = np.stack([keyframe.T_cam_world for keyframe in map_.keyframes])
    found[:, :3, 3] *= scale
    errors = np.array([scene.pose_error(one, other) for one, other in zip(found, true, strict=True)])
    assert errors[:, 0].max() < 0.005
    assert errors[:, 1].max() < 0.1


@pytest.mark.parametrize(("settled", "rounds"), [(1.0, 2), (0.03, 3), (0.001, 4), (0.0, 6)])
def test_rounds_go_on_while_keyframes_move(settled: float, rounds: int) -> None:
    """One step of the solver a round: a bent map takes some to come to rest."""
    map_ = scene.true_map(10, scene.cloud(), noise_px=0.1)
    for number, keyframe in enumerate(map_.keyframes):
        keyframe.T_cam_world = pose((0, 0.02 * number, 0), (0.005 * number, 0, 0)) @ keyframe.T_cam_world
    config = replace(CONFIG.refine, rounds=2, more_rounds=4, settled=settled)
    limits = replace(CONFIG.window, max_iterations=1)
    done = refine_map(map_, lambda *_: None, scene.FOCAL, limits, config, Scope(until_settled=True))
    assert len(done.rounds) == rounds
    assert rounds == 6 or done.moved < settled
    assert done.num_observations == len(done.rounds[-1][0].error_px)
    assert done.cost == pytest.approx(done.rounds[-1][0].cost / done.num_observations)
    again = refine_map(map_, lambda *_: None, scene.FOCAL, limits, config)
    assert len(done.then(again).rounds) == rounds + 2
    assert done.then(again).moved == again.moved


def test_cost_and_observations_are_those_of_all_stretches_of_the_last_round() -> None:
    map_ = scene.true_map(11, scene.cloud())
    done = refine_map(map_, lambda *_: None, scene.FOCAL, CONFIG.window, replace(CONFIG.refine, keyframes=4, rounds=2))
    assert [len(results) for results in done.rounds] == [5, 5]
    assert done.num_observations == sum(len(result.error_px) for result in done.rounds[1])
    assert done.cost == pytest.approx(sum(result.cost for result in done.rounds[1]) / done.num_observations)


def test_the_first_keyframes_are_adjusted_alone_held_by_the_others() -> None:
    map_ = scene.true_map(10, scene.cloud(), noise_px=0.1)
    for keyframe in map_.keyframes[:4]:
        keyframe.T_cam_world = pose((0, 0.004, 0), (0.005, 0, 0)) @ keyframe.T_cam_world
    later = [keyframe.T_cam_world.copy() for keyframe in map_.keyframes[4:]]
    refine_map(map_, lambda views, is_free: None, scene.FOCAL, CONFIG.window, CONFIG.refine, Scope(first=4))
    assert all(np.array_equal(k.T_cam_world, T) for k, T in zip(map_.keyframes[4:], later, strict=True))
    errors = [scene.pose_error(k.T_cam_world, T) for k, T in zip(map_.keyframes[:4], scene.arc(10), strict=False)]
    assert np.array(errors)[:, 0].max() < 0.005
