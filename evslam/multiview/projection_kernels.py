"""Compiled error and Jacobian of one observation, shared by pose estimation and bundle adjustment.

A pose step is (w, v), rotation vector and translation in the camera frame: R <- exp(w) R, t <- exp(w) t + v, so a point
Y of the camera frame moves by w x Y + v.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from evslam.geometry.spline_kernels import exponential

JIT = {"cache": True, "nogil": True, "error_model": "numpy"}
MAX_ERROR_PX = 50.0  # of a point behind the camera; larger errors count as this and have no gradient
MIN_DEPTH = 1e-6


@njit(inline="always", **JIT)
def observe(pose: Any, point: Any, bearing: Any, normal: Any, focal: float, error: Any, jacobian: Any) -> int:
    """Error in pixels of one observation, and its derivatives.

    Args:
        pose: (4, 4) T_cam_world. point: (3,) world. bearing, normal: (2,), see `Observations`.
        error: (2,), is written: focal * (projection - bearing), or its part along the normal in error[0].
        jacobian: (2, 9), is written: by the pose step (6) and by the point (3).

    Returns:
        Number of rows written: 2, 1 for a point on an edge, 0 behind the camera or beyond `MAX_ERROR_PX`.
    """
    x = pose[0, 0] * point[0] + pose[0, 1] * point[1] + pose[0, 2] * point[2] + pose[0, 3]
    y = pose[1, 0] * point[0] + pose[1, 1] * point[1] + pose[1, 2] * point[2] + pose[1, 3]
    z = pose[2, 0] * point[0] + pose[2, 1] * point[1] + pose[2, 2] * point[2] + pose[2, 3]
    if not z > MIN_DEPTH:
        return 0
    u, v, scale = x / z, y / z, focal / z
    error_u, error_v = focal * (u - bearing[0]), focal * (v - bearing[1])
    if normal[0] != 0.0 or normal[1] != 0.0:
        a, b = scale * normal[0], scale * normal[1]
        error[0], error[1] = normal[0] * error_u + normal[1] * error_v, 0.0
        if not abs(error[0]) < MAX_ERROR_PX:
            return 0
        _derive(pose, (x, y, z), (a, b, -a * u - b * v), jacobian[0])
        return 1
    error[0], error[1] = error_u, error_v
    if not error_u * error_u + error_v * error_v < MAX_ERROR_PX**2:
        return 0
    _derive(pose, (x, y, z), (scale, 0.0, -scale * u), jacobian[0])
    _derive(pose, (x, y, z), (0.0, scale, -scale * v), jacobian[1])
    return 2


@njit(inline="always", **JIT)
def _derive(pose: Any, place: Any, gradient: Any, row: Any) -> None:
    """Row (9,) of the Jacobian, of an error with a gradient by its place in the camera frame."""
    (x, y, z), (a, b, c) = place, gradient
    row[0], row[1], row[2] = y * c - z * b, z * a - x * c, x * b - y * a
    row[3], row[4], row[5] = a, b, c
    for k in range(3):
        row[6 + k] = a * pose[0, k] + b * pose[1, k] + c * pose[2, k]


@njit(**JIT)
def move_pose(pose: Any, step: Any, out: Any) -> None:
    """The pose (4, 4) after a step (6,), into out."""
    turn = np.empty((3, 3))
    exponential(step[:3], turn)
    for i in range(3):
        for j in range(4):
            out[i, j] = turn[i, 0] * pose[0, j] + turn[i, 1] * pose[1, j] + turn[i, 2] * pose[2, j]
        out[i, 3] += step[3 + i]
    out[3] = pose[3]
