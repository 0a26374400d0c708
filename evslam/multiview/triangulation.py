"""Linear triangulation of points seen by several views of known pose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from evslam.multiview.observations import Observations, first_of_point
from evslam.multiview.projection_kernels import JIT

_MIN_DETERMINANT = 1e-12  # about the squared angle in radians between two rays


@dataclass(frozen=True)
class Triangulation:
    """Points from their rays.

    Attributes:
        points: (P, 3) world; zero where the rays do not determine a point.
        angle: (P,) radians, largest angle between two rays of the point.
        in_front: (P,) bool, the point is determined and lies in front of all its views.
    """

    points: np.ndarray
    angle: np.ndarray
    in_front: np.ndarray


def triangulate(T_cam_world: np.ndarray, observations: Observations, num_points: int) -> Triangulation:
    """The points with the least squared distances to their rays, or to their planes where an edge was seen.

    Args:
        T_cam_world: (C, 4, 4) poses of the views.
        observations: of points 0 to num_points - 1.

    Raises:
        SolverError: an observation names no such view or point, or they are not sorted by point.
    """
    start = first_of_point(observations, len(T_cam_world), num_points)
    result = Triangulation(np.zeros((num_points, 3)), np.zeros(num_points), np.zeros(num_points, bool))
    poses = np.ascontiguousarray(T_cam_world, float)
    seen = (observations.view, observations.bearing, observations.normal)
    _triangulate(poses, start, seen, result.points, result.angle, result.in_front)
    return result


@njit(**JIT)
def _triangulate(poses: Any, start: Any, seen: Any, points: Any, angle: Any, in_front: Any) -> None:
    """Writes points, angle and in_front of every point; see `Triangulation`."""
    view, bearing, normal = seen
    rays = np.empty((len(view), 3))
    matrix, vector = np.empty((3, 3)), np.empty(3)
    for p in range(len(points)):
        matrix[:] = 0.0
        vector[:] = 0.0
        for i in range(start[p], start[p + 1]):
            _world_direction(poses[view[i]], bearing[i, 0], bearing[i, 1], 1.0, rays[i])
            _add_constraint(poses[view[i]], bearing[i], normal[i], rays[i], matrix, vector)
        angle[p] = _largest_angle(rays[start[p] : start[p + 1]])
        if start[p + 1] - start[p] < 2 or not np.linalg.det(matrix) > _MIN_DETERMINANT:
            continue
        points[p] = np.linalg.solve(matrix, vector)
        in_front[p] = True
        for i in range(start[p], start[p + 1]):
            pose = poses[view[i]]
            if not (pose[2, :3] * points[p]).sum() + pose[2, 3] > 0.0:
                in_front[p] = False


@njit(**JIT)
def _world_direction(pose: Any, x: float, y: float, z: float, out: Any) -> None:
    """The unit vector along (x, y, z) of the camera frame, in the world, into out (3,)."""
    length = np.sqrt(x * x + y * y + z * z)
    for k in range(3):
        out[k] = (pose[0, k] * x + pose[1, k] * y + pose[2, k] * z) / length


@njit(**JIT)
def _add_constraint(pose: Any, bearing: Any, normal: Any, ray: Any, matrix: Any, vector: Any) -> None:
    """Adds the squared distance of the point to the ray, or to the plane of ray and edge, to the normal equations."""
    sign, axis = -1.0, ray
    if normal[0] != 0.0 or normal[1] != 0.0:
        sign, axis = 1.0, np.empty(3)
        depth_part = -normal[0] * bearing[0] - normal[1] * bearing[1]
        _world_direction(pose, normal[0], normal[1], depth_part, axis)
    for i in range(3):
        for j in range(3):
            share = sign * axis[i] * axis[j] + (1.0 if sign < 0 and i == j else 0.0)
            centre = -(pose[0, j] * pose[0, 3] + pose[1, j] * pose[1, 3] + pose[2, j] * pose[2, 3])
            matrix[i, j] += share
            vector[i] += share * centre


@njit(**JIT)
def _largest_angle(rays: Any) -> float:
    """Radians between the two unit vectors (n, 3) that are farthest apart."""
    least, a, b = 2.0, 0, 0
    for i in range(len(rays)):
        for j in range(i + 1, len(rays)):
            cosine = rays[i, 0] * rays[j, 0] + rays[i, 1] * rays[j, 1] + rays[i, 2] * rays[j, 2]
            if cosine < least:
                least, a, b = cosine, i, j
    if a == b:
        return 0.0
    x = rays[a, 1] * rays[b, 2] - rays[a, 2] * rays[b, 1]
    y = rays[a, 2] * rays[b, 0] - rays[a, 0] * rays[b, 2]
    z = rays[a, 0] * rays[b, 1] - rays[a, 1] * rays[b, 0]
    return float(np.arctan2(np.sqrt(x * x + y * y + z * z), least))
