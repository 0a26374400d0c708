"""Where on the image some points lie: their midst, their hull, how far they spread."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

_CORE = 2.5  # median distances from the middle
_CELL_PX = 40.0
_MIN_CORNERS = 3


def core_of(place: np.ndarray) -> np.ndarray:
    """(N,) bool, places (N, 2) without those far from most of them."""
    apart = np.linalg.norm(place - np.median(place, 0), axis=1)
    return np.asarray(apart <= _CORE * np.median(apart))


def within_hull(corners: np.ndarray, place: np.ndarray, margin: float) -> np.ndarray:
    """(N,) bool, places (N, 2) in the convex hull of some (K, 2), or so near one of its sides, prolonged."""
    if len(corners) < _MIN_CORNERS:
        return np.zeros(len(place), bool)
    hull = cv2.convexHull(corners.astype(np.float32))[:, 0].astype(float)
    side = np.roll(hull, -1, 0) - hull
    length = np.maximum(np.linalg.norm(side, axis=1), 1e-12)
    offset = place[:, None] - hull
    away = (side[:, 0] * offset[..., 1] - side[:, 1] * offset[..., 0]) / length
    turn = np.sign((hull[:, 0] * np.roll(hull[:, 1], -1) - hull[:, 1] * np.roll(hull[:, 0], -1)).sum())
    return np.asarray((turn * away > -margin).all(1))


def num_cells(place: np.ndarray) -> int:
    """Squares of the image that hold at least one of the pixels (N, 2)."""
    return len(np.unique(np.floor(place / _CELL_PX), axis=0))


def groups_of(place: np.ndarray, gap: float) -> list[np.ndarray]:
    """Rows of places (N, 2), apart where no chain of steps shorter than the gap leads from one to the other."""
    if not len(place):
        return []
    one, other = cKDTree(place).query_pairs(gap, output_type="ndarray").T
    near = coo_array((np.ones(len(one), bool), (one, other)), 2 * (len(place),))
    number, label = connected_components(near, directed=False)
    return [np.flatnonzero(label == k) for k in range(number)]


def are_near(place: np.ndarray, others: np.ndarray, radius: float) -> np.ndarray:
    """(N,) bool, places (N, 2) with one of the others (M, 2) within a radius."""
    if not len(others):
        return np.zeros(len(place), bool)
    apart, _ = cKDTree(others).query(place, distance_upper_bound=radius)
    return np.isfinite(apart)
