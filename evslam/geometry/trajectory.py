"""Questions to a `Trajectory`: the pose at any covered time, the length of the path."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.geometry.rigid import inverse
from evslam.types import Trajectory


def interpolate(trajectory: Trajectory, t_us: ArrayLike) -> np.ndarray:
    """Poses at given times: linear in position, spherical linear in rotation between neighbouring poses.

    Args:
        trajectory: T_world_cam at strictly increasing times.
        t_us: (M,) int64 microseconds of the same clock, in any order.

    Returns:
        (M, 7) float64 (x, y, z, qx, qy, qz, qw), unit quaternions of the same sign as the pose before; at a time of the
        trajectory its own pose.

    Raises:
        DataError: a time outside the covered interval, an empty trajectory, times that do not increase, poses that are
            not finite or have a zero quaternion.
    """
    times = np.atleast_1d(np.asarray(t_us))
    _check(trajectory)
    first, last = trajectory.t_us[0], trajectory.t_us[-1]
    outside = times[~((times >= first) & (times <= last))]
    if len(outside):
        raise DataError(
            f"no pose at {outside[0]} us ({len(outside)} of {len(times)} times): the trajectory covers "
            f"[{first}, {last}] us; ask for times inside it"
        )
    before = np.searchsorted(trajectory.t_us, times, side="right") - 1
    after = np.minimum(before + 1, len(trajectory) - 1)
    # Differences of integers first: float64 seconds of an absolute clock have no microseconds to spare.
    elapsed, step = times - trajectory.t_us[before], trajectory.t_us[after] - trajectory.t_us[before]
    fraction = (elapsed / np.maximum(step, 1))[:, None]
    return _blend(trajectory.poses[before], trajectory.poses[after], fraction)


def path_length(trajectory: Trajectory) -> float:
    """Length in metres of the polygon through all positions; 0 for fewer than two poses.

    Raises:
        DataError: a position is not finite.
    """
    steps = np.linalg.norm(np.diff(trajectory.position, axis=0), axis=1)
    if not np.isfinite(trajectory.position).all():
        row = int(np.flatnonzero(~np.isfinite(trajectory.position).all(1))[0])
        raise DataError(
            f"position of pose {row} is {trajectory.position[row].tolist()}: remove poses that are not finite"
        )
    return float(steps.sum())


def _blend(start: np.ndarray, stop: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Poses (M, 7) at the fraction (M, 1) of the way from start (M, 7) to stop (M, 7), the short way round."""
    if not len(start):
        return np.empty((0, 7))
    position = start[:, :3] + fraction * (stop[:, :3] - start[:, :3])
    rotation = Rotation.from_quat(start[:, 3:])
    turn = (rotation.inv() * Rotation.from_quat(stop[:, 3:])).as_rotvec()
    quaternion = (rotation * Rotation.from_rotvec(fraction * turn)).as_quat()
    sign = np.where((quaternion * start[:, 3:]).sum(1, keepdims=True) < 0, -1.0, 1.0)
    return np.hstack([position, sign * quaternion])


def _check(trajectory: Trajectory) -> None:
    if not len(trajectory):
        raise DataError("the trajectory has no poses: nothing to interpolate; check the file or the run it comes from")
    stalled = np.flatnonzero(np.diff(trajectory.t_us) <= 0)
    if len(stalled):
        row = int(stalled[0])
        raise DataError(
            f"pose times do not increase: {trajectory.t_us[row]} us is followed by {trajectory.t_us[row + 1]} us; "
            "sort the poses and remove doubles"
        )
    broken = ~np.isfinite(trajectory.poses).all(1) | ~np.linalg.norm(trajectory.quaternion, axis=1).astype(bool)
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        raise DataError(f"pose at {trajectory.t_us[row]} us is {trajectory.poses[row].tolist()}: remove broken poses")


def camera_matrices(poses: np.ndarray) -> np.ndarray:
    """T_cam_world (N, 4, 4) of poses T_world_cam (N, 7)."""
    T_world_cam = np.tile(np.eye(4), (len(poses), 1, 1))
    T_world_cam[:, :3, :3], T_world_cam[:, :3, 3] = Rotation.from_quat(poses[:, 3:]).as_matrix(), poses[:, :3]
    return inverse(T_world_cam)


def camera_poses(T_cam_world: np.ndarray) -> np.ndarray:
    """Poses T_world_cam (N, 7) (x, y, z, qx, qy, qz, qw) of matrices T_cam_world (N, 4, 4)."""
    T_world_cam = np.linalg.inv(T_cam_world)
    return np.concatenate([T_world_cam[:, :3, 3], Rotation.from_matrix(T_world_cam[:, :3, :3]).as_quat()], 1)
