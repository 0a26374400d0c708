"""Observations of points by several views: what triangulation, pose estimation and bundle adjustment work on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.errors import SolverError


@dataclass(frozen=True)
class Observations:
    """Which view saw which point where; sorted by point.

    Attributes:
        view: (N,) int64, index of the view.
        point: (N,) int64, index of the point, ascending.
        bearing: (N, 2) float64, undistorted (X / Z, Y / Z) in the view's camera frame.
        normal: (N, 2) float64, for a point on an edge the unit vector across the edge: only the error along it counts;
            zero for a point that is seen in both directions.
        weight: (N,) float64, factor of the squared error.
    """

    view: np.ndarray
    point: np.ndarray
    bearing: np.ndarray
    normal: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.view)

    @staticmethod
    def of_points(view: np.ndarray, point: np.ndarray, bearing: np.ndarray) -> Observations:
        """Observations in both directions, of equal weight, in any order."""
        order = np.argsort(point, kind="stable")
        bearing = np.asarray(bearing, float).reshape(-1, 2)[order]
        view, point = np.asarray(view, np.int64)[order], np.asarray(point, np.int64)[order]
        return Observations(view, point, bearing, np.zeros_like(bearing), np.ones(len(view)))


@dataclass(frozen=True)
class PointSightings:
    """Landmarks that one view sees.

    Attributes:
        points: (N, 3) world.
        bearing: (N, 2), where they are seen.
        normal: (N, 2), along which an error counts, and how much; zero for one that counts in both directions.
        weight: (N,) of the squared error.
    """

    points: np.ndarray
    bearing: np.ndarray
    normal: np.ndarray
    weight: np.ndarray

    @staticmethod
    def of_points(points: np.ndarray, bearing: np.ndarray, weight: np.ndarray) -> PointSightings:
        """Errors count in both directions."""
        return PointSightings(points, bearing, np.zeros_like(bearing), weight)

    def joined(self, other: PointSightings) -> PointSightings:
        """These, then the others."""
        return PointSightings(
            np.concatenate([self.points, other.points]),
            np.concatenate([self.bearing, other.bearing]),
            np.concatenate([self.normal, other.normal]),
            np.concatenate([self.weight, other.weight]),
        )


def first_of_point(observations: Observations, num_views: int, num_points: int) -> np.ndarray:
    """(num_points + 1,) int64: observations start[p] to start[p + 1] - 1 are those of point p.

    Raises:
        SolverError: an observation names a view or a point that does not exist, or they are not sorted by point.
    """
    view, point = observations.view, observations.point
    if len(view) and not (view.min() >= 0 and view.max() < num_views):
        raise SolverError(
            f"observation of view {view.min()} to {view.max()} of {num_views}: pass the poses of all views"
        )
    if len(point) and not (point[0] >= 0 and point[-1] < num_points and (np.diff(point) >= 0).all()):
        raise SolverError(
            f"observations of points {point.min()} to {point.max()} of {num_points}: sort by point, from 0"
        )
    return np.searchsorted(point, np.arange(num_points + 1))


def rays(bearing: np.ndarray) -> np.ndarray:
    """Unit rays (N, 3) of bearings (N, 2)."""
    ray = np.concatenate([bearing, np.ones((len(bearing), 1))], 1)
    return ray / np.linalg.norm(ray, axis=1, keepdims=True)
