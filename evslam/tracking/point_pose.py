"""Pose of a frame from the landmarks of its tracked points."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from evslam.geometry.rigid import seen_from
from evslam.geometry.similarity import Similarity
from evslam.multiview.crowding import area_weight
from evslam.multiview.keyframe import Keyframe
from evslam.multiview.observations import PointSightings
from evslam.multiview.pose import PoseFit, PoseSettings, estimate_pose
from evslam.multiview.sparse_map import SparseMap
from evslam.settings_tracking import KeyframeConfig, PoseConfig
from evslam.types import PointFrame

_NOISE_PX = 1.0  # of a point, against the spread of its landmark
_LEAST_PX = 1e-6  # by which depth moves a point
_MIN_COMMON = 6  # tracks that tell how far the image has moved


@dataclass(frozen=True)
class PointPose:
    """Pose of a frame and how its points agree.

    Attributes:
        T_cam_world: (4, 4) float64.
        rows: (M,) rows of the frame whose tracks have a landmark.
        error_px: (M,) distance between point and projected landmark, canvas pixels; for a guess as far as its spread
            does not explain it.
        num_inliers: points within `PoseConfig.inlier_px`.
        covariance: (6, 6), see `PoseFit.covariance`, and what all points have in common (`PoseConfig.common_px`), which
            looks like a turn.
        seen: the landmarks, where they are seen, and their weights; then the guesses among them once more.
    """

    T_cam_world: np.ndarray
    rows: np.ndarray
    error_px: np.ndarray
    num_inliers: int
    covariance: np.ndarray
    seen: PointSightings

    def is_inlier(self, count: int, limit_px: float) -> np.ndarray:
        """(count,) bool, which of the frame's points agree with the landmark of their track."""
        is_inlier = np.zeros(count, bool)
        is_inlier[self.rows] = self.error_px < limit_px
        return is_inlier

    def moved(self, world: Similarity) -> PointPose:
        """The same after the world was moved (one similarity)."""
        unit = np.repeat((float(world.scale[0]), 1.0), 3)
        seen = replace(self.seen, points=world.apply(self.seen.points[None])[0])
        covariance = unit[:, None] * self.covariance * unit
        return replace(self, T_cam_world=world.carry(self.T_cam_world), seen=seen, covariance=covariance)


def pose_from_points(
    frame: PointFrame,
    starts: list[np.ndarray],
    map_: SparseMap,
    focal: float,
    config: PoseConfig,
    horizon: PointSightings | None = None,
) -> PointPose | None:
    """The pose that fits the points best; None when too few have a landmark or agree.

    Args:
        frame: tracked points.
        starts: poses T_cam_world (4, 4) to start from; the next is tried while the last one fits badly. From a
            predicted pose with a narrow kernel the search falls into a mirrored minimum at every reversal of the
            motion, so the first should be the last frame's pose.
        map_: landmarks of the tracks.
        focal: pixels per unit of bearing.
        config: limits.
        horizon: further points that take part in the fit and in nothing else, see `evslam.tracking.horizon`.
    """
    landmark = map_.landmarks(frame.ids)
    rows = np.flatnonzero(landmark >= 0)
    if len(rows) < config.min_points:
        return None
    seen, guess = _sightings(frame.bearing[rows], map_, landmark[rows], starts[0], focal, config.crowd_px)
    wide = PoseSettings(focal, config.wide_scale_px, config.wide_iterations)
    narrow = PoseSettings(focal, config.scale_px, config.iterations)
    best: PoseFit | None = None
    number = len(rows)
    fitted = seen if horizon is None else seen.joined(horizon)
    for start in starts:
        fit = estimate_pose(start, fitted.points, fitted.bearing, fitted.normal, fitted.weight, wide)
        fit = estimate_pose(fit.T_cam_world, fitted.points, fitted.bearing, fitted.normal, fitted.weight, narrow)
        if best is None or fit.cost < best.cost:
            best = fit
        if (_error_px(best, number, guess) < config.inlier_px).mean() > config.sure_share:
            break
    assert best is not None
    error_px = _error_px(best, number, guess)
    inlier = error_px < config.inlier_px
    if inlier.sum() < config.min_points or inlier.mean() < config.min_share:
        return None
    common = (config.common_px / focal) ** 2 * np.diag([0.0, 0, 0, 1, 1, 1])
    return PointPose(best.T_cam_world, rows, error_px, int(inlier.sum()), best.covariance + common, seen)


def _sightings(
    bearing: np.ndarray, map_: SparseMap, landmark: np.ndarray, T_cam_world: np.ndarray, focal: float, crowd_px: float
) -> tuple[PointSightings, np.ndarray]:
    """Landmarks (N,) as they are seen from about a pose, and the rows (M,) of the guesses among them.

    Whatever the depth of a guess is, it lies on its epipolar line: it counts in full across that. Along it, in the last
    M rows, the spread leaves it little to say, and all guesses together count as one: what is wrong with them they have
    in common.
    """
    points, spread = map_.points[landmark], map_.spread[landmark]
    guess = np.flatnonzero(spread.any(1))
    near, far = (seen_from(T_cam_world, points[guess] + side * spread[guess])[0] for side in (-0.5, 0.5))
    line = focal * (far - near)  # pixels by one standard deviation
    length = np.linalg.norm(line, axis=1, keepdims=True)
    along = np.where(length > _LEAST_PX, line / np.maximum(length, _LEAST_PX), (1.0, 0.0))
    normal = np.zeros_like(bearing)
    normal[guess] = along[:, ::-1] * (-1, 1)
    weight = area_weight(focal * bearing, crowd_px)
    seen = PointSightings(points, bearing, normal, weight)
    along /= np.hypot(1, length / _NOISE_PX) * np.sqrt(max(len(guess), 1))
    return seen.joined(PointSightings(points[guess], bearing[guess], along, weight[guess])), guess


def _error_px(fit: PoseFit, number: int, guess: np.ndarray) -> np.ndarray:
    """(number,) of all points, of guesses across and along together."""
    error_px = fit.error_px[:number].copy()
    error_px[guess] = np.hypot(error_px[guess], fit.error_px[number : number + len(guess)])
    return error_px


def leaves_keyframe(
    frame: PointFrame, pose: PointPose, newest: Keyframe, num_seen: int, focal: float, config: KeyframeConfig
) -> bool:
    """Whether a frame should become a keyframe: after enough image motion, or when the view of the map has become thin.

    Args:
        frame: tracked points.
        pose: of the frame.
        newest: keyframe.
        num_seen: its tracks with a landmark, when it was made.
        focal: pixels per unit of bearing.
        config: limits.
    """
    row, seen = newest.rows_of(frame.ids)
    moved = focal * np.linalg.norm(frame.bearing[seen] - newest.bearing[row[seen]], axis=1)
    far = len(moved) < _MIN_COMMON or float(np.median(moved)) > config.motion_px
    return far or pose.num_inliers < config.min_share * num_seen
