"""Event images: integrator and votes equal plain twins, and compensation makes a moving line sharp."""

from __future__ import annotations

from dataclasses import replace

import moving_points as scene
import numpy as np
import pytest
import torch

from evslam.geometry.canvas import Canvas
from evslam.tracking.event_frame import BORDER, EventFrame, FrameBuilder, pyramid
from evslam.tracking.frame_kernels import integrate, vote
from evslam.types import EventBatch

CONFIG = scene.CONFIG.frame
CANVAS = Canvas.of(scene.CAMERA, CONFIG.canvas_width, CONFIG.canvas_margin)
FLOW = np.array([300.0, 1.5, -2.0, -150.0, 2.5, 0.5])
STEP_US = 5000


def sensor_batch(x: np.ndarray, y: np.ndarray, t_us: np.ndarray, start_us: int, polarity: np.ndarray) -> EventBatch:
    """Events at sensor pixels (x, y), sorted by time, in a batch of STEP_US."""
    order = np.argsort(t_us, kind="stable")
    pixel = (y * scene.CAMERA.size.width + x)[order].astype(np.int32)
    bearing = scene.TABLE.bearing.reshape(-1, 2)[torch.from_numpy(pixel.astype(np.int64))]
    middle = start_us + STEP_US // 2
    t = torch.from_numpy(((t_us[order] - middle) * 1e-6).astype(np.float32))
    given = torch.from_numpy(pixel)
    return EventBatch(middle, start_us, start_us + STEP_US, t, bearing, torch.from_numpy(polarity[order]), pixel=given)


def line_batch(number: int, speed: float, seed: int = 0) -> EventBatch:
    """A vertical line that moves to the right at so many px/s, through x = 60 at time 0: batch `number`."""
    rng, start_us = np.random.default_rng((seed, number)), number * STEP_US
    t_us = np.sort(rng.integers(start_us, start_us + STEP_US, 2000))
    x = np.rint(60 + speed * t_us * 1e-6 + rng.uniform(-0.5, 0.5, 2000)).astype(int)
    return sensor_batch(x, rng.integers(20, 160, 2000), t_us, start_us, np.ones(2000, bool))


def line_frames(speed: float, flow: np.ndarray, count: int = 8) -> EventFrame:
    builder = FrameBuilder(CANVAS, CONFIG)
    for number in range(count):
        frame = builder.build(line_batch(number, speed), flow, speed)
    return frame


def test_integrator_equals_the_sum_of_decayed_events() -> None:
    rng = np.random.default_rng(1)
    before, cell = rng.normal(size=50).astype(np.float32), rng.integers(0, 50, 400).astype(np.int32)
    age, on = rng.uniform(0, 0.01, 400).astype(np.float32), rng.random(400) < 0.6
    leaky, tau = before.copy(), 0.02
    integrate(leaky, cell, age, on, 0.8, tau, 0.01)
    plain = before * np.exp(-0.01 / tau)
    for c, a, p in zip(cell, age, on, strict=True):
        plain[c] += (0.8 if p else -1.0) * np.exp(-a / tau)
    assert np.abs(leaky - plain).max() < 1e-5


def test_integrating_in_two_steps_is_integrating_in_one() -> None:
    cell, age, on = np.array([3, 3], np.int32), np.array([0.015, 0.004], np.float32), np.array([True, False])
    once, twice = np.zeros((2, 5), np.float32)
    integrate(once, cell, age, on, 1.0, 0.02, 0.02)
    integrate(twice, cell[:1], age[:1] - np.float32(0.01), on[:1], 1.0, 0.02, 0.01)
    integrate(twice, cell[1:], age[1:], on[1:], 1.0, 0.02, 0.01)
    assert once[3] == pytest.approx(np.exp(-0.75) - np.exp(-0.2), abs=1e-6)
    assert np.abs(once - twice).max() < 1e-6


def test_votes_equal_their_plain_twin() -> None:
    rng = np.random.default_rng(2)
    place = rng.uniform((-5, -5), (CANVAS.width + 5, CANVAS.height + 5), (600, 2)).astype(np.float32)
    age = rng.uniform(0, 0.03, 600).astype(np.float32)
    votes, plain = np.zeros((CANVAS.height, CANVAS.width), np.float32), np.zeros((CANVAS.height, CANVAS.width))
    vote(place, age, FLOW.astype(np.float32), CANVAS.centre.astype(np.float32), votes)
    du, dv = (place - CANVAS.centre).T
    x = place[:, 0] + age * (FLOW[0] + FLOW[1] * du + FLOW[2] * dv)
    y = place[:, 1] + age * (FLOW[3] + FLOW[4] * du + FLOW[5] * dv)
    kept = (x >= 0) & (y >= 0) & (x < CANVAS.width - 1) & (y < CANVAS.height - 1)
    for u, v in zip(x[kept], y[kept], strict=True):
        for column in (int(u), int(u) + 1):
            for row in (int(v), int(v) + 1):
                plain[row, column] += (1 - abs(column - u)) * (1 - abs(row - v))
    assert 400 < kept.sum() < 600
    assert np.abs(votes - plain).max() < 1e-3
    assert votes.sum() == pytest.approx(kept.sum(), rel=1e-5)  # every event counts one


def test_affine_motion_is_compensated_to_the_time_of_the_image() -> None:
    """Events of one point, wherever it has been, meet where it is at the end."""
    age = np.linspace(0, 0.02, 50).astype(np.float32)
    end = CANVAS.centre + np.array([30.0, -20.0])
    linear, constant = FLOW.reshape(2, 3)[:, 1:], FLOW.reshape(2, 3)[:, 0]
    # the place from which the flow there leads to `end` in the event's age
    offset = np.stack([np.linalg.solve(np.eye(2) + a * linear, [30.0, -20.0] - a * constant) for a in age])
    votes = np.zeros((CANVAS.height, CANVAS.width), np.float32)
    centre = CANVAS.centre.astype(np.float32)
    vote((CANVAS.centre + offset).astype(np.float32), age, FLOW.astype(np.float32), centre, votes)
    row, column = int(end[1]), int(end[0])
    assert np.ptp(offset[:, 0]) > 5
    assert votes[row : row + 2, column : column + 2].sum() == pytest.approx(50, abs=1e-3)


def test_compensation_makes_a_moving_line_sharp_and_puts_it_where_it_is_now() -> None:
    speed = 400.0
    right, still = line_frames(speed, np.array([speed, 0, 0, 0, 0, 0])), line_frames(speed, np.zeros(6))
    now = CANVAS.centre[0] - scene.CAMERA.cx + 60 + speed * 8 * STEP_US * 1e-6
    sharp, blurred = (frame.votes.sum(0) for frame in (right, still))
    columns = np.arange(CANVAS.width)
    assert sharp.sum() == pytest.approx(right.num_events, rel=1e-4)
    assert (sharp @ columns) / sharp.sum() == pytest.approx(now, abs=0.1)
    spread = [
        np.sqrt((votes @ (columns - votes @ columns / votes.sum()) ** 2) / votes.sum()) for votes in (sharp, blurred)
    ]
    assert spread[0] < 0.7
    assert spread[1] > 1.5
    assert right.votes.max() > 2 * still.votes.max()
    inner = right.levels[0][1, BORDER:-BORDER, BORDER:-BORDER]
    assert np.abs(np.argmax(inner[80:120].mean(0)) - now) < 1


def test_window_holds_so_much_motion_and_so_many_events() -> None:
    builder = FrameBuilder(CANVAS, CONFIG)
    for number in range(20):
        builder.build(line_batch(number, 400.0), np.zeros(6), 400.0)
    _, age = builder.window(0.0125, 10**6)
    assert age.max() <= 0.0125 + 1e-6
    assert len(age) == pytest.approx(0.0125 / 0.005 * 2000, rel=0.02)
    few, age = builder.window(0.0125, 3000)
    assert len(few) == 3000
    assert age.max() == pytest.approx(0.0075, abs=2e-4)
    around, seconds = builder.events().around(90_000, 0.004)
    assert np.abs(seconds).max() <= 0.004
    assert (np.diff(seconds) >= 0).all()
    assert len(seconds) == pytest.approx(0.008 / 0.005 * 2000, rel=0.03)
    assert (
        np.abs(CANVAS.pixels(around)[:, 0] - (CANVAS.centre[0] - scene.CAMERA.cx + 60 + 36 + 400 * seconds)).max()
        < 1.01
    )


def test_signed_channel_shows_polarity_and_forgets() -> None:
    def frame(*polarities: bool) -> np.ndarray:
        builder, rng = FrameBuilder(CANVAS, CONFIG), np.random.default_rng(0)
        for number, polarity in enumerate(polarities):
            t = rng.integers(number * STEP_US, (number + 1) * STEP_US, 500)
            x, y = rng.integers(115, 125, 500), rng.integers(85, 95, 500)
            image = builder.build(sensor_batch(x, y, t, number * STEP_US, np.full(500, polarity)), np.zeros(6), 100.0)
        return image.levels[0][0, BORDER:-BORDER, BORDER:-BORDER]

    middle = round(CANVAS.centre[1]), round(CANVAS.centre[0])
    assert frame(True)[middle] > 50
    assert frame(False)[middle] < -50
    assert frame(True, True, *80 * [False])[middle] < -50


def test_a_batch_without_events_only_forgets() -> None:
    builder = FrameBuilder(CANVAS, CONFIG)
    builder.build(line_batch(0, 400.0), np.zeros(6), 400.0)
    before = np.abs(builder.leaky).sum()
    empty = sensor_batch(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), STEP_US, np.zeros(0, bool))
    frame = builder.build(empty, np.zeros(6), 400.0)
    tau = CONFIG.leak_px / 400.0
    assert np.abs(builder.leaky).sum() == pytest.approx(before * np.exp(-STEP_US * 1e-6 / tau), rel=1e-3)
    assert np.isfinite(frame.levels[0]).all()


def test_a_long_silence_leaves_an_empty_window() -> None:
    builder = FrameBuilder(CANVAS, CONFIG)
    builder.build(line_batch(0, 400.0), np.zeros(6), 400.0)
    silent = sensor_batch(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), STEP_US, np.zeros(0, bool))
    silent = replace(silent, t_ref_us=STEP_US + 1_000_000, stop_us=STEP_US + 2_000_000)
    frame = builder.build(silent, np.zeros(6), 400.0)
    assert frame.num_events == 0
    assert not frame.votes.any()
    assert np.abs(builder.leaky).max() < 1e-6
    assert len(builder.events().around(1_000_000, 0.1)[0]) == 0
    assert builder.build(line_batch(401, 0.0), np.zeros(6), 400.0).num_events > 1000


def test_batches_without_sensor_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="sensor pixels"):
        FrameBuilder(CANVAS, CONFIG).build(replace(line_batch(0, 400.0), pixel=None), np.zeros(6), 1.0)


def test_pyramid_levels_halve_and_repeat_their_border() -> None:
    image = np.add.outer(np.arange(40.0), 2 * np.arange(60.0)).astype(np.float32)
    levels = pyramid((image, -image), 3)
    assert [level.shape for level in levels] == [(2, 72, 92), (2, 52, 62), (2, 42, 47)]
    assert levels[0][0, BORDER + 10, BORDER + 20] == 50
    assert levels[1][1, BORDER + 10, BORDER + 15] == pytest.approx(-80)  # (20, 30) on the level above
    assert (levels[0][0, :BORDER, BORDER] == 0).all()


def test_builder_goes_on_from_its_state() -> None:
    one, other = FrameBuilder(CANVAS, CONFIG), FrameBuilder(CANVAS, CONFIG)
    for number in range(3):
        one.build(line_batch(number, 400.0), FLOW, 400.0)
    other.load_state_dict(one.state_dict())
    a, b = (builder.build(line_batch(3, 400.0), FLOW, 400.0) for builder in (one, other))
    assert all(np.array_equal(x, y) for x, y in zip(a.levels, b.levels, strict=True))
