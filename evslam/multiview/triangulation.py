"""Points from views whose poses are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from evslam.multiview.observations import Observations


@dataclass(frozen=True)
class Triangulation:
    """Triangulated points.

    Attributes:
        points: (P, 3) world; zero where the rays do not meet.
        angle: (P,) rad, largest angle between two rays.
        in_front: (P,) bool, the point exists and lies in front of all cameras that see it.
    """

    points: np.ndarray
    angle: np.ndarray
    in_front: np.ndarray


def triangulate(T_cam_world: np.ndarray, observations: Observations, num_points: int) -> Triangulation:
    """The points nearest to all their rays, in the sense of least squares of distances.

    Args:
        T_cam_world: (C, 4, 4) poses of the views.
        observations: of the points by the views.
        num_points: P.
    """
    points, angle = np.zeros((num_points, 3)), np.zeros(num_points)
    in_front = np.zeros(num_points, bool)
    first = np.searchsorted(observations.point, np.arange(num_points + 1))
    _triangulate(T_cam_world, observations.view, observations.bearing, first, points, angle, in_front)
    return Triangulation(points, angle, in_front)


@njit(cache=True, nogil=True)
def _triangulate(poses, view, bearing, first, points, angle, in_front):
    for p in range(len(points)):
        start, stop = first[p], first[p + 1]
        rays = np.zeros((stop - start, 3))
        matrix, right = np.zeros((3, 3)), np.zeros(3)
        for i in range(start, stop):
            pose = poses[view[i]]
            length = np.sqrt(bearing[i, 0] ** 2 + bearing[i, 1] ** 2 + 1)
            ray = rays[i - start]
            for k in range(3):
                ray[k] = (pose[0, k] * bearing[i, 0] + pose[1, k] * bearing[i, 1] + pose[2, k]) / length
            for a in range(3):
                for b in range(3):
                    part = (1.0 if a == b else 0.0) - ray[a] * ray[b]
                    matrix[a, b] += part
                    centre = -(pose[0, b] * pose[0, 3] + pose[1, b] * pose[1, 3] + pose[2, b] * pose[2, 3])
                    right[a] += part * centre
        for i in range(stop - start):
            for j in range(i):
                cosine = rays[i, 0] * rays[j, 0] + rays[i, 1] * rays[j, 1] + rays[i, 2] * rays[j, 2]
                angle[p] = max(angle[p], np.arccos(min(1.0, max(-1.0, cosine))))
        if stop - start < 2 or np.linalg.det(matrix) < 1e-12:
            continue
        points[p] = np.linalg.solve(matrix, right)
        in_front[p] = True
        for i in range(start, stop):
            pose = poses[view[i]]
            depth = pose[2, 0] * points[p, 0] + pose[2, 1] * points[p, 1] + pose[2, 2] * points[p, 2] + pose[2, 3]
            if depth < 1e-3:
                in_front[p] = False
