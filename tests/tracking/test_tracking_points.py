"""Points follow a texture that moves in a known way."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import moving_points as scene
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from evslam.geometry.canvas import Canvas
from evslam.tracking.event_frame import EventFrame, pyramid
from evslam.tracking.image_flow import flow_at, flow_matrix
from evslam.tracking.points import PointTracker

CONFIG = scene.CONFIG
CANVAS = Canvas.of(scene.CAMERA, CONFIG.frame.canvas_width, CONFIG.frame.canvas_margin)
POINTS = replace(CONFIG.points, run_in_px=0.0)
SHAPE = CANVAS.height, CANVAS.width
STEP_S = 0.01
FLOW = np.array([150.0, 0.6, -0.8, -80.0, 0.8, 0.6])  # to the right and upwards, rolling and growing
NOISE = np.stack([gaussian_filter(np.random.default_rng(k).normal(size=SHAPE), 2.5) for k in range(2)])
TEXTURE = (40 * NOISE / NOISE.std()).astype(np.float32)


def moved(place: np.ndarray, number: int, flow: np.ndarray = FLOW) -> np.ndarray:
    """Where places (N, 2) of the first image are on image `number`."""
    matrix = flow_matrix(flow, CANVAS.centre, number * STEP_S)
    return place @ matrix[:2, :2].T + matrix[:2, 2]


def channels(number: int, flow: np.ndarray = FLOW) -> list[np.ndarray]:
    """Both channels of image `number`; what comes in from outside is the mirrored texture."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
    source = moved(np.stack([column.ravel(), row.ravel()], 1), -number, flow)
    where = source[:, 1], source[:, 0]
    return [map_coordinates(each, where, order=3, mode="mirror").reshape(SHAPE) for each in TEXTURE]


def frame(number: int, images: list[np.ndarray] | None = None, activity: float = 2.0) -> EventFrame:
    images = channels(number) if images is None else images
    busy = np.full((SHAPE[0] // 2, SHAPE[1] // 2), activity, np.float32)
    levels = pyramid(tuple(images), CONFIG.frame.levels)
    return EventFrame(round(number * STEP_S * 1e6), levels, busy, np.zeros(SHAPE, np.float32), 1000)


FRAMES = [frame(number) for number in range(16)]


def tracker_after(frames: list[EventFrame]) -> PointTracker:
    tracker = PointTracker(CANVAS, POINTS)
    tracker.flow = FLOW.copy()
    for each in frames:
        tracker.track(each)
    return tracker


@pytest.mark.parametrize(("run_in_px", "run_in_s", "first"), [(4.0, 9.0, 3), (99.0, 0.045, 5), (0.0, 9.0, 0)])
def test_points_wait_until_the_images_have_run_in(run_in_px: float, run_in_s: float, first: int) -> None:
    tracker = PointTracker(CANVAS, replace(CONFIG.points, run_in_px=run_in_px, run_in_s=run_in_s))
    tracker.flow = FLOW.copy()  # 170 px/s: 1.7 px an image
    counts = []
    for each in FRAMES[:8]:
        tracker.track(each)
        counts.append(len(tracker.ids))
    assert all(count == 0 for count in counts[:first])
    assert all(count > 100 for count in counts[first:])


def test_tracks_follow_the_motion() -> None:
    tracker = tracker_after(FRAMES[:1])
    start = tracker.place
    for each in FRAMES[1:]:
        tracker.track(each)
    left = tracker.ids < len(start)  # the first image gave them the numbers from 0
    true = moved(start, 15)
    error = np.linalg.norm(tracker.place[left] - true[tracker.ids[left]], axis=1)
    in_view = ((true > 30) & (true < np.array(SHAPE[::-1]) - 30)).all(1)
    assert np.median(np.linalg.norm(true - start, axis=1)) > 15
    assert np.isin(np.flatnonzero(in_view), tracker.ids).mean() > 0.8
    assert np.median(error) < 0.1
    assert np.quantile(error, 0.95) < 0.3
    assert (np.diff(tracker.ids) > 0).all()


def test_flow_and_speed_are_those_of_the_image() -> None:
    tracker = tracker_after(FRAMES)
    corners = CANVAS.centre + np.array([[-80.0, -60.0], [80, -60], [-80, 60], [80, 60]])
    mean_step = (corners - moved(corners, -1)) / STEP_S
    assert np.abs(flow_at(tracker.flow, moved(corners, -1), CANVAS.centre) - mean_step).max() < 6
    speeds = np.hypot(*flow_at(FLOW, tracker.place, CANVAS.centre).T)
    assert tracker.median_speed == pytest.approx(np.median(speeds), rel=0.05)
    assert tracker.speed == pytest.approx(np.quantile(speeds, 0.7), rel=0.05)


def test_points_keep_their_distance_and_their_number() -> None:
    tracker = tracker_after(FRAMES[:1])
    apart = np.linalg.norm(tracker.place[:, None] - tracker.place[None], axis=-1) + 1e3 * np.eye(len(tracker.ids))
    assert apart.min() > CONFIG.points.min_distance_px - 1
    for each in FRAMES[1:]:
        tracker.track(each)
        assert len(tracker.ids) <= CONFIG.points.max_points
        assert len(np.unique(tracker.slot)) == len(tracker.slot)
        column, row = np.rint(tracker.place).astype(int).T
        assert CANVAS.valid[row, column].all()
    assert tracker.ids.max() >= len(apart)  # new points where the motion made room


def first_points(image: EventFrame, *, even: bool, **changes: float) -> PointTracker:
    """Tracker after one image, weak corners included."""
    limits = replace(POINTS, min_corner=0.001, even_corner=0.001, **changes)
    tracker = PointTracker(CANVAS, limits)
    tracker.track(image, even=even)
    return tracker


def cells_of(place: np.ndarray) -> list[tuple[int, int]]:
    side = SHAPE[1] / CONFIG.points.even_cells
    return [(int(x // side), int(y // side)) for x, y in place]


def partly_strong() -> EventFrame:
    """The texture, four times as strong on the fifth of the image at the top left."""
    gain = np.ones(SHAPE, np.float32)
    gain[:100, :120] = 4.0
    return frame(0, [gain * each for each in channels(0)])


@pytest.mark.parametrize(("even", "low", "high"), [(False, 0.65, 0.75), (True, 0.2, 0.3)])
def test_evenly_spread_points_are_left_to_a_weak_texture(even: bool, low: float, high: float) -> None:
    place = first_points(partly_strong(), even=even, max_points=100, even_points=3).place
    assert len(place) == 100
    assert low < ((place[:, 0] < 124) & (place[:, 1] < 104)).mean() < high


def test_no_cell_gets_more_points_than_it_may_have() -> None:
    unlimited = Counter(cells_of(first_points(partly_strong(), even=False, max_points=1000).place))
    limited = Counter(cells_of(first_points(partly_strong(), even=True, max_points=1000, even_points=4).place))
    assert max(unlimited.values()) > 10
    assert max(limited.values()) == 4
    assert all(limited[cell] == 4 for cell, count in unlimited.items() if count > 8)


def test_points_that_are_there_count_in_their_cells() -> None:
    tracker = first_points(FRAMES[0], even=True, max_points=100, even_points=4)
    tracker.rest(0)
    tracker._select(tracker.place[:, 0] < 120)
    left = tracker.ids
    tracker.track(replace(FRAMES[0], t_us=10_000), even=True)
    assert len(left) < 50
    assert np.isin(left, tracker.ids).mean() > 0.9
    assert len(tracker.ids) == 100
    assert max(Counter(cells_of(tracker.place)).values()) == 4


def test_points_on_an_image_that_has_changed_are_lost() -> None:
    tracker = tracker_after(FRAMES[:4])
    other = frame(4, [np.ascontiguousarray(each[::-1]) for each in channels(4)])
    before = tracker.ids
    tracker.track(other)
    assert np.isin(before, tracker.ids).mean() < 0.1


def test_what_moves_on_its_own_is_dropped() -> None:
    """A part of the image that jumps by eight pixels against the rest."""
    tracker = tracker_after(FRAMES[:4])
    images = channels(4)
    box = np.s_[60:130, 90:170]
    for image, texture in zip(images, channels(4), strict=True):
        image[box] = np.roll(texture, 8, axis=1)[box]
    inside = (np.abs(moved(moved(tracker.place, -3), 4) - [130, 95]) < [22, 17]).all(1)
    before = tracker.ids
    tracker.track(frame(4, images))
    assert inside.sum() > 5
    kept = np.isin(before, tracker.ids)
    assert kept[inside].mean() < 0.2
    assert kept[~inside].mean() > 0.6


def test_moving_points_without_events_are_dropped_after_a_while() -> None:
    tracker = tracker_after(FRAMES[:3])
    for number in range(3, 3 + CONFIG.points.max_idle - 1):
        tracker.track(frame(number, activity=0.0))
    assert len(tracker.ids) > 50
    tracker.track(frame(2 + CONFIG.points.max_idle, activity=0.0))
    assert len(tracker.ids) == 0


def test_an_image_without_texture_gives_no_points() -> None:
    tracker = tracker_after([frame(0, [np.zeros(SHAPE, np.float32)] * 2)] * 3)
    assert len(tracker.ids) == 0
    assert tracker.speed == pytest.approx(np.hypot(FLOW[0], FLOW[3]))


def test_tracking_goes_on_from_a_state_bit_by_bit() -> None:
    one = tracker_after(FRAMES[:8])
    other = PointTracker(CANVAS, POINTS)
    other.load_state_dict(one.state_dict())
    for each in FRAMES[8:]:
        one.track(each)
        other.track(each)
    assert np.array_equal(one.ids, other.ids)
    assert np.array_equal(one.place, other.place)
    assert np.array_equal(one.flow, other.flow)
