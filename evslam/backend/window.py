"""Windowed bundle adjustment: the last keyframes and the landmarks they see, held by older keyframes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.multiview.bundle import BundleProblem, BundleResult, BundleSettings, adjust, normalise_scale
from evslam.multiview.edge_links import EdgeLinks
from evslam.multiview.observations import Observations
from evslam.multiview.sparse_map import SparseMap
from evslam.settings_mapping import WindowConfig


@dataclass(frozen=True)
class Window:
    """What an adjustment covers: keyframes `views`, of which some move, and `landmarks` of the map; whether the
    keyframes `may_turn`, too."""

    views: list[int]
    is_free: np.ndarray
    landmarks: np.ndarray
    may_turn: bool = True


def choose_window(map_: SparseMap, config: WindowConfig, free: range | None = None) -> Window:
    """Keyframes to move, the landmarks that they and at least one other see, guesses, which go with the keyframe that
    sees them, and the others that see most of these.

    Args:
        map_: keyframes and landmarks.
        config: sizes.
        free: keyframes that move; None for the last `config.keyframes`. Those given with the map never do.
    """
    count = len(map_.keyframes)
    free = range(max(count - config.keyframes, map_.num_given), count) if free is None else free
    times_seen, in_window = np.zeros(len(map_.points), np.int64), np.zeros(len(map_.points), bool)
    for index, keyframe in enumerate(map_.keyframes):
        seen = keyframe.landmark[keyframe.landmark >= 0]
        times_seen[seen] += 1
        if index in free:
            in_window[seen] = True
    chosen = in_window & map_.alive & ((times_seen >= 2) | ~map_.firm)
    others = [index for index in range(count) if index not in free]
    common = np.array([chosen[k.landmark[k.landmark >= 0]].sum() for k in (map_.keyframes[i] for i in others)])
    best = np.argsort(-common, kind="stable")[: config.max_fixed]
    fixed = [others[i] for i in best if common[i] > 0]
    views = sorted([*fixed, *free])
    is_free = np.array([view in free for view in views])
    for view in free[: max(2 - len(fixed), 0) if fixed else 1]:
        is_free[views.index(view)] = False  # two fixed views hold place and scale; a single one leaves the scale free
    return Window(views, is_free, np.flatnonzero(chosen))


def adjust_window(
    map_: SparseMap, window: Window, focal: float, config: WindowConfig, edges: EdgeLinks | None = None
) -> BundleResult | None:
    """Adjust keyframes, their landmarks and edges, and take out what does not fit; None when there is too little.

    Args:
        map_: changed in place.
        window: what to adjust.
        focal: pixels per unit of bearing.
        config: limits.
        edges: points on edges that take part, see `evslam.multiview.edge_links`.
    """
    observations = map_.observations(window.views, window.landmarks)
    if len(observations) < config.min_observations:
        return None
    poses = np.stack([map_.keyframes[view].T_cam_world for view in window.views])
    number, points, seen = len(observations), map_.points[window.landmarks], observations
    spread, is_free_point = map_.spread[window.landmarks], np.ones(len(points), bool)
    if edges is not None:
        seen = edges.after(seen, len(points))
        points, is_free_point = np.concatenate([points, edges.points]), np.append(is_free_point, edges.is_free)
        spread = np.concatenate([spread, np.zeros_like(edges.points)])
    problem = BundleProblem(poses, window.is_free, points, seen, focal, is_free_point, spread, window.may_turn)
    result = adjust(problem, BundleSettings(config.scale_px, config.max_iterations, config.tolerance))
    poses, points = result.T_cam_world, result.points
    if (~window.is_free).sum() == 1:
        poses, points = normalise_scale(problem.T_cam_world, poses, points)
    for index, view in enumerate(window.views):
        if window.is_free[index]:
            map_.keyframes[view].T_cam_world = poses[index]
    map_.points[window.landmarks] = points[: len(window.landmarks)]
    _cull(map_, window, result.error_px[:number], observations, config)
    if edges is not None:
        edges.update(map_, points[len(window.landmarks) :], result.error_px[number:])
    return result


def _cull(
    map_: SparseMap, window: Window, error_px: np.ndarray, observations: Observations, config: WindowConfig
) -> None:
    """Take out single observations that are far off, and landmarks that are off on average."""
    view, point = observations.view, observations.point
    count = np.bincount(point, minlength=len(window.landmarks))
    mean = np.bincount(point, error_px, len(window.landmarks)) / np.maximum(count, 1)
    far = error_px > config.max_error_px
    for index in np.unique(view[far]):
        keyframe = map_.keyframes[window.views[index]]
        bad = window.landmarks[point[far & (view == index)]]
        keyframe.landmark[np.isin(keyframe.landmark, bad)] = -1
    map_.remove_landmarks(window.landmarks[mean > config.max_mean_px])
