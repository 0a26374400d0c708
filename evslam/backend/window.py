"""Windowed bundle adjustment: the last keyframes and the landmarks they see, held by older keyframes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.multiview.bundle import BundleProblem, BundleResult, BundleSettings, adjust, normalise_scale
from evslam.multiview.sparse_map import SparseMap
from evslam.settings import WindowConfig


@dataclass(frozen=True)
class Window:
    """What an adjustment covers: keyframes `views`, of which some move, and `landmarks` of the map."""

    views: list[int]
    is_free: np.ndarray
    landmarks: np.ndarray


def choose_window(map_: SparseMap, config: WindowConfig) -> Window:
    """The last keyframes, the landmarks that they and at least one other see, and the older keyframes that see most."""
    count = len(map_.keyframes)
    first = max(count - config.keyframes, 0)
    times_seen, in_window = np.zeros(len(map_.points), np.int64), np.zeros(len(map_.points), bool)
    for index, keyframe in enumerate(map_.keyframes):
        seen = keyframe.landmark[keyframe.landmark >= 0]
        times_seen[seen] += 1
        if index >= first:
            in_window[seen] = True
    chosen = in_window & (times_seen >= 2) & map_.alive
    common = np.array([chosen[k.landmark[k.landmark >= 0]].sum() for k in map_.keyframes[:first]], np.int64)
    best = np.argsort(-common, kind="stable")[: config.max_fixed]
    fixed = sorted(best[common[best] > 0].tolist())
    views = fixed + list(range(first, count))
    is_free = np.arange(len(views)) >= max(len(fixed), 1)
    if len(fixed) == 1:
        is_free[1] = False  # two views hold the scale
    return Window(views, is_free, np.flatnonzero(chosen))


def adjust_window(map_: SparseMap, focal: float, config: WindowConfig) -> BundleResult | None:
    """Adjust the last keyframes and their landmarks, and take out what does not fit; None when there is too little.

    Args:
        map_: changed in place.
        focal: pixels per unit of bearing.
        config: size of the window and limits.
    """
    window = choose_window(map_, config)
    observations = map_.observations(window.views, window.landmarks)
    if len(observations) < config.min_observations:
        return None
    poses = np.stack([map_.keyframes[view].T_cam_world for view in window.views])
    problem = BundleProblem(poses, window.is_free, map_.points[window.landmarks], observations, focal)
    result = adjust(problem, BundleSettings(config.scale_px, config.max_iterations, config.tolerance))
    poses, points = result.T_cam_world, result.points
    if (~window.is_free).sum() == 1:
        poses, points = normalise_scale(problem.T_cam_world, poses, points)
    for index, view in enumerate(window.views):
        if window.is_free[index]:
            map_.keyframes[view].T_cam_world = poses[index]
    map_.points[window.landmarks] = points
    _cull(map_, window, result, observations.view, observations.point, config)
    return result


def _cull(
    map_: SparseMap,
    window: Window,
    result: BundleResult,
    view: np.ndarray,
    point: np.ndarray,
    config: WindowConfig,
) -> None:
    """Take out single observations that are far off, and landmarks that are off on average."""
    count = np.bincount(point, minlength=len(window.landmarks))
    mean = np.bincount(point, result.error_px, len(window.landmarks)) / np.maximum(count, 1)
    far = result.error_px > config.max_error_px
    for index in np.unique(view[far]):
        keyframe = map_.keyframes[window.views[index]]
        bad = window.landmarks[point[far & (view == index)]]
        keyframe.landmark[np.isin(keyframe.landmark, bad)] = -1
    map_.remove_landmarks(window.landmarks[mean > config.max_mean_px])
