"""Gyroscope: mean rates, bias, latency of the events, and a camera that sees nothing for a while."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.config import load_config
from evslam.tracking.gyro import Gyro
from evslam.types import Imu

CONFIG = load_config().gyro
BIAS = np.array([0.02, -0.01, 0.005])


def rate(t: np.ndarray) -> np.ndarray:
    """True angular velocity (M, 3) at times in seconds."""
    return np.stack([np.sin(3 * t), 1.5 * np.cos(2 * t), 0.5 * np.sin(5 * t)], 1)


def gyro(noise: float = 0.0) -> Gyro:
    t_us = np.arange(0, 4_000_001, 1000)
    measured = rate(t_us * 1e-6) + BIAS + np.random.default_rng(0).normal(0, 1, (len(t_us), 3)) * noise
    return Gyro(Imu(t_us, np.zeros_like(measured), measured), CONFIG)


def test_rate_is_the_mean_over_the_interval() -> None:
    t = np.linspace(1.0, 1.0403, 20001)
    expected = np.trapezoid(rate(t), t, axis=0) / 0.0403 + BIAS
    found = gyro().rate(1_000_000, 1_040_300)
    assert found == pytest.approx(expected, abs=1e-5)


def test_turn_is_the_integral_of_the_rates() -> None:
    each = gyro()
    each.bias = BIAS
    t = np.linspace(0.5003, 1.2507, 50001)
    middle = rate(0.5 * (t[1:] + t[:-1]))
    expected = np.eye(3)
    for step in Rotation.from_rotvec(middle * (t[1] - t[0])).as_matrix():
        expected = expected @ step
    found = each.turn(500_300, 1_250_700)
    assert found is not None
    assert found == pytest.approx(expected, abs=2e-6)


def test_no_turn_across_a_gap_or_outside() -> None:
    each = gyro()
    keep = (each.imu.t_us < 1_000_000) | (each.imu.t_us > 1_100_000)
    holed = Gyro(Imu(each.imu.t_us[keep], each.imu.acceleration[keep], each.imu.gyro[keep]), CONFIG)
    assert holed.turn(990_000, 1_000_500) is None
    assert holed.turn(900_000, 999_000) is not None
    assert holed.turn(1_101_000, 1_101_400) is not None
    assert holed.turn(3_990_000, 4_000_001) is None


@pytest.mark.parametrize(("start_us", "stop_us"), [(-1, 10_000), (3_990_000, 4_000_002), (5, 5)])
def test_no_rate_where_nothing_was_measured(start_us: int, stop_us: int) -> None:
    assert gyro().rate(start_us, stop_us) is None


def test_bias_is_learnt() -> None:
    each, rng = gyro(0.005), np.random.default_rng(1)
    for start_us in range(0, 3_980_000, 20_000):
        stop_us = start_us + 20_000
        seen = rate(np.array([start_us + 10_000]) * 1e-6)[0] + rng.normal(0, 0.02, 3)
        each.learn(start_us, stop_us, seen)
    assert each.bias == pytest.approx(BIAS, abs=0.005)
    assert each.rate(0, 20_000) == pytest.approx(rate(np.array([0.01]))[0], abs=0.01)


@pytest.mark.parametrize("late_s", [-0.003, 0.0, 0.0017])
def test_latency_is_found(late_s: float) -> None:
    t_us = np.arange(100_000, 3_900_000, 10_000)
    found = gyro(0.01).latency(lambda t: rate(t * 1e-6 - late_s), t_us)
    assert found == pytest.approx(late_s, abs=2e-4)


def test_no_latency_without_motion_or_cover() -> None:
    t_us = np.arange(100_000, 3_900_000, 10_000)
    assert gyro().latency(lambda t: np.zeros((len(t), 3)), t_us) is None
    assert gyro().latency(lambda t: rate(t * 1e-6), t_us + 10_000_000) is None


def test_state_round_trip() -> None:
    first, again = gyro(), gyro()
    first.learn(0, 20_000, np.zeros(3))
    again.load_state_dict(first.state_dict())
    assert np.array_equal(first.bias, again.bias)
    assert again.known_s == pytest.approx(0.02)
