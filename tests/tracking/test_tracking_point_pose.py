"""The pose of a frame from its landmarks: exact, robust, and honest about too little."""

from __future__ import annotations

from dataclasses import replace

import map_scenes as scene
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.multiview.sparse_map import SparseMap
from evslam.tracking.horizon import horizon_of
from evslam.tracking.point_pose import pose_from_points
from evslam.types import PointFrame

CONFIG = scene.CONFIG.pose
POINTS = scene.cloud()
TRUE = scene.arc(20)


def frame_and_map(noise_px: float = 0.3) -> tuple[PointFrame, SparseMap]:
    """The frame of pose 10, in which tracks from 100 on have no landmark."""
    map_ = SparseMap()
    map_.add_landmarks(POINTS[:100], np.arange(100))
    return scene.point_frame(0, TRUE[10], POINTS, np.random.default_rng(1), noise_px), map_


def test_the_pose_is_found_from_the_last_one() -> None:
    frame, map_ = frame_and_map()
    found = pose_from_points(frame, [TRUE[9]], map_, scene.FOCAL, CONFIG)
    assert found is not None
    apart, turned = scene.pose_error(found.T_cam_world, TRUE[10])
    assert apart < 0.01
    assert turned < 0.15
    assert found.rows.tolist() == list(range(100))
    assert found.num_inliers == 100
    assert np.sqrt((found.error_px**2).mean()) == pytest.approx(0.3 * np.sqrt(2), rel=0.15)


def test_a_third_of_the_tracks_may_be_wrong() -> None:
    frame, map_ = frame_and_map()
    frame.bearing[::3] += np.random.default_rng(2).uniform(-0.3, 0.3, (40, 2))
    found = pose_from_points(frame, [TRUE[9]], map_, scene.FOCAL, CONFIG)
    assert found is not None
    assert scene.pose_error(found.T_cam_world, TRUE[10])[0] < 0.015
    assert 60 <= found.num_inliers <= 75
    assert np.isin(np.flatnonzero(found.error_px > CONFIG.misfit_px), np.arange(0, 120, 3)).all()


def test_covariance_covers_the_errors() -> None:
    """Where every point has an error of its own; one that all have in common is a turn."""
    _, map_ = frame_and_map()
    alone = replace(CONFIG, common_px=0.0)
    rng, normalised = np.random.default_rng(4), []
    for _ in range(100):
        frame = scene.point_frame(0, TRUE[10], POINTS, rng, noise_px=0.3)
        found = pose_from_points(frame, [TRUE[10]], map_, scene.FOCAL, alone)
        assert found is not None
        change = found.T_cam_world @ np.linalg.inv(TRUE[10])
        error = np.r_[change[:3, 3], Rotation.from_matrix(change[:3, :3]).as_rotvec()]
        normalised.append(error @ np.linalg.solve(found.covariance, error))
    assert np.mean(normalised) == pytest.approx(6, rel=0.35)
    together = pose_from_points(frame, [TRUE[10]], map_, scene.FOCAL, replace(CONFIG, common_px=0.4))
    assert together is not None
    np.testing.assert_allclose(
        together.covariance - found.covariance, (0.4 / scene.FOCAL) ** 2 * np.diag([0, 0, 0, 1, 1, 1]), atol=1e-18
    )


def test_a_horizon_holds_the_rotation_where_few_points_tell_it() -> None:
    frame, map_ = frame_and_map(noise_px=2.0)
    few = PointFrame(0, frame.ids[:16], frame.bearing[:16])
    errors = []
    for horizon in (None, horizon_of(TRUE[10], 1000.0)):
        found = pose_from_points(few, [TRUE[9]], map_, scene.FOCAL, replace(CONFIG, min_points=8), horizon)
        assert found is not None
        assert found.rows.tolist() == list(range(16))
        assert len(found.error_px) == 16
        errors.append(scene.pose_error(found.T_cam_world, TRUE[10])[1])
    assert errors[1] < 0.2 * errors[0]


def test_a_horizon_alone_does_not_move_the_camera() -> None:
    frame, map_ = frame_and_map(noise_px=0.0)
    found = pose_from_points(frame, [TRUE[9]], map_, scene.FOCAL, CONFIG, horizon_of(TRUE[10], 20.0))
    assert found is not None
    apart, turned = scene.pose_error(found.T_cam_world, TRUE[10])
    assert apart < 1e-5
    assert turned < 1e-3


def test_a_second_start_is_tried_where_the_first_one_fails() -> None:
    frame, map_ = frame_and_map()
    behind = np.diag([-1.0, 1, -1, 1])
    assert pose_from_points(frame, [behind], map_, scene.FOCAL, CONFIG) is None
    found = pose_from_points(frame, [behind, TRUE[9]], map_, scene.FOCAL, CONFIG)
    assert found is not None
    assert scene.pose_error(found.T_cam_world, TRUE[10])[0] < 0.01


def test_too_few_landmarks_or_too_few_that_agree_give_no_pose() -> None:
    frame, map_ = frame_and_map()
    few = PointFrame(0, frame.ids[: CONFIG.min_points - 1], frame.bearing[: CONFIG.min_points - 1])
    assert pose_from_points(few, [TRUE[9]], map_, scene.FOCAL, CONFIG) is None
    frame.bearing[:80] = np.random.default_rng(3).uniform(-0.5, 0.5, (80, 2))
    assert pose_from_points(frame, [TRUE[9]], map_, scene.FOCAL, CONFIG) is None


def errors(known: np.ndarray, guessed: np.ndarray, spread: float, noise_px: float) -> np.ndarray:
    """Root mean square distance and angle from the true pose, over 20 frames with other guesses, off by 30 %."""
    rng, found = np.random.default_rng(3), []
    centre = np.linalg.inv(TRUE[6])[:3, 3]
    for _ in range(20):
        map_ = SparseMap()
        map_.add_landmarks(POINTS[known], known)
        guess = centre + np.exp(rng.normal(0, 0.3, (len(guessed), 1))) * (POINTS[guessed] - centre)
        map_.add_landmarks(guess, guessed, spread * (guess - centre))
        frame = scene.point_frame(0, TRUE[10], POINTS, rng, noise_px)
        pose = pose_from_points(frame, [TRUE[9]], map_, scene.FOCAL, CONFIG)
        assert pose is not None
        found.append(scene.pose_error(pose.T_cam_world, TRUE[10]))
    return np.sqrt(np.mean(np.square(found), axis=0))


def test_wrong_guesses_do_not_draw_the_pose_away() -> None:
    known, guessed = np.arange(50), np.arange(50, 100)
    as_known, as_guesses = (errors(known, guessed, spread, 0.0) for spread in (1e-3, 0.3))
    assert (as_guesses < 0.5 * as_known).all()


def test_wrong_guesses_help_where_known_points_leave_a_pose_open() -> None:
    """All known ones lie in a corner of the image."""
    order = np.argsort((POINTS[:, :2] / POINTS[:, 2:]).sum(1))
    without, guesses = (errors(np.sort(order[:12]), np.sort(order[12:last]), 0.3, 0.5) for last in (12, 120))
    assert (guesses < 0.6 * without).all()
