"""A start with a gyroscope: directions of known rotations, and solutions that turn otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from point_scenes import FOCAL, Motion, direction_error_deg, room, tracks, wall
from scipy.spatial.transform import Rotation

from evslam.config import load_config
from evslam.tracking.bootstrap import Bootstrap
from evslam.tracking.gyro import Gyro
from evslam.tracking.gyro_start import sampled_direction, turned_hypotheses, turning_alike, turns_of
from evslam.tracking.start import refine
from evslam.types import Imu

CONFIG = load_config()
ASIDE = Motion((0.5, 0.1, 0.05), (0.05, -0.2, 0.1))


def gyro(omega: tuple[float, float, float]) -> Gyro:
    t_us = np.arange(-10_000, 4_000_000, 1000)
    rates = np.tile(omega, (len(t_us), 1))
    return Gyro(Imu(t_us, np.zeros_like(rates), rates), CONFIG.gyro)


def two_views(outliers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bearings before and after, R_b_a, and the direction of the translation in b."""
    rng = np.random.default_rng(0)
    frames = tracks(room(rng), ASIDE, rng, noise_px=0.1)
    _, rows, now = np.intersect1d(frames[0].ids, frames[-1].ids, return_indices=True)
    before, after = frames[0].bearing[rows], frames[-1].bearing[now].copy()
    after[:outliers] += rng.normal(0, 0.1, (outliers, 2))
    rotation, centre = ASIDE.pose(frames[-1].t_us * 1e-6)
    return before, after, rotation.T, -rotation.T @ centre / np.linalg.norm(centre)


@pytest.mark.parametrize("outliers", [0, 40])
def test_two_points_tell_the_direction(outliers: int) -> None:
    before, after, R_b_a, true = two_views(outliers)
    found = sampled_direction(before, after, R_b_a, FOCAL)
    assert np.linalg.norm(found) == pytest.approx(1)
    assert abs(found @ true) > np.cos(np.radians(2))


def test_hypotheses_have_the_rotation_and_both_signs() -> None:
    before, after, R_b_a, true = two_views(20)
    poses = turned_hypotheses(before, after, R_b_a, FOCAL)
    assert len(poses) == 4
    assert all(np.array_equal(pose[:3, :3], R_b_a) for pose in poses)
    along = [pose[:3, 3] @ true for pose in poses]
    assert along[0] == pytest.approx(-along[1])
    assert max(along) > np.cos(np.radians(2))


def test_points_that_do_not_move_tell_no_direction_and_no_error() -> None:
    same = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 2))
    assert np.isfinite(sampled_direction(same, same, np.eye(3), FOCAL)).all()


def test_a_solution_that_turns_otherwise_is_left_out() -> None:
    rng = np.random.default_rng(1)
    frames = tracks(room(rng), ASIDE, rng, noise_px=0.1)[::20]
    rotation, centre = ASIDE.pose(frames[-1].t_us * 1e-6)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.T, -rotation.T @ centre
    candidates = refine(frames, [pose], FOCAL, CONFIG.bootstrap)
    assert len(candidates) == 1
    assert turning_alike(candidates, gyro(ASIDE.omega)) == candidates
    assert turning_alike(candidates, gyro((0.05, -0.3, 0.1))) == []
    late = candidates[0].sightings
    outside = tuple(replace(frame, t_us=frame.t_us + 10_000_000) for frame in late.frames)
    moved = [replace(candidates[0], sightings=replace(late, frames=outside))]
    assert turning_alike(moved, gyro(ASIDE.omega)) == moved  # not covered


@pytest.mark.parametrize("scene", [room, wall])
def test_starts_right_with_a_gyroscope_and_a_bias(scene) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    biased = gyro((0.06, -0.21, 0.11))
    bootstrap = Bootstrap(CONFIG.bootstrap, FOCAL)
    found = (bootstrap.add(frame, biased) for frame in tracks(scene(rng), ASIDE, rng, seconds=3.0))
    start = next(each for each in found if each is not None)
    assert direction_error_deg(start, ASIDE) < 5
    turn = Rotation.from_matrix(start.T_cam_world[-1, :3, :3]).magnitude()
    assert turn == pytest.approx(np.linalg.norm(ASIDE.omega) * start.diagnosis.duration_s, rel=0.05)


def test_turns_hold_the_rotation_where_points_mistake_a_turn_for_a_translation() -> None:
    """A short path in front of a far wall with noise: points alone cannot tell turning from moving aside."""
    rng = np.random.default_rng(3)
    motion = Motion((0.4, 0.0, 0.0), (0.0, 0.4, 0.0))
    frames = tracks(wall(rng), motion, rng, seconds=0.35, noise_px=0.5)[::5]
    rotation, centre = motion.pose(frames[-1].t_us * 1e-6)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation.T, -rotation.T @ centre
    patient = replace(CONFIG.bootstrap, min_angle_deg=0.5)
    errors = []
    for turns in (None, turns_of(frames, gyro((0.005, 0.405, -0.005)), FOCAL)):
        best = refine(frames, [pose], FOCAL, patient, turns)[0]
        assert len(best.error_px) == len(best.sightings.observations.view)
        assert len(best.points) == len(best.sightings.ids)
        errors.append(np.degrees(Rotation.from_matrix(best.T_cam_world[-1, :3, :3] @ rotation).magnitude()))
    assert errors[1] < 0.25
    assert errors[1] < 0.7 * errors[0]


def test_turns_are_those_of_the_gyroscope_and_less_sure_with_time() -> None:
    frames = tracks(room(np.random.default_rng(0)), ASIDE, np.random.default_rng(0))[::30]
    turns = turns_of(frames, gyro(ASIDE.omega), FOCAL)
    assert turns is not None
    for frame, rotation in zip(frames, turns.rotation, strict=True):
        assert rotation == pytest.approx(ASIDE.pose(frame.t_us * 1e-6)[0].T, abs=1e-9)
    assert (np.diff(turns.weight) < 0).all()
    late = [replace(frame, t_us=frame.t_us + 10_000_000) for frame in frames]
    assert turns_of(late, gyro(ASIDE.omega), FOCAL) is None


def test_turns_are_surer_the_longer_the_bias_was_learnt() -> None:
    """A bias learnt in a blink tells no more than none; one learnt for a second tells a turn of a second."""
    frames = tracks(room(np.random.default_rng(0)), ASIDE, np.random.default_rng(0))[:101:100]
    weights = []
    for known_s in (0.0, 0.05, 1.0, 5.0):
        learnt = gyro(ASIDE.omega)
        learnt.known_s = known_s
        turns = turns_of(frames, learnt, FOCAL)
        assert turns is not None
        weights.append(turns.weight[-1])
    assert weights[1] == pytest.approx(weights[0], rel=0.05)
    assert 4 * weights[0] < weights[2] < weights[3]
