"""New landmarks: tracks that several keyframes have seen under a large enough angle, and guesses for the others."""

from __future__ import annotations

import numpy as np

from evslam.geometry.canvas import Canvas
from evslam.geometry.rigid import inverse
from evslam.mapping.edge_image import inverse_depth_at, inverse_depth_grid
from evslam.multiview.bundle import BundleProblem, BundleSettings, adjust
from evslam.multiview.observations import Observations
from evslam.multiview.sparse_map import SparseMap
from evslam.multiview.triangulation import Triangulation, triangulate
from evslam.settings_mapping import LandmarkConfig

_POLISH = BundleSettings(scale_px=1.2, max_iterations=5, tolerance=1e-5)
_NOISE_PX = 1.0  # of a ray, for what parallax can tell
_MIN_KNOWN = 5  # landmarks from which a depth is guessed


def add_new_landmarks(map_: SparseMap, canvas: Canvas, config: LandmarkConfig) -> int:
    """Triangulate the tracks of the last keyframe that have no firm landmark yet; returns how many became firm.

    Where the camera mostly turns, new tracks see no parallax. They get a landmark with the depth of their surroundings,
    mixed with what parallax tells, so that the camera can be followed until they are seen under a larger angle.

    Args:
        map_: its last keyframe is looked at; landmarks are added and observed by the keyframes that saw them.
        canvas: image plane.
        config: limits.
    """
    newest, focal = map_.keyframes[-1], canvas.focal
    views = list(range(max(len(map_.keyframes) - 1 - config.max_age, 0), len(map_.keyframes)))
    ids = newest.ids[~is_firm(map_, newest.ids)]
    seen, rows, ids = _past(map_, views, ids, config.min_views)
    added = 0
    if len(ids):
        poses = np.stack([map_.keyframes[view].T_cam_world for view in views])
        found = triangulate(poses, seen, len(ids))
        still = np.zeros(len(views), bool)
        result = adjust(BundleProblem(poses, still, found.points, seen, focal), _POLISH)
        mean = np.bincount(seen.point, result.error_px, len(ids)) / np.bincount(seen.point, minlength=len(ids))
        wide = found.in_front & (found.angle > np.radians(config.min_angle_deg))
        good = wide & (mean < config.max_mean_px)
        map_.forget(ids[mean > config.max_mean_px])
        _link(map_, views, seen, rows, ids, good, result.points)
        added = int(good.sum())
        _guess(map_, canvas, config, ids[~good], _some(found, ~good))
    others = newest.ids[map_.landmarks(newest.ids) < 0]
    none = np.zeros(len(others))
    _guess(map_, canvas, config, others, Triangulation(np.zeros((len(others), 3)), none, none > 0))
    return added


def is_firm(map_: SparseMap, ids: np.ndarray) -> np.ndarray:
    """(N,) bool, which tracks have a landmark whose depth parallax has told."""
    landmark = map_.landmarks(ids)
    return (landmark >= 0) & np.append(map_.firm, False)[landmark]


def _link(
    map_: SparseMap,
    views: list[int],
    seen: Observations,
    rows: np.ndarray,
    ids: np.ndarray,
    good: np.ndarray,
    points: np.ndarray,
) -> None:
    """Good tracks become firm landmarks, in place of a guess, observed by all keyframes that saw them."""
    guesses = map_.landmarks(ids[good])
    map_.remove_landmarks(guesses[guesses >= 0], forget=False)
    index = np.full(len(ids), -1, np.int64)
    index[good] = map_.add_landmarks(points[good], ids[good])
    for view, row, point in zip(seen.view, rows, seen.point, strict=True):
        if good[point]:
            map_.keyframes[views[view]].landmark[row] = index[point]


def _guess(map_: SparseMap, canvas: Canvas, config: LandmarkConfig, ids: np.ndarray, found: Triangulation) -> None:
    """Landmarks of tracks of the last keyframe, at a depth between that of their surroundings and their own."""
    newest = map_.keyframes[-1]
    pose, known = newest.T_cam_world, newest.landmark >= 0
    depth = (map_.points[newest.landmark[known]] @ pose[:3, :3].T + pose[:3, 3])[:, 2]
    pixel, inverse_depth = canvas.pixels(newest.bearing[known])[depth > 0], 1 / depth[depth > 0]
    if len(inverse_depth) < _MIN_KNOWN or not len(ids):
        return
    row, _ = newest.rows_of(ids)
    bearing = newest.bearing[row]
    grid = inverse_depth_grid(canvas, pixel, inverse_depth)
    guess = inverse_depth_at(canvas, grid, bearing)
    told = np.log(1 / np.maximum((found.points @ pose[:3, :3].T + pose[:3, 3])[:, 2], 1e-6) / guess)
    trust = np.where(found.in_front, (found.angle * canvas.focal / _NOISE_PX) ** 2, 0.0)
    share = trust / (trust + 1 / config.depth_spread**2)
    inverse_depth = guess * np.exp(share * np.clip(told, -1, 1))
    points = np.concatenate([bearing, np.ones((len(ids), 1))], 1) / inverse_depth[:, None]
    T_world_cam = inverse(pose)
    world, old = points @ T_world_cam[:3, :3].T + T_world_cam[:3, 3], map_.landmarks(ids)
    spread = config.depth_spread * (world - T_world_cam[:3, 3])
    map_.points[old[old >= 0]], map_.spread[old[old >= 0]] = world[old >= 0], spread[old >= 0]
    new = old < 0
    newest.landmark[row[new]] = map_.add_landmarks(world[new], ids[new], spread[new])


def _some(found: Triangulation, rows: np.ndarray) -> Triangulation:
    return Triangulation(found.points[rows], found.angle[rows], found.in_front[rows])


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
