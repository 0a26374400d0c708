"""When 6-DoF tracking starts from point tracks, and that it starts right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from point_scenes import FOCAL, Motion, direction_error_deg, first_start, joined, room, tracks, wall

from evslam.config import load_config
from evslam.multiview.crowding import area_weight
from evslam.tracking.bootstrap import Bootstrap, Start, deviation
from evslam.types import PointFrame

CONFIG = load_config().bootstrap
ASIDE = Motion((0.5, 0.1, 0.05), (0.05, -0.2, 0.1))
AHEAD = Motion((0.1, 0.05, 0.6), (0.1, 0.1, -0.05))
TURN = Motion((0.0, 0.0, 0.0), (0.3, -0.6, 0.2))


@pytest.mark.parametrize("motion", [ASIDE, AHEAD])
@pytest.mark.parametrize("scene", [room, wall])
def test_starts_right_in_a_room_and_before_a_wall(scene, motion: Motion) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(1)
    start = first_start(Bootstrap(CONFIG, FOCAL), tracks(scene(rng), motion, rng, seconds=3.0))
    assert start is not None
    assert direction_error_deg(start, motion) < 5
    assert start.error_px[start.good[start.observations.point]].mean() < 0.6
    np.testing.assert_array_equal(start.T_cam_world[0], np.eye(4))


def test_points_stand_where_they_are_up_to_scale() -> None:
    rng = np.random.default_rng(2)
    points = room(rng)
    start = first_start(Bootstrap(CONFIG, FOCAL), tracks(points, ASIDE, rng, noise_px=0.1))
    assert start is not None
    rotation, centre = ASIDE.pose(start.frames[0].t_us * 1e-6)
    true = (points[start.ids[start.good]] - centre) @ rotation
    assert np.median(start.points[start.good, 2]) == pytest.approx(1.0)
    ratio = true[:, 2] / start.points[start.good, 2]
    assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.04


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise_px", [0.2, 0.6])
def test_never_starts_while_the_camera_only_turns(seed: int, noise_px: float) -> None:
    rng = np.random.default_rng(seed)
    bootstrap = Bootstrap(CONFIG, FOCAL)
    assert first_start(bootstrap, tracks(room(rng), TURN, rng, noise_px=noise_px)) is None
    assert bootstrap.reason
    assert bootstrap.parallax_deg < 0.5


def test_says_that_it_waits_for_parallax_and_starts_once_the_camera_moves() -> None:
    rng = np.random.default_rng(3)
    points = room(rng)
    bootstrap = Bootstrap(CONFIG, FOCAL)
    assert first_start(bootstrap, tracks(points, Motion((0, 0, 0), (0, 0.1, 0)), rng, 1.0)) is None
    assert "parallax" in bootstrap.reason
    assert bootstrap.num_attempts == 0
    moving = [PointFrame(f.t_us + 1_000_000, f.ids + 500, f.bearing) for f in tracks(points, ASIDE, rng)]
    start = first_start(bootstrap, moving)
    assert start is not None
    assert start.frames[0].t_us >= 1_000_000
    assert bootstrap.num_attempts > 0


def test_a_path_agrees_with_itself_at_another_scale_and_not_with_another() -> None:
    t_us = np.arange(6) * 100_000
    seen = []
    for motion, factor in ((ASIDE, 1.0), (ASIDE, 3.0), (AHEAD, 1.0)):
        poses = np.tile(np.eye(4), (6, 1, 1))
        for pose, t in zip(poses, t_us, strict=True):
            rotation, centre = motion.pose(t * 1e-6)
            pose[:3, :3], pose[:3, 3] = rotation.T, -factor * rotation.T @ centre
        seen.append(poses)
    assert deviation(seen[0], t_us, seen[1], t_us) < 1e-9
    assert deviation(seen[0][1:5], t_us[1:5], seen[1], t_us) < 1e-9
    assert deviation(seen[0], t_us, seen[2], t_us) > 0.5


def started_in_need(bootstrap: Bootstrap, frames: list[PointFrame]) -> Start | None:
    return next((start for frame in frames if (start := bootstrap.add(frame, in_need=True)) is not None), None)


def test_in_need_a_start_of_many_tracks_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evslam.tracking.bootstrap._is_sure", lambda *_: False)
    rng, alone = np.random.default_rng(7), replace(CONFIG, confirm_s=1e3)
    frames = tracks(room(rng), ASIDE, rng, seconds=2.0)
    assert first_start(Bootstrap(alone, FOCAL), frames) is None
    start = started_in_need(Bootstrap(alone, FOCAL), frames)
    assert start is not None
    assert direction_error_deg(start, ASIDE) < 5
    assert start.diagnosis.duration_s > CONFIG.sure_factor * CONFIG.min_duration_s
    few = tracks(room(rng, 45), ASIDE, rng, seconds=2.0)
    assert started_in_need(Bootstrap(alone, FOCAL), few) is None


def test_few_tracks_are_never_sure_at_once() -> None:
    rng = np.random.default_rng(8)
    frames = tracks(room(rng, 45), ASIDE, rng, seconds=2.0)
    assert first_start(Bootstrap(replace(CONFIG, confirm_s=1e3), FOCAL), frames) is None
    start = first_start(Bootstrap(CONFIG, FOCAL), frames)
    assert start is not None
    assert direction_error_deg(start, ASIDE) < 8


def test_few_points_are_told_to_the_user() -> None:
    rng = np.random.default_rng(4)
    bootstrap = Bootstrap(CONFIG, FOCAL)
    assert first_start(bootstrap, tracks(room(rng, 15), ASIDE, rng)) is None
    assert "points are tracked" in bootstrap.reason


def test_some_wild_tracks_do_not_disturb_it() -> None:
    rng = np.random.default_rng(5)
    frames = tracks(room(rng), ASIDE, rng)
    wild = np.flatnonzero(rng.random(150) < 0.1)
    drift = rng.normal(0, 40 / FOCAL, (150, 2))
    for frame in frames:
        hit = np.isin(frame.ids, wild)
        frame.bearing[hit] += drift[frame.ids[hit]] * frame.t_us * 1e-6
    start = first_start(Bootstrap(CONFIG, FOCAL), frames)
    assert start is not None
    assert direction_error_deg(start, ASIDE) < 5
    is_wild = np.isin(start.ids, wild)
    assert start.good[is_wild].mean() < 0.5 * start.good[~is_wild].mean()


def test_a_moving_object_rich_in_texture_does_not_decide() -> None:
    rng = np.random.default_rng(6)
    still = tracks(room(rng, 110), ASIDE, rng)
    depth = rng.uniform(1.9, 2.1, 60)
    mover = np.column_stack([rng.uniform(-0.1, 0.1, (60, 2)) * depth[:, None], depth])
    seen = tracks(mover, Motion((-0.2, 0.5, 0.05), ASIDE.omega), rng)
    start = first_start(Bootstrap(CONFIG, FOCAL), joined(still, seen))
    if start is not None:
        assert direction_error_deg(start, ASIDE) < 8


def test_crowded_points_share_the_weight_of_three() -> None:
    place = np.concatenate([np.full((9, 2), 0.1), [[0.5, 0.5], [0.52, 0.5]]])
    np.testing.assert_allclose(area_weight(place, 0.05), [1 / 3] * 9 + [1, 1])
    np.testing.assert_array_equal(area_weight(place, 0.0), np.ones(11))
