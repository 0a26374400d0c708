"""Truth of packets and errors of egomotion, on motions known in closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.egomotion import PacketMotion
from evslam.errors import DataError
from evslam.eval.egomotion import Truth, direction_errors_deg, fit_scale, gyro_means, summarise, truth
from evslam.io.recording import open_recording
from evslam.types import Imu, Trajectory


def test_the_mean_of_the_gyro_over_a_packet_is_exact() -> None:
    t_us = 1_000_000_000_000 + np.arange(0, 1_000_001, 1000)
    s = (t_us - t_us[0]) * 1e-6
    imu = Imu(t_us, np.zeros((len(s), 3)), np.stack([s, np.full_like(s, 2.0), np.sin(s)], 1))
    intervals = t_us[0] + np.array([[100_300, 140_700], [0, 1_000_000], [-1, 10]])
    mean = gyro_means(imu, intervals)
    np.testing.assert_allclose(mean[0], [0.1205, 2, (np.cos(0.1003) - np.cos(0.1407)) / 0.0404], atol=1e-6)
    np.testing.assert_allclose(mean[1], [0.5, 2, 1 - np.cos(1)], atol=1e-6)
    assert np.isnan(mean[2]).all()


def test_pose_rates_are_in_the_camera_frame_and_nan_where_unknown(tiny_recording: Path) -> None:
    recording = open_recording(tiny_recording)
    turn = Rotation.from_euler("z", 90, degrees=True)
    t_us = np.arange(0, 1_000_001, 5000)
    omega, v = np.array([0.3, -0.2, 0.5]), np.array([1.0, 2.0, 3.0])
    orientation = turn * Rotation.from_rotvec(t_us[:, None] * 1e-6 * omega)
    trajectory = Trajectory(t_us, np.hstack([t_us[:, None] * 1e-6 * v, orientation.as_quat()]))
    object.__setattr__(recording, "groundtruth", trajectory)
    intervals = np.array([[0, 40_000], [500_000, 501_000], [990_000, 1_010_000]])
    known = truth(recording, intervals, "poses")
    np.testing.assert_allclose(known.angular[:2], [omega, omega], atol=1e-9)
    middle = orientation[np.searchsorted(t_us, [20_000, 500_000])]
    np.testing.assert_allclose(known.linear[:2], middle.inv().apply(np.stack([v, v])), atol=2e-3)
    assert np.isnan(known.angular[2]).all()
    assert "poses" in known.angular_source
    assert truth(recording, intervals).angular_source.startswith("gyro")


def test_a_source_that_is_not_there_is_told(tiny_recording: Path) -> None:
    recording = open_recording(tiny_recording)
    with pytest.raises(DataError, match="from 'compass' is unknown"):
        truth(recording, np.zeros((1, 2), np.int64), "compass")
    object.__setattr__(recording, "imu", None)
    with pytest.raises(DataError, match="has no gyro"):
        truth(recording, np.zeros((1, 2), np.int64), "gyro")


def motions(twists: np.ndarray) -> list[PacketMotion]:
    return [PacketMotion(k, k, k + 1, twist, 1.5, 4, 0.01, 100) for k, twist in enumerate(twists)]


def test_errors_bias_and_scale() -> None:
    rng = np.random.default_rng(0)
    angular, linear = rng.standard_normal((2, 50, 3))
    twists = np.hstack([linear / 2.5, angular + np.radians([3.0, 0.0, -4.0])])
    twists[7] = np.nan
    figures = summarise(motions(twists), Truth(angular, linear, "gyro", "poses"), "6dof")
    assert figures["without_estimate"] == 1
    assert figures["evaluations_per_packet"] == 4
    assert figures["angular"]["rms_deg_s"] == pytest.approx(5.0)
    assert figures["angular"]["rms_median_removed_deg_s"] == pytest.approx(0, abs=1e-6)
    assert figures["linear"]["scale_m"] == pytest.approx(2.5)
    assert figures["linear"]["rms_m_s"] == pytest.approx(0, abs=1e-9)
    assert figures["linear"]["direction_median_deg"] == pytest.approx(0, abs=1e-4)
    assert figures["linear"]["packets"] == 49


def test_without_truth_there_are_no_errors() -> None:
    nothing = Truth(np.full((2, 3), np.nan), np.full((2, 3), np.nan), "none", "none")
    figures = summarise(motions(np.ones((2, 6))), nothing, "6dof")
    assert figures["angular"] == {"rms_deg_s": None, "source": "none"}
    assert figures["linear"]["rms_m_s"] is None


def test_direction_and_scale() -> None:
    reference = np.array([[1.0, 0, 0], [0, 2, 0], [0.01, 0, 0]])
    estimate = np.array([[1.0, 1, 0], [0, -1, 0], [1, 0, 0]])
    np.testing.assert_allclose(direction_errors_deg(estimate, reference), [45, 180, np.nan], atol=1e-4)
    assert fit_scale(np.zeros((2, 3)), reference[:2]) == 1.0
