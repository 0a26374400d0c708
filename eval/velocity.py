"""Accuracy of the velocities that a run notes for each batch: angular velocity and direction of translation."""

from __future__ import annotations

from typing import Any

import numpy as np

from evslam.eval.association import is_covered
from evslam.eval.rotation import absent, rotations, statistics
from evslam.geometry.trajectory import interpolate
from evslam.types import Trajectory
from evslam.viz.batch_log import BatchLog

_HALF_STEP_US = 10_000
_MIN_SPEED = 0.05
_TRACKED = ("tracking", "sparse")


def body_velocity(trajectory: Trajectory, t_us: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of a trajectory over 20 ms.

    Args:
        trajectory: T_world_cam that covers every time +-10 ms.
        t_us: (M,) int64 microseconds.

    Returns:
        (M, 3) linear velocity in m/s and (M, 3) angular velocity in rad/s, both in the camera frame at t.
    """
    before, after = (Trajectory(t_us, interpolate(trajectory, t_us + step)) for step in (-_HALF_STEP_US, _HALF_STEP_US))
    seconds = 2 * _HALF_STEP_US / 1e6
    orientation = rotations(Trajectory(t_us, interpolate(trajectory, t_us)))
    linear = orientation.inv().apply(after.position - before.position) / seconds
    angular = (rotations(before).inv() * rotations(after)).as_rotvec() / seconds
    return linear, angular


def evaluate_velocity(batches: BatchLog, groundtruth: Trajectory, mode: str) -> dict[str, Any]:
    """Figures on the velocities of the tracked batches.

    Returns:
        angular_velocity and its null (a motionless estimate), direction: the angle between estimated and true
        direction of translation where the camera moves at 0.05 m/s or more.
    """
    kept = np.isfinite(batches.twist).all(1) & np.isin(batches.state, _TRACKED)
    for reach in (-_HALF_STEP_US, _HALF_STEP_US):
        kept &= is_covered(groundtruth, batches.t_us + reach)
    if not kept.any():
        reason = absent("no tracked batch lies within the ground truth")
        return {"angular_velocity": reason, "angular_velocity_null": reason, "direction": reason}
    linear, angular = body_velocity(groundtruth, batches.t_us[kept])
    estimate = batches.twist[kept]
    protocol = "per tracked batch, against the ground truth's central difference over 20 ms"
    errors = np.degrees(np.linalg.norm(estimate[:, 3:] - angular, axis=1))
    still = np.degrees(np.linalg.norm(angular, axis=1))
    return {
        "angular_velocity": statistics(errors, "deg/s", protocol),
        "angular_velocity_null": statistics(still, "deg/s", f"motionless estimate, {protocol}"),
        "direction": absent("rotation mode estimates no translation")
        if mode == "rotation"
        else _direction(estimate[:, :3], linear, protocol),
    }


def _direction(estimate: np.ndarray, truth: np.ndarray, protocol: str) -> dict[str, Any]:
    speed, estimated = np.linalg.norm(truth, axis=1), np.linalg.norm(estimate, axis=1)
    kept = (speed >= _MIN_SPEED) & (estimated > 0)
    cosine = np.sum(estimate[kept] * truth[kept], axis=1) / (speed[kept] * estimated[kept])
    angles = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return statistics(angles, "deg", f"where the camera moves at {_MIN_SPEED} m/s or more, {protocol}")
