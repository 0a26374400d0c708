"""A hand-held trajectory, and files that hold it in every form."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from scipy.spatial.transform import Rotation

from evslam.types import Trajectory


def hand_held(num_poses: int = 800, step_us: int = 5_000, start_us: int = 1_000_000) -> Trajectory:
    """A camera that wanders a metre and looks around, 2 m from the origin."""
    t = np.arange(num_poses) * step_us * 1e-6
    position = np.stack([2 + 0.5 * np.sin(t), 0.3 * np.cos(1.3 * t), 0.2 * np.sin(0.7 * t)], 1)
    angles = np.stack([0.6 * np.sin(2.1 * t), 0.8 * np.sin(1.7 * t + 1), 0.5 * np.sin(2.9 * t + 2)], 1)
    rotation = Rotation.from_euler("xyz", angles) * Rotation.from_rotvec([0.3, -0.7, 0.2])
    return Trajectory(start_us + step_us * np.arange(num_poses), np.hstack([position, rotation.as_quat()]))


def rates(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Angular velocities between the poses, as a gyroscope turned by a constant rotation and biased would measure."""
    rotation = Rotation.from_quat(trajectory.quaternion)
    steps = (rotation[:-1].inv() * rotation[1:]).as_rotvec() / (np.diff(trajectory.t_us)[:, None] * 1e-6)
    mounting = Rotation.from_rotvec([1.2, 0.4, -0.8])
    bias = np.array([0.02, -0.01, 0.03])
    return (trajectory.t_us[:-1] + trajectory.t_us[1:]) // 2, mounting.apply(steps) + bias


def matrices(trajectory: Trajectory) -> np.ndarray:
    result = np.tile(np.eye(4), (len(trajectory), 1, 1))
    result[:, :3, :3] = Rotation.from_quat(trajectory.quaternion).as_matrix()
    result[:, :3, 3] = trajectory.position
    return result


def text(
    trajectory: Trajectory, scale: float = 1e-6, order: str = "xyzw", separator: str = " ", header: str = ""
) -> str:
    """Lines of time * scale, position, quaternion; whole-numbered times for scales of 1 and more."""
    columns = {"xyzw": [3, 4, 5, 6], "wxyz": [6, 3, 4, 5]}[order]
    lines = [header] if header else []
    for t, pose in zip(trajectory.t_us.tolist(), trajectory.poses, strict=True):
        time = f"{t * round(scale)}" if scale >= 1 else f"{t * scale:.9f}"
        lines.append(separator.join([time, *(f"{value:.12g}" for value in pose[[0, 1, 2, *columns]])]))
    return "\n".join(lines) + "\n"


def mvsec(path: Path, trajectory: Trajectory) -> Path:
    with h5py.File(path, "w") as file:
        file["davis/left/pose"], file["davis/left/pose_ts"] = matrices(trajectory), trajectory.t_us * 1e-6
    return path


def m3ed(path: Path, trajectory: Trajectory) -> Path:
    with h5py.File(path, "w") as file:
        file["Cn_T_C0"], file["ts"] = np.linalg.inv(matrices(trajectory)), trajectory.t_us
    return path
