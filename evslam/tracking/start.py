"""Structure and motion of a few frames from one hypothesis of the relative pose of the first and the last."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.multiview.bundle import BundleProblem, BundleSettings, adjust, reduced_hessian
from evslam.multiview.crowding import area_weight
from evslam.multiview.observations import Observations
from evslam.multiview.pose import PoseSettings, estimate_pose, robust_rotation
from evslam.multiview.triangulation import triangulate
from evslam.settings_tracking import BootstrapConfig
from evslam.tracking.horizon import Turns, with_horizon
from evslam.types import PointFrame

_MAX_ERROR_PX = 50.0
_CROWD = 3  # points within the crowd radius that keep full weight
_POSE_SCALE_PX, _POSE_ITERATIONS = 3.0, 10
_TWO_VIEW_ITERATIONS, _ITERATIONS = 8, 12
_TOLERANCE = 1e-4
_MIN_POINTS = 12
_MIN_ANGLE_DEG = 0.5  # of points that serve to start from
_FAR = 60.0  # baselines: where a point goes that its rays put behind a camera
_ROTATION_ITERATIONS = 8
_MIN_FOR_POSE = 8
_NEARLY = 0.7  # of the angle that a start needs: with less over two views it is not worth refining
_SAME_DIRECTION, _SAME_ROTATION = np.radians(3.0), np.radians(0.5)


@dataclass(frozen=True)
class Sightings:
    """Tracks seen in several frames.

    Attributes:
        frames: in the order of time.
        ids: (P,) int64 ascending, the tracks.
        observations: of these tracks by the frames.
        turns: of the frames, where a gyroscope tells them.
    """

    frames: tuple[PointFrame, ...]
    ids: np.ndarray
    observations: Observations
    turns: Turns | None = None

    @staticmethod
    def of(frames: list[PointFrame], min_views: int, crowd_radius: float) -> Sightings:
        """All tracks seen in at least so many frames; where more than three crowd within the radius, they share weight.

        Args:
            crowd_radius: in units of bearing; 0 gives all the same weight.
        """
        ids = np.concatenate([frame.ids for frame in frames])
        view = np.repeat(np.arange(len(frames)), [len(frame.ids) for frame in frames])
        unique, point, count = np.unique(ids, return_inverse=True, return_counts=True)
        number = np.cumsum(count >= min_views) - 1
        keep = count[point] >= min_views
        bearing = np.concatenate([frame.bearing for frame in frames])[keep]
        view, point = view[keep], number[point[keep]]
        observations = Observations.of_points(view, point, bearing)
        weight = np.concatenate([area_weight(bearing[view == k], crowd_radius) for k in range(len(frames))])
        order = np.argsort(point, kind="stable")
        return Sightings(tuple(frames), unique[count >= min_views], replace(observations, weight=weight[order]))


def evenly(frames: list[PointFrame], position: np.ndarray, number: int) -> list[PointFrame]:
    """At most so many of the frames, evenly spread, first and last among them.

    Args:
        position: (N,) ascending, of each frame: its time, or its number.
    """
    wanted = np.linspace(position[0], position[-1], number)
    return [frames[row] for row in np.unique(np.abs(position[:, None] - wanted).argmin(0))]


@dataclass(frozen=True)
class Pair:
    """A hypothesis after bundle adjustment over its two views.

    Attributes:
        ids: (M,) int64 ascending, tracks with depth.
        T_last_first: (4, 4).
        points: (M, 3) in the frame of the first camera.
        angle: rad, median angle between the two rays of all tracks.
    """

    ids: np.ndarray
    T_last_first: np.ndarray
    points: np.ndarray
    angle: float


@dataclass(frozen=True)
class Candidate:
    """A refined hypothesis; its scale is that the first and the last frame are 1 apart.

    Attributes:
        sightings: frames and tracks (P) with their observations (N).
        T_cam_world: (C, 4, 4) of the frames, identity for the first.
        points: (P, 3) in the frame of the first camera.
        error_px: (N,) of each observation.
        angle: (P,) rad, largest angle between two rays.
        in_front: (P,) bool.
        cost: robust, mean over the weights of the observations, px^2.
        sigma: rad, standard deviation of the direction of the last translation.
    """

    sightings: Sightings
    T_cam_world: np.ndarray
    points: np.ndarray
    error_px: np.ndarray
    angle: np.ndarray
    in_front: np.ndarray
    cost: float
    sigma: float

    @property
    def direction(self) -> np.ndarray:
        """(3,) unit vector from the first camera to the last, in the frame of the first."""
        return np.asarray(-self.T_cam_world[-1, :3, :3].T @ self.T_cam_world[-1, :3, 3])


def refine(
    frames: list[PointFrame],
    hypotheses: list[np.ndarray],
    focal: float,
    config: BootstrapConfig,
    turns: Turns | None = None,
) -> list[Candidate]:
    """Poses of all frames and all their tracks that explain them best, for hypotheses of the pose of the last frame.

    Args:
        frames: C >= 2, in the order of time.
        hypotheses: (4, 4) each, takes points of the first camera to the last.
        focal: pixels per unit of bearing.
        config: limits.
        turns: of the frames, as a gyroscope tells them.

    Returns:
        Candidates, the one with the least cost first. None for hypotheses that meet in the same solution of the two
        views, or that give too few points depth or too small an angle; if all do, there is none.
    """
    ends = Sightings.of([frames[0], frames[-1]], 2, config.crowd_px / focal)
    ends = replace(ends, turns=None if turns is None else turns.ends())
    pairs: list[Pair] = []
    for hypothesis in hypotheses:
        pair = _adjust_pair(ends, hypothesis, focal, config.scale_px)
        if pair is not None and not any(_alike(pair, other) for other in pairs):
            pairs.append(pair)
    if max((pair.angle for pair in pairs), default=0.0) < _NEARLY * np.radians(config.min_angle_deg):
        return []
    sightings = Sightings.of(frames, min(config.min_views, len(frames)), config.crowd_px / focal)
    sightings = replace(sightings, turns=turns)
    poses = [_between(frames, pair, focal) for pair in pairs]
    return sorted((adjust_all(sightings, each, focal, config.scale_px) for each in poses), key=lambda one: one.cost)


def _between(frames: list[PointFrame], pair: Pair, focal: float) -> np.ndarray:
    """Poses (C, 4, 4) of all frames from the points of the first and the last."""
    poses = _interpolate(pair.T_last_first, [frame.t_us for frame in frames])
    settings = PoseSettings(focal, _POSE_SCALE_PX, _POSE_ITERATIONS)
    for k in range(1, len(frames) - 1):
        _, here, there = np.intersect1d(pair.ids, frames[k].ids, assume_unique=True, return_indices=True)
        if len(here) >= _MIN_FOR_POSE:
            points, bearing = pair.points[here], frames[k].bearing[there]
            poses[k] = estimate_pose(poses[k], points, bearing, None, np.ones(len(here)), settings).T_cam_world
    return poses


def adjust_all(sightings: Sightings, T_cam_world: np.ndarray, focal: float, scale_px: float) -> Candidate:
    """Bundle adjustment of all frames (the first stays) and tracks, from poses (C, 4, 4)."""
    seen, poses, number = sightings.observations, T_cam_world, len(sightings.ids)
    free = np.arange(len(poses)) > 0
    for _ in range(2):  # points that start behind a camera get a second chance
        points = _points_in_front(poses, seen, number)
        problem = with_horizon(BundleProblem(poses, free, points, seen, focal), sightings.turns)
        result = adjust(problem, BundleSettings(scale_px, _ITERATIONS, _TOLERANCE))
        poses, points = _unit_baseline(result.T_cam_world, result.points[:number])
    problem = with_horizon(BundleProblem(poses, free, points, seen, focal), sightings.turns)
    result = adjust(problem, BundleSettings(scale_px, 0, _TOLERANCE))
    result = replace(result, error_px=result.error_px[: len(seen.view)])
    rays = triangulate(poses, seen, len(points))
    depth = np.einsum("ij,ij->i", poses[seen.view, 2, :3], points[seen.point]) + poses[seen.view, 2, 3]
    in_front = rays.in_front.copy()
    in_front[seen.point[depth <= 0]] = False
    cost = result.cost / float(seen.weight.sum())
    sigma = _direction_sigma(reduced_hessian(problem, scale_px), result.error_px, poses[-1, :3, 3])
    return Candidate(sightings, poses, points, result.error_px, rays.angle, in_front, cost, sigma)


def rotation_cost(sightings: Sightings, focal: float, scale_px: float) -> float:
    """Robust cost, as that of a `Candidate`, if the camera had turned only: rotations from the first frame to each."""
    seen = sightings.observations
    first = seen.view == 0
    place = np.full(len(sightings.ids), -1)
    place[seen.point[first]] = np.flatnonzero(first)
    total, weight = 0.0, 0.0
    for k in range(1, len(sightings.frames)):
        there = np.flatnonzero((seen.view == k) & (place[seen.point] >= 0))
        here = place[seen.point[there]]
        if len(there) < _MIN_POINTS:
            continue
        rotation, _ = robust_rotation(seen.bearing[here], seen.bearing[there], _ROTATION_ITERATIONS)
        ray = np.column_stack([seen.bearing[here], np.ones(len(here))]) @ rotation.T
        error = focal * np.linalg.norm(ray[:, :2] / ray[:, 2:] - seen.bearing[there], axis=1)
        square = (np.minimum(error, _MAX_ERROR_PX) / scale_px) ** 2
        total += 0.5 * scale_px**2 * float(seen.weight[there] @ np.log1p(square))
        weight += float(seen.weight[there].sum())
    return total / max(weight, 1e-12)


def _adjust_pair(ends: Sightings, T_last_first: np.ndarray, focal: float, scale_px: float) -> Pair | None:
    """Bundle adjustment over the two views of the tracks that have depth under the hypothesis."""
    poses = np.stack([np.eye(4), T_last_first])
    rays = triangulate(poses, ends.observations, len(ends.ids))
    good = rays.in_front & (rays.angle > np.radians(_MIN_ANGLE_DEG))
    if good.sum() < _MIN_POINTS:
        return None
    problem = BundleProblem(poses, np.array([False, True]), rays.points[good], subset(ends.observations, good), focal)
    result = adjust(with_horizon(problem, ends.turns), BundleSettings(scale_px, _TWO_VIEW_ITERATIONS, _TOLERANCE))
    angle = triangulate(result.T_cam_world, ends.observations, len(ends.ids)).angle
    return Pair(ends.ids[good], result.T_cam_world[1], result.points[: good.sum()], float(np.median(angle)))


def _alike(one: Pair, other: Pair) -> bool:
    """Whether two hypotheses have become the same solution."""
    direction, rival = (each.T_last_first[:3, 3] / np.linalg.norm(each.T_last_first[:3, 3]) for each in (one, other))
    turn = Rotation.from_matrix(one.T_last_first[:3, :3].T @ other.T_last_first[:3, :3]).magnitude()
    return bool(direction @ rival > np.cos(_SAME_DIRECTION)) and bool(turn < _SAME_ROTATION)


def subset(observations: Observations, points: np.ndarray) -> Observations:
    """Observations of some points (P,) bool, which are numbered anew."""
    keep = points[observations.point]
    number = np.cumsum(points) - 1
    return Observations(
        observations.view[keep],
        number[observations.point[keep]],
        observations.bearing[keep],
        observations.normal[keep],
        observations.weight[keep],
    )


def _interpolate(T_last_first: np.ndarray, t_us: list[int]) -> np.ndarray:
    """Poses (C, 4, 4) at these times under a steady motion from identity at the first to the last."""
    share = (np.array(t_us) - t_us[0]) / (t_us[-1] - t_us[0])
    poses = np.tile(np.eye(4), (len(t_us), 1, 1))
    vector = Rotation.from_matrix(T_last_first[:3, :3]).as_rotvec()
    poses[:, :3, :3] = Rotation.from_rotvec(share[:, None] * vector).as_matrix()
    poses[:, :3, 3] = share[:, None] * T_last_first[:3, 3]
    return poses


def _points_in_front(poses: np.ndarray, seen: Observations, num_points: int) -> np.ndarray:
    """Triangulated points (P, 3); those that would lie behind a camera stand far away on their first ray instead."""
    rays = triangulate(poses, seen, num_points)
    points = rays.points
    first = np.searchsorted(seen.point, np.arange(num_points))[~rays.in_front]
    pose = poses[seen.view[first]]
    distance = _FAR * np.linalg.norm(poses[-1, :3, 3])
    ray = distance * np.column_stack([seen.bearing[first], np.ones(len(first))]) - pose[:, :3, 3]
    points[~rays.in_front] = np.einsum("nji,nj->ni", pose[:, :3, :3], ray)
    return points


def _unit_baseline(poses: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same scene (first pose identity), scaled so that the last camera is at distance 1."""
    length = max(float(np.linalg.norm(poses[-1, :3, 3])), 1e-9)
    poses = poses.copy()
    poses[:, :3, 3] /= length
    return poses, points / length


def _direction_sigma(hessian: np.ndarray, error_px: np.ndarray, translation: np.ndarray) -> float:
    """Standard deviation (rad) of the direction of the last translation (unit length), scale held; changes the Hessian
    of the poses."""
    size = len(hessian)
    hessian[-3:, -3:] += np.outer(translation, translation) * np.trace(hessian) / size * 1e2
    try:
        covariance = np.linalg.inv(hessian)[-3:, -3:]
    except np.linalg.LinAlgError:
        return np.inf
    error = max(0.5, 1.48 * float(np.median(error_px)))
    return float(error * np.sqrt(max(np.linalg.eigvalsh(covariance)[-1], 0.0)))
