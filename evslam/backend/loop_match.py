"""Whether two views show the same place, and the similarity between them if they do."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from evslam.backend.match_kernels import clear_matches, near_matches
from evslam.backend.places import View
from evslam.backend.two_way_fit import Sight, fit_two_ways
from evslam.geometry.rigid import inverse
from evslam.geometry.similarity import Similarity
from evslam.multiview.pose import PoseFit, PoseSettings, estimate_pose
from evslam.settings_places import LoopConfig

_NEAR = 1e-6
_ITERATIONS = 10
_GUIDED_ROUNDS = 2


@dataclass(frozen=True)
class LoopMatch:
    """Two views of one place.

    Attributes:
        new_from_old: one similarity, points of the old camera frame to the new one.
        rows: (M, 2) int64, points of the old and of the new view that are the same.
    """

    new_from_old: Similarity
    rows: np.ndarray


def match_views(old: View, new: View, focal: float, config: LoopConfig) -> LoopMatch | None:
    """Match descriptors and find the similarity that projects matched points onto each other in both images.

    Returns:
        None unless enough points agree in both images, are spread over the image, and the pose of the new camera by the
        old points and that of the old camera by the new points turn by the same angle.
    """
    seen = see_points(old, new.bearing, new.descriptor, focal, config)
    if seen is None:
        return None
    pose, rows = seen[0].T_cam_world, seen[1]
    if len(rows) < config.min_points:
        return None
    ours = Sight(old.points[rows[:, 0]], old.bearing[rows[:, 0]])
    theirs = Sight(new.points[rows[:, 1]], new.bearing[rows[:, 1]])
    scale = float(np.median((ours.points @ pose[:3, :3].T + pose[:3, 3])[:, 2] / theirs.points[:, 2]))
    back = _pose(inverse(pose), scale * theirs.points, ours.bearing, focal, config)
    if back is None or scale <= 0 or _turn_deg(back.T_cam_world @ pose) > config.max_turn_deg:
        return None
    start = Similarity(pose[None, :3, :3], pose[None, :3, 3] / scale, np.array([1 / scale]))
    found, error_px = fit_two_ways(start, ours, theirs, focal, config.scale_px)
    if np.median(error_px, 1).max() > config.max_median_px:
        return None
    fits = (error_px < config.inlier_px).all(0)
    if fits.sum() < config.min_points or not is_spread(focal * theirs.bearing[fits], config.min_spread_px):
        return None
    return LoopMatch(found, rows[fits])


def see_points(
    view: View, bearing: np.ndarray, descriptor: np.ndarray, focal: float, config: LoopConfig
) -> tuple[PoseFit, np.ndarray] | None:
    """Where another camera stands that sees the points of a view.

    Args:
        view: points with depth.
        bearing: (K, 2) what the other camera sees; descriptor: (K, D) of it.
        focal: pixels per unit of bearing.
        config: limits.

    Returns:
        Pose of the other camera in the view's frame, and rows (M, 2) of the view and of what the other sees that look
        alike and are near each other; None if too few agree with any pose.
    """
    alike = view.descriptor @ descriptor.T
    rows = clear_matches(alike, config.ratio)
    fit = _ransac_pose(view.points[rows[:, 0]], bearing[rows[:, 1]], focal, config)
    least = 1 - config.max_distance**2 / 2
    for _ in range(_GUIDED_ROUNDS):
        if fit is None:
            return None
        moved = view.points @ fit.T_cam_world[:3, :3].T + fit.T_cam_world[:3, 3]
        depth = np.where(moved[:, 2:] > _NEAR, moved[:, 2:], np.nan)
        rows = near_matches(alike, moved[:, :2] / depth, bearing, config.guided_px / focal, least)
        fit = _pose(fit.T_cam_world, view.points[rows[:, 0]], bearing[rows[:, 1]], focal, config)
    return None if fit is None else (fit, np.asarray(rows))


def _ransac_pose(points: np.ndarray, bearing: np.ndarray, focal: float, config: LoopConfig) -> PoseFit | None:
    """T_new_old that enough of the points (N, 3) and their bearings (N, 2) agree with."""
    if len(points) < config.min_matches:
        return None
    lens = np.diag([focal, focal, 1.0])
    found, turn, move, inlier = cv2.solvePnPRansac(
        points,
        focal * bearing,
        lens,
        None,
        iterationsCount=config.ransac_iterations,
        reprojectionError=config.inlier_px,
        flags=cv2.SOLVEPNP_AP3P,
    )
    if not found or len(inlier) < config.min_matches:
        return None
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], move.ravel()
    inlier = inlier.ravel()
    return _pose(pose, points[inlier], bearing[inlier], focal, config)


def _pose(
    start: np.ndarray, points: np.ndarray, bearing: np.ndarray, focal: float, config: LoopConfig
) -> PoseFit | None:
    if len(points) < config.min_matches:
        return None
    settings = PoseSettings(focal, config.scale_px, _ITERATIONS)
    return estimate_pose(start, points, bearing, None, np.ones(len(points)), settings)


def _turn_deg(pose: np.ndarray) -> float:
    return float(np.degrees(Rotation.from_matrix(pose[:3, :3]).magnitude()))


def is_spread(pixel: np.ndarray, least_px: tuple[float, ...]) -> bool:
    """Whether pixels (N, 2) spread over an area, not a spot or a line."""
    return bool((np.sqrt(np.linalg.eigvalsh(np.cov(pixel.T)).clip(0)) > least_px).all())
