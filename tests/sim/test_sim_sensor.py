"""Event-camera pixels against closed-form answers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evslam.sim.config import SensorConfig
from evslam.sim.sensor import Sensor
from evslam.sim.workers import RowWorkers
from evslam.types import Events, SensorSize

IDEAL = SensorConfig(
    c_sigma=0.0,
    refractory_us=0.0,
    cutoff_hz=np.inf,
    cutoff_min_hz=np.inf,
    cutoff_max_hz=np.inf,
    eps=0.0,
    noise_hz=0.0,
    hot_pixels=0,
    jitter_us=0.0,
)


def sense(config: SensorConfig, t_us: np.ndarray, images: np.ndarray, threads: int = 1, block: int = 100) -> Events:
    """Events of images (F, H, W) at t_us (F,), the first of them at time zero."""
    size = SensorSize(*images.shape[1:])
    sensor = Sensor(config, size, np.random.SeedSequence(7), int(t_us[-1]))
    parts = []
    with RowWorkers(size.height, threads) as workers:
        sensor.start(images[0])
        for first in range(1, len(t_us), block):
            part = slice(first, first + block)
            parts.append(sensor.advance(t_us[part].astype(float), images[part].astype(np.float32), workers))
    return Events.concatenate([*parts, sensor.finish()])


def flicker(shape: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.05, 0.9, shape)


@settings(max_examples=30, deadline=None)
@given(low=st.floats(0.05, 0.2), ratio=st.floats(1.1, 5.0))
def test_a_ramp_of_log_intensity_fires_at_the_predicted_times(low: float, ratio: float) -> None:
    rise = np.log(np.float32(low * ratio) / np.float32(low))
    images = np.stack([np.full((2, 3), low), np.full((2, 3), low * ratio), np.full((2, 3), low)])
    events = sense(IDEAL, np.array([0, 100_000, 300_000]), images)
    number = int(rise / 0.27)
    pixel = (events.x == 1) & (events.y == 1)
    rising = events.t[pixel & events.p]
    np.testing.assert_allclose(rising, np.arange(1, number + 1) * 0.27 / rise * 100_000, atol=2)
    # The band hangs on the last ON event, so the first OFF event comes at .27 number - .22.
    levels = 0.27 * number - 0.22 * np.arange(1, int((0.27 * number) / 0.22 + 1e-9) + 1)
    np.testing.assert_allclose(events.t[pixel & ~events.p], 100_000 + (rise - levels) / rise * 200_000, atol=3)
    assert len(events) == 6 * pixel.sum()


def test_low_pass_delays_a_step_like_a_first_order_filter() -> None:
    t_us = np.concatenate([[0, 1000, 1001], np.arange(1020, 30_000, 20)])
    images = np.full((len(t_us), 1, 1), 0.1)
    images[2:] = 0.4
    config = replace(IDEAL, cutoff_hz=100.0, cutoff_min_hz=100.0, cutoff_max_hz=100.0)
    tau_us, step = 1e6 / (2 * np.pi * 100), np.log(4.0)
    expected = 1001 - tau_us * np.log(1 - 0.27 * np.arange(1, 6) / step)
    np.testing.assert_allclose(sense(config, t_us, images).t, expected, atol=5)


def test_cutoff_grows_with_intensity() -> None:
    t_us = np.concatenate([[0, 1], np.arange(20, 60_000, 20)])
    images = np.repeat([[[0.02, 0.2]]], len(t_us), axis=0)
    images[1:] *= 2
    config = replace(IDEAL, cutoff_hz=300.0, cutoff_min_hz=60.0, cutoff_max_hz=1500.0)
    events = sense(config, t_us, images)
    dark, bright = events.t[events.x == 0][0], events.t[events.x == 1][0]
    delay = -np.log(1 - 0.27 / np.log(2)) / (2 * np.pi) * 1e6
    assert dark == pytest.approx(delay / 60, abs=30)
    assert bright == pytest.approx(delay / (300 * 0.4 / 0.25), abs=30)


def test_dead_time_is_respected() -> None:
    t_us = np.arange(0, 400_000, 700)
    config = replace(IDEAL, refractory_us=1500.0, refractory_spread=0.0, noise_hz=100.0)
    events = sense(config, t_us, flicker((len(t_us), 8, 8)))
    gaps = [np.diff(events.t[(events.x == x) & (events.y == y)]) for x, y in np.ndindex(8, 8)]
    assert min(gap.min() for gap in gaps) >= 1499
    assert len(events) > 64 * 100


def test_noise_and_hot_pixels_fire_at_their_rates() -> None:
    seconds, shape = 20, (20, 30)
    t_us = np.arange(0, seconds * 1_000_000 + 1, 10_000)
    config = replace(IDEAL, noise_hz=5.0, hot_pixels=5, hot_hz=(100.0, 200.0))
    events = sense(config, t_us, np.full((len(t_us), *shape), 0.3))
    counts = np.zeros(shape)
    np.add.at(counts, (events.y, events.x), 1)
    sensor = Sensor(config, SensorSize(*shape), np.random.SeedSequence(7), 1)
    assert len(sensor.hot_pixels) == 5
    for x, y, rate in sensor.hot_pixels:
        assert 100 <= rate <= 200
        assert counts[y, x] == pytest.approx(rate * seconds, abs=5 * np.sqrt(rate * seconds))
        counts[y, x] = np.nan
    expected = 5 * seconds * (600 - 5)
    assert np.nansum(counts) == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert np.nanvar(counts) == pytest.approx(5 * seconds, rel=0.3)
    assert events.p.mean() == pytest.approx(0.6, abs=0.01)


def test_thresholds_vary_over_pixels_and_keep_their_minimum() -> None:
    sensor = Sensor(replace(IDEAL, c_sigma=0.1, c_min=0.15), SensorSize(100, 100), np.random.SeedSequence(0), 1)
    thresholds = sensor._pixels["c_pos"]
    assert thresholds.min() == 0.15
    assert np.median(thresholds) == pytest.approx(0.27, abs=0.005)
    assert np.percentile(thresholds, 84) == pytest.approx(0.37, abs=0.01)


def test_jitter_keeps_the_order_and_the_recording() -> None:
    t_us = np.arange(0, 100_001, 1000)
    images = flicker((len(t_us), 16, 16))
    plain = sense(IDEAL, t_us, images, block=7)
    jittered = sense(replace(IDEAL, jitter_us=50.0), t_us, images, block=7)
    assert (np.diff(jittered.t) >= 0).all()
    assert jittered.t.min() >= 0
    assert jittered.t.max() <= 100_000
    assert len(jittered) == len(plain)


def test_events_depend_neither_on_threads_nor_on_blocks() -> None:
    t_us = np.arange(0, 100_001, 1000)
    images = flicker((len(t_us), 80, 16))
    one, two = (sense(SensorConfig(), t_us, images, threads, block) for threads, block in ((1, 100), (3, 13)))
    for name in "txyp":
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert len(one) > 1000
