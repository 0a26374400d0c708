"""Poses in other forms than that of TUM."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.errors import DataError
from evslam.types import Trajectory

MAX_ORTHOGONALITY_ERROR = 1e-3


def from_matrices(path: Path, t_us: np.ndarray, matrices: np.ndarray) -> Trajectory:
    """A trajectory from homogeneous matrices.

    Args:
        path: where they come from, for messages.
        t_us: (N,) int64 microseconds, strictly increasing.
        matrices: (N, 4, 4) T_world_cam.

    Raises:
        DataError: one of them is no rigid motion.
    """
    if matrices.shape != (len(t_us), 4, 4):
        raise DataError(f"{path}: poses have shape {matrices.shape}, ({len(t_us)}, 4, 4) is expected; correct them")
    rotation = matrices[:, :3, :3].astype(np.float64)
    error = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2))
    wrong = ~(np.isfinite(matrices).all(axis=(1, 2)) & (error < MAX_ORTHOGONALITY_ERROR))
    wrong |= ~(np.linalg.det(np.where(wrong[:, None, None], np.eye(3), rotation)) > 0)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise DataError(f"{path}, pose {index}: its matrix is no rotation and translation; leave it out")
    quaternion = Rotation.from_matrix(rotation).as_quat()
    return Trajectory(t_us, np.hstack([matrices[:, :3, 3].astype(np.float64), quaternion]))
