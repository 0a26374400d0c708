"""Tracks that move are carried on: by where new ones lie, by the flow of the image, and where they hide the scene."""

from __future__ import annotations

import map_scenes as scene
import numpy as np
import pytest

from evslam.tracking.moving_tracks import MovingTracks
from evslam.types import PointFrame

LIMITS, CANVAS = scene.CONFIG.movers, scene.CANVAS
BODY = np.array([[x, y] for x in (100.0, 115, 130) for y in (80.0, 95, 110)])  # canvas pixels of tracks 0 to 8
REST = np.array([[x, y] for x in (60.0, 90, 160, 190) for y in (60.0, 120)])  # of tracks 9 to 16
SHIFT = np.array([8.0, 2.0])


def frame(t_us: int, place: np.ndarray, ids: np.ndarray | None = None) -> PointFrame:
    return PointFrame(t_us, np.arange(len(place)) if ids is None else ids, CANVAS.bearings(place))


def moving_body() -> MovingTracks:
    tracks = MovingTracks()
    tracks.learn(np.arange(9), np.zeros(0, np.int64))
    return tracks


def test_what_is_learnt_last_counts_and_doubt_is_movement() -> None:
    tracks = moving_body()
    tracks.learn(np.array([3]), np.array([3, 4]))
    np.testing.assert_array_equal(tracks.proven, [0, 1, 2, 3, 5, 6, 7, 8])
    np.testing.assert_array_equal(tracks.still, [4])
    tracks.learn(np.array([4]), np.array([5]))
    np.testing.assert_array_equal(tracks.proven, [0, 1, 2, 3, 4, 6, 7, 8])
    np.testing.assert_array_equal(tracks.still, [5])


def test_a_new_track_in_the_midst_moves_and_one_outside_does_not() -> None:
    tracks = moving_body()
    tracks.follow(frame(0, np.concatenate([BODY, [[122.0, 88.0], [150.0, 95.0]]])), [], CANVAS, LIMITS)
    np.testing.assert_array_equal(tracks.are_moving(np.arange(11)), [True] * 10 + [False])


def test_a_track_that_leaves_the_midst_soon_is_not_held_to_move() -> None:
    tracks = moving_body()
    for k, x in enumerate((122.0, 122.0, 160.0)):
        tracks.follow(frame(10_000 * k, np.concatenate([BODY, [[x, 88.0]]])), [], CANVAS, LIMITS)
    assert not tracks.are_moving(np.array([9])).any()


def test_a_track_that_stays_in_the_midst_is_held_to_move_for_good() -> None:
    tracks, end_us = moving_body(), round(1e6 * LIMITS.prove_s)
    for t_us, x in ((0, 122.0), (end_us + 10_000, 122.0), (end_us + 20_000, 160.0)):
        tracks.follow(frame(t_us, np.concatenate([BODY, [[x, 88.0]]])), [], CANVAS, LIMITS)
    assert 9 in tracks.proven


def test_a_track_known_to_be_still_does_not_move_wherever_it_lies() -> None:
    tracks = moving_body()
    tracks.learn(np.zeros(0, np.int64), np.array([9]))
    tracks.follow(frame(0, np.concatenate([BODY, [[122.0, 88.0]]])), [], CANVAS, LIMITS)
    assert not tracks.are_moving(np.array([9])).any()


def test_tracks_that_end_are_forgotten() -> None:
    tracks = moving_body()
    tracks.follow(frame(0, BODY[4:], np.arange(4, 9)), [], CANVAS, LIMITS)
    np.testing.assert_array_equal(tracks.proven, np.arange(4, 9))
    tracks.follow(frame(1, REST, np.arange(9, 17)), [], CANVAS, LIMITS)
    assert not tracks.any


@pytest.mark.parametrize(("moved", "expected"), [((8.0, 2.0), True), ((0.0, 0.0), False)])
def test_a_track_follows_the_flow_of_the_object_or_of_the_rest(moved: tuple[float, float], expected: bool) -> None:
    """Track 17 is new, beside the object; it is taken not to move until the flow tells."""
    tracks, new = moving_body(), np.array([[148.0, 95.0]])
    before = frame(0, np.concatenate([BODY, REST, new]))
    after = np.concatenate([BODY + SHIFT, REST, new + moved])
    tracks.follow(frame(round(1e6 * LIMITS.flow_s), after), [before], CANVAS, LIMITS)
    assert tracks.are_moving(np.array([17]))[0] == expected
    assert tracks.are_moving(np.arange(9)).all()
    assert not tracks.are_moving(np.arange(9, 17)).any()


def test_a_track_of_the_rest_among_those_that_move_is_released_by_the_flow() -> None:
    tracks = moving_body()
    tracks.learn(np.array([17]), np.zeros(0, np.int64))
    before = frame(0, np.concatenate([BODY, REST, [[148.0, 95.0]]]))
    after = frame(round(1e6 * LIMITS.flow_s), np.concatenate([BODY + SHIFT, REST, [[148.0, 95.0]]]))
    tracks.follow(after, [before], CANVAS, LIMITS)
    assert not tracks.are_moving(np.array([17])).any()


def test_while_both_move_alike_the_flow_tells_nothing() -> None:
    tracks, everything = moving_body(), np.concatenate([BODY, REST])
    after = frame(round(1e6 * LIMITS.flow_s), everything + SHIFT)
    tracks.follow(after, [frame(0, everything)], CANVAS, LIMITS)
    np.testing.assert_array_equal(tracks.proven, np.arange(9))


def test_the_region_is_nearer_to_what_moves_than_to_the_rest() -> None:
    tracks, everything = moving_body(), np.concatenate([BODY, REST])
    region = tracks.region(frame(0, everything), CANVAS, LIMITS.radius_px)
    assert region.shape == (CANVAS.height, CANVAS.width)
    column, row = np.rint(everything).astype(int).T
    np.testing.assert_array_equal(region[row, column], [True] * 9 + [False] * 8)
    y, x = np.nonzero(region)
    apart = np.linalg.norm(np.column_stack([x, y])[:, None] - BODY, axis=2).min(1)
    assert apart.max() < LIMITS.radius_px + 4
    assert not MovingTracks().region(frame(0, everything), CANVAS, LIMITS.radius_px).any()
