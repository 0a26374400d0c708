"""From events to tracks: points before a turning camera move as geometry says."""

from __future__ import annotations

import io
from dataclasses import replace

import moving_points as scene
import numpy as np
import pytest
import torch

from evslam.geometry.canvas import Canvas
from evslam.geometry.lie import SE3
from evslam.tracking.front_end import Evenness, FrontEnd
from evslam.tracking.gyro import Gyro
from evslam.tracking.image_flow import flow_at, rotation_flow
from evslam.types import EventBatch, Imu, PointFrame

CONFIG = scene.CONFIG
CANVAS = Canvas.of(scene.CAMERA, CONFIG.frame.canvas_width, CONFIG.frame.canvas_margin)
TWIST = torch.tensor([0.0, 0.0, 0.0, 0.3, -0.8, 0.2], dtype=torch.float64)
POINTS = scene.scene((1.0, 3.0))
STEP_S = 0.01
JERK = 3


def batches(count: int, jerk_at: int | None = None) -> list[EventBatch]:
    """Batch k shows the points as the camera, which turns steadily, sees them then; each is brighter than before.

    From batch `jerk_at` on it turns JERK times as fast.
    """
    found = []
    for k in range(count):
        jerk = 0 if jerk_at is None else (JERK - 1) * max(k + 0.5 - jerk_at, 0)
        points = SE3.exp(-(k + 0.5 + jerk) * STEP_S * TWIST) * POINTS
        batch = scene.batch(
            points, TWIST * (JERK if jerk else 1), STEP_S, 4000, start_us=round(k * STEP_S * 1e6), seed=k
        )
        found.append(replace(batch, polarity=torch.ones(4000, dtype=torch.bool)))
    return found


BATCHES = batches(25)


@pytest.fixture(scope="module")
def frames() -> list[PointFrame]:
    front_end = FrontEnd(scene.CAMERA, CANVAS, CONFIG)
    return [front_end.take(batch) for batch in BATCHES]


def test_tracks_turn_with_the_camera(frames: list[PointFrame]) -> None:
    early, late = frames[12], frames[-1]
    _, i, k = np.intersect1d(early.ids, late.ids, return_indices=True)
    rays = torch.from_numpy(np.column_stack([early.bearing[i], np.ones(len(i))]))
    turned = (SE3.exp(-12 * STEP_S * TWIST) * rays).numpy()
    error = CANVAS.focal * np.linalg.norm(turned[:, :2] / turned[:, 2:] - late.bearing[k], axis=1)
    moved = CANVAS.focal * np.linalg.norm(late.bearing[k] - early.bearing[i], axis=1)
    assert len(i) > 30
    assert np.median(moved) > 15
    assert np.median(error) < 0.7
    assert np.quantile(error, 0.9) < 2.0


def test_frames_hold_what_mapping_needs(frames: list[PointFrame]) -> None:
    assert [frame.t_us for frame in frames] == [round((k + 1) * STEP_S * 1e6) for k in range(25)]
    for frame in frames:
        assert (np.diff(frame.ids) > 0).all()
        assert frame.votes is not None
        assert frame.votes.shape == CANVAS.valid.shape


def test_before_there_are_points_the_flow_is_that_of_the_sharpest_rotation() -> None:
    front_end = FrontEnd(scene.CAMERA, CANVAS, CONFIG)
    front_end.take(BATCHES[0])
    corners = CANVAS.centre + np.array([[-60.0, -50.0], [60, -50], [-60, 50], [60, 50]])
    expected = flow_at(rotation_flow(TWIST[3:].numpy(), CANVAS.focal), corners, CANVAS.centre)
    assert (
        np.abs(flow_at(front_end.points.flow, corners, CANVAS.centre) - expected).max() < 0.1 * np.abs(expected).max()
    )


def surviving(gyro: Gyro | None) -> float:
    """Share of the tracks that go on right through a jerk."""
    front_end = FrontEnd(scene.CAMERA, CANVAS, CONFIG, gyro)
    before, after = [front_end.take(batch) for batch in batches(16, jerk_at=15)][-2:]
    _, i, k = np.intersect1d(before.ids, after.ids, return_indices=True)
    rays = torch.from_numpy(np.column_stack([before.bearing[i], np.ones(len(i))]))
    turned = (SE3.exp(-JERK * STEP_S * TWIST) * rays).numpy()
    error = CANVAS.focal * np.linalg.norm(turned[:, :2] / turned[:, 2:] - after.bearing[k], axis=1)
    return float((error < 2).sum() / len(before.ids))


def test_a_gyroscope_carries_points_through_a_jerk() -> None:
    t_us = np.arange(-1000, 200_000, 1000)
    rates = np.where(t_us[:, None] < 150_000, 1.0, JERK) * TWIST[3:].numpy() + [0.01, -0.02, 0.01]
    with_gyro = surviving(Gyro(Imu(t_us, np.zeros_like(rates), rates), CONFIG.gyro))
    assert with_gyro > 0.4
    assert with_gyro > 2 * surviving(None)


def test_pace_lets_no_image_last_longer_or_shorter_than_allowed() -> None:
    front_end = FrontEnd(scene.CAMERA, CANVAS, CONFIG)
    shortest, longest = CONFIG.frame.step_s
    paces = []
    for speed in (0.0, 250.0, 1e5):
        front_end.points.flow = np.array([speed, 0, 0, 0, 0, 0])
        paces.append(front_end.pace)
    steps = CONFIG.frame.step_px / np.array(paces)
    assert steps[0] == pytest.approx(longest)
    assert shortest <= steps[1] <= longest
    assert steps[2] == pytest.approx(shortest)


def test_it_goes_on_from_its_state_bit_by_bit(frames: list[PointFrame]) -> None:
    one, other, file = FrontEnd(scene.CAMERA, CANVAS, CONFIG), FrontEnd(scene.CAMERA, CANVAS, CONFIG), io.BytesIO()
    for batch in BATCHES[:15]:
        one.take(batch)
    torch.save(one.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    for batch, expected in zip(BATCHES[15:], frames[15:], strict=True):
        found = other.take(batch)
        assert np.array_equal(found.ids, expected.ids)
        assert np.array_equal(found.bearing, expected.bearing)


def test_noise_is_told_from_a_scene_by_its_evenness() -> None:
    evenness = Evenness(CANVAS)

    def variance(batch: EventBatch) -> float:
        assert batch.pixel is not None
        return evenness.variance(batch.pixel.numpy())

    assert abs(variance(scene.noise(4000, STEP_S))) < 0.06
    assert abs(variance(scene.noise(40_000, STEP_S))) < 0.01
    assert min(variance(batch) for batch in BATCHES) > 0.8
    assert variance(scene.noise(0, STEP_S)) == 0.0
    stripes = np.arange(180 * 240).reshape(180, 240)[:, 0:240:8].ravel()  # 4 in every second cell
    assert evenness.variance(np.repeat(stripes, 25)) == pytest.approx(
        0.98
    )  # 100 events in half of the cells, less 1 / 50


@pytest.mark.parametrize("num_events", [0, 40, 4000, 40_000])
def test_noise_moves_no_points(num_events: int, frames: list[PointFrame]) -> None:
    front_end = FrontEnd(scene.CAMERA, CANVAS, CONFIG)
    for batch in BATCHES[:15]:
        last = front_end.take(batch)
    leaky, rate = front_end.builder.leaky.copy(), front_end.usual_rate
    for seed in range(10):
        frame = front_end.take(scene.noise(num_events, STEP_S, seed))
        assert frame.is_resting
        assert np.array_equal(frame.ids, last.ids)
        assert np.array_equal(frame.bearing, last.bearing)
    assert np.array_equal(front_end.builder.leaky, leaky)
    assert front_end.usual_rate <= rate
