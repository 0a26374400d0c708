"""New landmarks: tracks that several keyframes have seen under a large enough angle."""

from __future__ import annotations

import numpy as np

from evslam.multiview.bundle import BundleProblem, BundleSettings, adjust
from evslam.multiview.observations import Observations
from evslam.multiview.sparse_map import SparseMap
from evslam.multiview.triangulation import triangulate
from evslam.settings import LandmarkConfig

_POLISH = BundleSettings(scale_px=1.2, max_iterations=5, tolerance=1e-5)


def add_new_landmarks(map_: SparseMap, focal: float, config: LandmarkConfig) -> int:
    """Triangulate the tracks of the last keyframe that have no landmark yet; returns how many were added.

    Args:
        map_: its last keyframe is looked at; landmarks are added and observed by the keyframes that saw them.
        focal: pixels per unit of bearing.
        config: limits.
    """
    newest = map_.keyframes[-1]
    first = max(len(map_.keyframes) - 1 - config.max_age, 0)
    views = list(range(first, len(map_.keyframes)))
    ids = newest.ids[map_.landmarks(newest.ids) < 0]
    observations, rows, ids = _past(map_, views, ids, config.min_views)
    if not len(ids):
        return 0
    poses = np.stack([map_.keyframes[view].T_cam_world for view in views])
    found = triangulate(poses, observations, len(ids))
    still = np.zeros(len(views), bool)
    result = adjust(BundleProblem(poses, still, found.points, observations, focal), _POLISH)
    count = np.bincount(observations.point, minlength=len(ids))
    mean = np.bincount(observations.point, result.error_px, len(ids)) / count
    worst = np.zeros(len(ids))
    np.maximum.at(worst, observations.point, result.error_px)
    wide = found.in_front & (found.angle > np.radians(config.min_angle_deg))
    good = wide & (mean < config.max_mean_px) & (worst < config.max_error_px)
    map_.forget(ids[mean > config.max_error_px])
    index = np.full(len(ids), -1, np.int64)
    index[good] = map_.add_landmarks(result.points[good], ids[good])
    for view, row, point in zip(observations.view, rows, observations.point, strict=True):
        map_.keyframes[views[view]].landmark[row] = index[point]
    return int(good.sum())


def _past(
    map_: SparseMap, views: list[int], ids: np.ndarray, min_views: int
) -> tuple[Observations, np.ndarray, np.ndarray]:
    """Usable observations of tracks by keyframes, their rows there, and the tracks with enough of them."""
    seen = np.zeros((len(views), len(ids)), bool)
    rows = np.zeros((len(views), len(ids)), np.int64)
    keyframes = [map_.keyframes[index] for index in views]
    for number, keyframe in enumerate(keyframes):
        rows[number], there = keyframe.rows_of(ids)
        seen[number, there] = keyframe.usable[rows[number, there]]
    enough = seen.sum(0) >= min_views
    seen, rows, ids = seen[:, enough], rows[:, enough], ids[enough]
    point, view = np.nonzero(seen.T)
    row = rows[view, point]
    bearing = np.zeros((len(row), 2))
    for number, keyframe in enumerate(keyframes):
        mine = view == number
        bearing[mine] = keyframe.bearing[row[mine]]
    return Observations.of_points(view, point, bearing), row, ids
