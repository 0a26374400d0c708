"""Rigid motions as (4, 4) matrices: what is asked of single ones so often that its cost counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_SMALL = 1e-8
NEAR = 1e-6  # least depth of a point in front of a camera


def inverse(T: np.ndarray) -> np.ndarray:
    """The inverse (..., 4, 4) of rigid motions (..., 4, 4): T_b_a of T_a_b.

    By transposition: where poses feed back into themselves (T @ inverse(S) @ S), take `np.linalg.inv`, or what a
    rotation matrix is off by rounding doubles each time.
    """
    back = np.zeros_like(T)
    turn = np.swapaxes(T[..., :3, :3], -1, -2)
    back[..., :3, :3] = turn
    back[..., :3, 3:] = -turn @ T[..., :3, 3:]
    back[..., 3, 3] = 1.0
    return back


def scaled(T: np.ndarray, scale: float) -> np.ndarray:
    """A rigid motion (4, 4) in a unit of length that is so many times shorter."""
    larger = T.copy()
    larger[:3, 3] *= scale
    return larger


def seen_from(T_cam_world: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bearings (N, 2) and depths (N,) of world points (N, 3); the bearing of one behind the camera means nothing."""
    points = points @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
    return points[:, :2] / np.maximum(points[:, 2:], NEAR), points[:, 2]


@njit(cache=True)
def rotation_vector(rotation: Any) -> Any:
    """Rotation vector (3,), up to pi long, of a rotation matrix (3, 3)."""
    v = 0.5 * np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    sine, cosine = np.sqrt((v**2).sum()), 0.5 * (rotation[0, 0] + rotation[1, 1] + rotation[2, 2] - 1.0)
    if sine > _SMALL:
        return v * (np.arctan2(sine, cosine) / sine)
    if cosine > 0:
        return v
    # half a turn: the axis is the longest column of R + I
    square = rotation + np.eye(3)
    axis = square[:, np.argmax(np.diag(square))].copy()
    return axis * (np.pi / np.sqrt((axis**2).sum()))
