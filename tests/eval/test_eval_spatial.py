"""Figures of 6-DoF runs beyond `evaluate`, on estimates with a known error."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.eval.spatial import is_right, judge_start, position_error, scale_figures, scale_of_quarters
from evslam.types import Trajectory


def distorted(truth: Trajectory, position: np.ndarray) -> Trajectory:
    return Trajectory(truth.t_us, np.hstack([position, truth.quaternion]))


def drifting(truth: Trajectory, *scales: float) -> Trajectory:
    """The truth with steps of another length in each of the equal parts of the time."""
    steps = np.diff(truth.position, axis=0)
    parts = np.array_split(np.arange(len(steps)), len(scales))
    factor = np.concatenate([np.full(len(part), scale) for part, scale in zip(parts, scales, strict=True)])
    return distorted(truth, np.vstack([np.zeros(3), np.cumsum(factor[:, None] * steps, axis=0)]))


def test_a_constant_scale_does_not_drift(truth: Trajectory) -> None:
    turn = Rotation.from_rotvec([0.3, -0.2, 0.9])
    moved = distorted(truth, turn.apply(truth.position) / 2.5 + [1, 2, 3])
    assert scale_of_quarters(moved, truth) == pytest.approx([2.5] * 4)
    figures = scale_figures(moved, truth)
    assert figures["drift_percent"] == pytest.approx(0, abs=1e-9)
    assert figures["ate_se3_percent_of_path"] == pytest.approx(0, abs=1e-6)


def test_drift_is_that_between_the_quarters(truth: Trajectory) -> None:
    figures = scale_figures(drifting(truth, 1, 1, 0.8, 0.8), truth)
    assert figures["quarters"] == pytest.approx([1, 1, 1.25, 1.25], rel=0.05)  # displacements reach across the border
    assert figures["drift_percent"] == pytest.approx(25, abs=1)
    assert figures["ate_se3_percent_of_path"] > position_error(truth, truth)["ate_sim3"]["rmse_percent_of_path"] + 0.1


def test_an_estimate_that_stands_still_has_no_scale(truth: Trajectory) -> None:
    assert "does not move" in scale_figures(distorted(truth, np.zeros_like(truth.position)), truth)["reason"]


def test_only_the_first_seconds_judge_a_start(truth: Trajectory) -> None:
    late = truth.t_us >= 1_000_000
    online = Trajectory(truth.t_us[late], truth.poses[late])
    wrong_later = online.poses.copy()
    wrong_later[online.t_us > 4_100_000, :3] = 50.0
    start = judge_start(Trajectory(online.t_us, wrong_later), truth, 400_000)
    assert start["wait_s"] == pytest.approx(0.6)
    assert start["right"]
    assert start["percent_of_null"] == pytest.approx(0, abs=1e-6)
    shaking = online.poses.copy()
    shaking[:, :3] = np.sin(30e-6 * online.t_us)[:, None]
    assert not judge_start(Trajectory(online.t_us, shaking), truth, 0)["right"]


def test_no_pose_is_no_start(truth: Trajectory) -> None:
    nothing = Trajectory(np.zeros(0, np.int64), np.zeros((0, 7)))
    assert judge_start(nothing, truth, 0) == {"wait_s": None, "right": None, "percent_of_null": None}
    assert "at least 3 are needed" in position_error(nothing, truth)["reason"]


def test_a_start_of_a_camera_that_only_turns_is_wrong_and_has_no_share_of_null() -> None:
    t_us = np.arange(0, 2_000_000, 10_000)
    still = Trajectory(t_us, np.tile([0.0, 0, 0, 0, 0, 0, 1], (len(t_us), 1)))
    rng = np.random.default_rng(0)
    wandering = np.column_stack([rng.normal(0, 1, (len(t_us), 3)), still.quaternion])
    start = judge_start(Trajectory(t_us, wandering), still, 0)
    assert start["right"] is False
    assert start["percent_of_null"] is None


def test_right_is_under_a_quarter_of_null() -> None:
    def position(error: float | None) -> dict:
        return {"null": {"rmse": 0.4}, "ate_sim3": {"rmse": error}}

    assert is_right(position(0.0999))
    assert not is_right(position(0.1))
    assert not is_right(position(None))
    assert not is_right({"value": None, "reason": "too short"})
