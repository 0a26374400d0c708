"""Noise steps: equal to plain twins, the same however the stream is cut, resumable, and right about hot pixels."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from evslam.config import load_config
from evslam.errors import ConfigError
from evslam.io.recording import open_recording
from evslam.noise import SLOT_US, WINDOW_US, NoiseFilter
from evslam.noise_kernels import find_hot
from evslam.session import RunOptions, open_session
from evslam.settings import NoiseConfig
from evslam.types import Events, SensorSize

SIZE = SensorSize(height=9, width=12)
OFF = NoiseConfig(hot_pixels=False, hot_factor=4.0, hot_margin=20, background_s=None, max_rate=None)
ALL = NoiseConfig(hot_pixels=True, hot_factor=3.0, hot_margin=20, background_s=0.004, max_rate=3000.0)


def random_events(seed: int, num_events: int = 6000, duration_us: int = 3_000_000, size: SensorSize = SIZE) -> Events:
    """Events with a hot pixel at (3, 4), a burst, a pause, and many equal time stamps."""
    rng = np.random.default_rng(seed)
    t = rng.integers(0, duration_us, num_events)
    t[: num_events // 4] = rng.integers(1_700_000, 1_720_000, num_events // 4)
    t = np.sort(np.where((t > 400_000) & (t < 1_650_000), t // 1000 * 1000, t))
    x, y = (rng.integers(0, limit, num_events).astype(np.uint16) for limit in (size.width, size.height))
    x[::9], y[::9] = 3, 4
    return Events(t, x, y, rng.integers(0, 2, num_events) > 0)


def cut(events: Events, seed: int) -> list[Events]:
    bounds = np.sort(np.random.default_rng(seed).integers(0, len(events), 7)).tolist()
    return [events[a:b] for a, b in zip([0, *bounds], [*bounds, len(events)], strict=True)]


def cleaned(noise: NoiseFilter, events: Events, start_us: int = 0, seed: int = 1) -> Events:
    return Events.concatenate(list(noise.clean(cut(events, seed), start_us)))


def assert_equal(events: Events, expected: Events) -> None:
    for name in "txyp":
        np.testing.assert_array_equal(getattr(events, name), getattr(expected, name))


def hot_twin(counts: np.ndarray, factor: float, margin: int) -> np.ndarray:
    hot = np.zeros(counts.shape, bool)
    for row, column in np.ndindex(*counts.shape):
        near = counts[max(row - 2, 0) : row + 3, max(column - 2, 0) : column + 3]
        ring = counts[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2].ravel().tolist()
        ring.remove(counts[row, column])
        second = sorted(ring)[-2 if len(ring) == 8 else -1]
        hot[row, column] = counts[row, column] > max(factor * np.median(near) + margin, factor * second, margin)
    return hot


def plain_twin(events: Events, config: NoiseConfig, size: SensorSize) -> Events:
    """The whole filter event by event, without compiled code."""
    shape = (size.height, size.width)
    counts, last, hot = np.zeros(shape, int), np.full(shape, -(10**15)), np.zeros(shape, bool)
    keep, window, slot, rates, rest = [], None, None, {}, 0
    background = round((config.background_s or 0) * 1e6)
    limit = round((config.max_rate or 0) * SLOT_US * 1e-6)
    for i, (t, x, y) in enumerate(zip(events.t.tolist(), events.x.tolist(), events.y.tolist(), strict=True)):
        if window is not None and t // WINDOW_US != window and config.hot_pixels:
            hot = hot_twin(counts, config.hot_factor, config.hot_margin)
        window = t // WINDOW_US
        counts[y, x] += 1
        if hot[y, x]:
            continue
        if background:
            around = last[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].copy()
            around[min(y, 1), min(x, 1)] = -(10**15)
            last[y, x] = t
            if t - around.max() > background:
                continue
        if limit:
            slot = t // SLOT_US
            rates[slot] = rates.get(slot, 0) + 1
            expected = max(rates[slot], rates.get(slot - 1, 0))
            if expected > limit:
                rest += limit
                if rest < expected:
                    continue
                rest -= expected
        keep.append(i)
    return Events(events.t[keep], events.x[keep], events.y[keep], events.p[keep])


@pytest.mark.parametrize(
    "config",
    [OFF, replace(OFF, hot_pixels=True), replace(OFF, background_s=0.002), replace(OFF, max_rate=2000.0), ALL],
    ids=["off", "hot", "background", "rate", "all"],
)
def test_equals_the_plain_twin(config: NoiseConfig) -> None:
    events = random_events(3)
    noise = NoiseFilter(config, SIZE, 0)
    kept = cleaned(noise, events)
    assert_equal(kept, plain_twin(events, config, SIZE))
    counts = noise.counts
    assert counts.seen == len(events)
    assert len(kept) == counts.seen - counts.dropped_hot - counts.dropped_background - counts.dropped_rate
    assert (counts.dropped_hot > 0) == config.hot_pixels
    assert (counts.dropped_background > 0) == (config.background_s is not None)
    assert (counts.dropped_rate > 0) == (config.max_rate is not None)


def test_nothing_is_copied_where_nothing_is_dropped() -> None:
    events = random_events(4, 100, WINDOW_US)[:20]
    (kept,) = NoiseFilter(OFF, SIZE, 0).clean([events], 0)
    assert np.shares_memory(kept.t, events.t)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 3_000_000))
def test_the_same_however_the_stream_is_cut_and_resumed(seed: int, cuts: int, next_us: int) -> None:
    events = random_events(seed, 3000)
    whole = NoiseFilter(ALL, SIZE, 0)
    expected = cleaned(whole, events)
    first = NoiseFilter(ALL, SIZE, 0)
    ahead = int(np.searchsorted(events.t, next_us + 100_000))  # what a run has read when it stops at next_us
    cleaned(first, events[:ahead], seed=cuts)
    state = first.state_dict(next_us)
    second = NoiseFilter(ALL, SIZE, 0)
    second.load_state_dict(state)
    assert second.resume_us <= max(next_us, 0)
    rest = events[int(np.searchsorted(events.t, second.resume_us)) :]
    resumed = cleaned(second, rest, next_us, seed=cuts + 1)
    assert_equal(resumed, expected[int(np.searchsorted(expected.t, next_us)) :])
    assert asdict(second.counts) == asdict(whole.counts)
    np.testing.assert_array_equal(second.hot, whole.hot)


def test_state_survives_a_file(tmp_path: Path) -> None:
    noise = NoiseFilter(ALL, SIZE, 0)
    cleaned(noise, random_events(5))
    torch.save(noise.state_dict(3_000_000), tmp_path / "state.pt")
    again = NoiseFilter(ALL, SIZE, 0)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert again.resume_us == 2_500_000


def test_batches_go_on_the_same_from_any_batch(tiny_recording: Path, tmp_path: Path) -> None:
    steps = ["noise.hot_margin=20", "noise.background_s=0.005", "noise.max_rate=4e5", "run.chunk_events=50000"]
    config = load_config(None, steps)
    session = open_session(RunOptions(tiny_recording, tmp_path), config)
    noise, batches, states = session.noise_filter(config), [], []
    for batch in session.batches(config, session.start_us, noise=noise):
        batches.append(batch)
        states.append(noise.state_dict(batch.stop_us))
    assert min(noise.counts.dropped_hot, noise.counts.dropped_background, noise.counts.dropped_rate) > 0
    for index in range(0, len(batches) - 1, 3):
        resumed = session.noise_filter(config)
        resumed.load_state_dict(states[index])
        rest = list(session.batches(config, batches[index].stop_us, noise=resumed))
        assert len(rest) == len(batches) - index - 1
        for one, other in zip(rest, batches[index + 1 :], strict=True):
            assert (one.start_us, one.stop_us) == (other.start_us, other.stop_us)
            assert torch.equal(one.t, other.t)
            assert torch.equal(one.bearing, other.bearing)
        assert resumed.counts == noise.counts


def test_an_edge_is_not_hot_but_a_lonely_pixel_is() -> None:
    counts = np.full((20, 20), 10, np.int32)
    counts[:, 7] = 3000  # a line before a resting camera
    counts[12, 15] = 3000
    counts[0, 0] = 500  # in the corner
    counts[3, 12:14] = 900  # two of them side by side
    hot = np.zeros(counts.shape, bool)
    assert find_hot(counts, 4.0, 200, hot) == 4
    assert np.argwhere(hot).tolist() == [[0, 0], [3, 12], [3, 13], [12, 15]]
    np.testing.assert_array_equal(hot, hot_twin(counts, 4.0, 200))


def test_counts_never_overflow() -> None:
    counts = np.full((5, 5), 3, np.int32)
    counts[2, 2] = (1 << 31) - 10
    hot = np.zeros(counts.shape, bool)
    find_hot(counts, 4.0, 200, hot)
    assert hot.sum() == 1
    assert counts[2, 2] == (1 << 30) - 5


def test_a_burst_is_thinned_evenly() -> None:
    num_events = 400_000  # 4 million events/s for 0.1 s
    t = np.sort(np.random.default_rng(1).integers(0, 100_000, num_events))
    x = (np.arange(num_events) % SIZE.width).astype(np.uint16)
    events = Events(t, x, np.zeros(num_events, np.uint16), np.ones(num_events, bool))
    noise = NoiseFilter(replace(OFF, max_rate=5e5), SIZE, 0)
    kept = cleaned(noise, events)
    per_slot = np.bincount(kept.t // SLOT_US, minlength=10)
    assert per_slot[0] < 5000 * (1 + np.log(8) + 0.1)  # the first slot has no slot before it to tell its rate
    np.testing.assert_allclose(per_slot[1:], 5000, rtol=0.03)
    columns = np.bincount(kept.x[kept.t >= SLOT_US], minlength=SIZE.width)
    assert columns.max() < 1.5 * columns.mean()


def test_simulated_hot_pixels_are_found_and_no_others(tiny_recording: Path) -> None:
    recording = open_recording(tiny_recording)
    truth = yaml.safe_load((tiny_recording / "meta.yaml").read_text())["hot_pixels"]
    config = replace(load_config().noise, hot_margin=40)  # the recording lasts less than a second
    noise = NoiseFilter(config, recording.size, 0)
    for _ in noise.clean(recording.reader.read(), 0):
        pass
    found = {(int(x), int(y)) for y, x in np.argwhere(noise.hot)}
    assert found
    assert found <= {(int(x), int(y)) for x, y, _ in truth}


@pytest.mark.parametrize("override", ["noise.hot_factor=0", "noise.background_s=-1", "noise.max_rate=0"])
def test_bad_configuration(override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        load_config(None, [override])
