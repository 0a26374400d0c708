"""Points at infinity: they tell a fit of poses how the camera turned, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evslam.multiview.bundle import BundleProblem
from evslam.multiview.observations import Observations, PointSightings

_INFINITY = 1e6  # units of the map
_BEARINGS = np.array([[-0.5, -0.4], [0.5, -0.4], [-0.5, 0.4], [0.5, 0.4]])
_RAYS = np.column_stack([_BEARINGS, np.ones(4)])


@dataclass(frozen=True)
class Turns:
    """How cameras are turned against the first one, as something else than points tells.

    Attributes:
        rotation: (C, 3, 3) R_cam_first.
        weight: (C,) of all points at infinity together, against 1 for an observed point.
    """

    rotation: np.ndarray
    weight: np.ndarray

    def ends(self) -> Turns:
        """Those of the first and the last camera alone."""
        return Turns(self.rotation[[0, -1]], self.weight[[0, -1]])


def horizon_of(T_cam_world: np.ndarray, weight: float) -> PointSightings:
    """Points at infinity, seen where this pose (4, 4) has them.

    Args:
        weight: of all together, against 1 for a landmark.
    """
    centre = -T_cam_world[:3, :3].T @ T_cam_world[:3, 3]
    points = _INFINITY * _RAYS @ T_cam_world[:3, :3] + centre
    return PointSightings.of_points(points, _BEARINGS.copy(), np.full(len(_RAYS), weight / len(_RAYS)))


def with_horizon(problem: BundleProblem, turns: Turns | None) -> BundleProblem:
    """The same problem with points at infinity, which stay; they and their observations come last.

    Args:
        problem: its first camera is the world.
        turns: of its cameras; None leaves it as it is.
    """
    if turns is None:
        return problem
    views, number = len(turns.rotation), len(_RAYS)
    seen = np.einsum("cij,nj->nci", turns.rotation, _RAYS)
    bearing = (seen[..., :2] / seen[..., 2:]).reshape(-1, 2)
    point = len(problem.points) + np.repeat(np.arange(number), views)
    old = problem.observations
    observations = Observations(
        np.concatenate([old.view, np.tile(np.arange(views), number)]),
        np.concatenate([old.point, point]),
        np.concatenate([old.bearing, bearing]),
        np.concatenate([old.normal, np.zeros((number * views, 2))]),
        np.concatenate([old.weight, np.tile(turns.weight / number, number)]),
    )
    is_free = np.ones(len(problem.points), bool) if problem.is_free_point is None else problem.is_free_point
    return replace(
        problem,
        points=np.concatenate([problem.points, _INFINITY * _RAYS]),
        observations=observations,
        is_free_point=np.concatenate([is_free, np.zeros(number, bool)]),
    )
