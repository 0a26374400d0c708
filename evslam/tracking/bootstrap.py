"""The start of 6-DoF SLAM: poses and points from nothing but tracked points."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.multiview.bundle import BundleProblem, BundleResult, BundleSettings, adjust, centres
from evslam.multiview.observations import Observations
from evslam.multiview.pose import PoseSettings, estimate_pose, robust_rotation
from evslam.multiview.sparse_map import rows_of
from evslam.multiview.triangulation import triangulate
from evslam.multiview.two_view import relative_poses
from evslam.settings import BootstrapConfig
from evslam.types import PointFrame

_FAR = 60.0  # baselines, where a point goes whose rays do not meet


@dataclass(frozen=True)
class Start:
    """A solution of the first frames; the first camera is the world, the baseline from first to last is one.

    Attributes:
        frames: the frames used, in the order of time.
        T_cam_world: (C, 4, 4) float64 their poses.
        ids: (P,) int64, tracks, ascending; points: (P, 3) float64, their places.
        observations: of the points by the frames.
        error_px: (N,) of each observation.
        good: (P,) bool, the point lies in front of all and is seen under some angle.
        cost: robust, per observation.
        inliers: share of observations within two pixels.
        angle_deg: median angle between the outer rays of a point.
        sigma: standard deviation of the direction of the baseline, rad.
    """

    frames: list[PointFrame]
    T_cam_world: np.ndarray
    ids: np.ndarray
    points: np.ndarray
    observations: Observations
    error_px: np.ndarray
    good: np.ndarray
    cost: float
    inliers: float
    angle_deg: float
    sigma: float


class Bootstrap:
    """Waits for enough parallax, then looks for the one solution that explains the tracks.

    Args:
        config: limits.
        focal: pixels per unit of bearing.

    Attributes:
        attempts: how often solutions were compared.
        reason: in words, why there is no start yet.
    """

    def __init__(self, config: BootstrapConfig, focal: float) -> None:
        self.config, self.focal = config, focal
        self.history: deque[PointFrame] = deque()
        self.references: deque[int] = deque()  # times of frames that a start may begin with
        self.attempts, self.reason = 0, "no frame yet"
        self._next_us = 0

    def add(self, frame: PointFrame) -> Start | None:
        """One more frame; returns the start once it is sure."""
        config = self.config
        self.history.append(frame)
        while self.history[0].t_us < frame.t_us - 1e6 * config.max_history_s:
            self.history.popleft()
        if frame.t_us < self._next_us or len(frame.ids) < config.min_tracks:
            return None
        self._next_us = frame.t_us + round(1e6 * config.interval_s)
        reference = self._reference(frame)
        if frame.t_us - reference.t_us < 1e6 * config.min_duration_s:
            return None
        return self._attempt(reference, frame)

    def _reference(self, frame: PointFrame) -> PointFrame:
        """The oldest frame that still shares enough tracks."""
        config, known = self.config, {each.t_us: each for each in self.history}
        for t_us in list(self.references):
            old = known.get(t_us)
            common = 0 if old is None else int(rows_of(old.ids, frame.ids)[1].sum())
            if old is None or common < max(config.min_tracks, config.min_common * len(old.ids)):
                self.references.remove(t_us)
        if not self.references or frame.t_us - self.references[-1] >= 1e6 * config.reference_s:
            self.references.append(frame.t_us)
        return known[self.references[0]]

    def _attempt(self, first: PointFrame, last: PointFrame) -> Start | None:
        config = self.config
        row, both = rows_of(first.ids, last.ids)
        before, after = first.bearing[row[both]], last.bearing[both]
        rotation, angle = robust_rotation(before, after, 8)
        if np.median(angle) * self.focal < config.min_parallax_px:
            self.reason = (
                f"parallax {np.median(angle) * self.focal:.1f} px, needed {config.min_parallax_px:g}: move sideways"
            )
            return None
        self.attempts += 1
        frames = self._spread(first, last)
        solutions = [
            self._refine(frames, pose) for pose in relative_poses(before, after, self.focal, config.hypotheses)
        ]
        found = sorted((each for each in solutions if each is not None), key=lambda each: each.cost)
        if not found:
            self.reason = "no pose explains the points"
            return None
        self.reason = self._doubt(found)
        return None if self.reason else found[0]

    def _spread(self, first: PointFrame, last: PointFrame) -> list[PointFrame]:
        """Frames from first to last, evenly."""
        between = [each for each in self.history if first.t_us <= each.t_us <= last.t_us]
        index = np.unique(np.rint(np.linspace(0, len(between) - 1, self.config.num_frames)).astype(int))
        return [between[i] for i in index]

    def _doubt(self, found: list[Start]) -> str:
        """What speaks against the best of some solutions; empty if nothing does."""
        config, best = self.config, found[0]
        direction = centres(best.T_cam_world)[-1]
        unlike = [
            each for each in found[1:] if _angle_deg(centres(each.T_cam_world)[-1], direction) > config.unlike_deg
        ]
        ratio = unlike[0].cost / best.cost if unlike else np.inf
        turned = self._rotation_cost(best.frames) / best.cost
        checks = (
            (best.inliers > config.min_inliers, f"only {100 * best.inliers:.0f} % of the points fit"),
            (ratio > config.min_ratio, f"another motion explains the points nearly as well ({ratio:.2f} of the cost)"),
            (turned > config.min_rotation_ratio, f"a rotation explains the points nearly as well ({turned:.1f})"),
            (float(best.good.mean()) > config.min_in_front, f"{100 * best.good.mean():.0f} % of the points in front"),
            (best.angle_deg > config.min_angle_deg, f"triangulation angle {best.angle_deg:.1f} deg: move sideways"),
            (best.sigma < config.max_sigma, f"direction uncertain by {best.sigma:.2f} rad"),
        )
        return next((reason for passed, reason in checks if not passed), "")

    def _rotation_cost(self, frames: list[PointFrame]) -> float:
        """Robust cost per observation if the camera had only turned."""
        errors = []
        for frame in frames[1:]:
            row, both = rows_of(frames[0].ids, frame.ids)
            before, after = frames[0].bearing[row[both]], frame.bearing[both]
            if len(before) >= 12:
                errors.append(np.minimum(robust_rotation(before, after, 8)[1] * self.focal, 50.0))
        error, square = np.concatenate(errors), self.config.scale_px**2
        return float(np.mean(0.5 * square * np.log1p(error**2 / square)))

    def _refine(self, frames: list[PointFrame], T_last_first: np.ndarray) -> Start | None:
        """A candidate pose of the last frame, adjusted over all of them."""
        count = len(frames)
        ends, _, _ = _gather([frames[0], frames[-1]], 2)
        poses = np.stack([np.eye(4), T_last_first])
        found = triangulate(poses, ends, ends.point[-1] + 1)
        good = found.in_front & (found.angle > np.radians(0.5))
        if good.sum() < 12:
            return None
        pair = self._adjust(poses, found.points[good], _only(ends, good), 8)
        poses = self._between(frames, pair, np.flatnonzero(good))
        seen, ids, _ = _gather(frames, min(4, count))
        result: BundleResult | None = None
        for iterations in (12, 10):
            found = triangulate(poses, seen, len(ids))
            points = _far_instead(poses, seen, found.points, found.in_front)
            result = self._adjust(poses, points, seen, iterations)
            poses = result.T_cam_world
            length = np.linalg.norm(centres(poses)[-1])
            if length < 1e-9:
                return None
            poses[:, :3, 3] /= length
        assert result is not None
        return self._solution(frames, ids, seen, poses, result.points / length)

    def _between(self, frames: list[PointFrame], pair: BundleResult, kept: np.ndarray) -> np.ndarray:
        """Poses of the frames between the adjusted first and last, by the points of these two."""
        last, count = pair.T_cam_world[1], len(frames)
        both = rows_of(frames[0].ids, frames[-1].ids)
        ids = frames[-1].ids[both[1]][kept]
        turn = Rotation.from_matrix(last[:3, :3]).as_rotvec()
        poses = np.tile(np.eye(4), (count, 1, 1))
        for i in range(1, count):
            share = i / (count - 1)
            poses[i, :3, :3], poses[i, :3, 3] = Rotation.from_rotvec(share * turn).as_matrix(), share * last[:3, 3]
            row, seen = rows_of(frames[i].ids, ids)
            if 0 < i < count - 1 and seen.sum() >= 8:
                points, bearing = pair.points[seen], frames[i].bearing[row[seen]]
                settings = PoseSettings(self.focal, 3.0, 10)
                poses[i] = estimate_pose(poses[i], points, bearing, None, np.ones(len(points)), settings).T_cam_world
        poses[-1] = last
        return poses

    def _adjust(self, poses: np.ndarray, points: np.ndarray, seen: Observations, iterations: int) -> BundleResult:
        free = np.arange(len(poses)) > 0
        settings = BundleSettings(self.config.scale_px, iterations, 1e-5)
        return adjust(BundleProblem(poses, free, points, seen, self.focal), settings)

    def _solution(
        self, frames: list[PointFrame], ids: np.ndarray, seen: Observations, poses: np.ndarray, points: np.ndarray
    ) -> Start:
        result = self._adjust(poses, points, seen, 1)
        found = triangulate(poses, seen, len(ids))
        error = result.error_px
        return Start(
            frames,
            poses,
            ids,
            points,
            seen,
            error,
            found.in_front & (found.angle > np.radians(self.config.min_point_angle_deg)),
            result.cost / len(error),
            float((error < 2).mean()),
            float(np.degrees(np.median(found.angle))),
            _direction_sigma(result.reduced_hessian, poses[-1], float(np.median(error))),
        )


def _gather(frames: list[PointFrame], min_views: int) -> tuple[Observations, np.ndarray, np.ndarray]:
    """Observations of the tracks (P,) that at least so many frames see, their ids, and how often each is seen."""
    ids, count = np.unique(np.concatenate([frame.ids for frame in frames]), return_counts=True)
    ids, count = ids[count >= min_views], count[count >= min_views]
    views, points, bearings = [], [], []
    for number, frame in enumerate(frames):
        row, seen = rows_of(frame.ids, ids)
        views.append(np.full(int(seen.sum()), number))
        points.append(np.flatnonzero(seen))
        bearings.append(frame.bearing[row[seen]])
    return Observations.of_points(np.concatenate(views), np.concatenate(points), np.concatenate(bearings)), ids, count


def _only(seen: Observations, kept: np.ndarray) -> Observations:
    """The observations of some points (P,) bool, renumbered."""
    number, rows = np.cumsum(kept) - 1, kept[seen.point]
    return Observations.of_points(seen.view[rows], number[seen.point[rows]], seen.bearing[rows])


def _far_instead(poses: np.ndarray, seen: Observations, points: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Points whose rays do not meet are put far away along the first ray, so that they count in the cost."""
    points = points.copy()
    for p in np.flatnonzero(~good):
        first = int(np.searchsorted(seen.point, p))
        pose = poses[seen.view[first]]
        points[p] = pose[:3, :3].T @ (_FAR * np.append(seen.bearing[first], 1.0) - pose[:3, 3])
    return points


def _direction_sigma(reduced_hessian: np.ndarray, last: np.ndarray, median_px: float) -> float:
    """Standard deviation of the direction of the last translation, with its length held; rad."""
    direction = last[:3, 3] / np.linalg.norm(last[:3, 3])
    hessian, size = reduced_hessian.copy(), len(reduced_hessian)
    place = slice(size - 3, size)
    hessian[place, place] += 100 * np.trace(hessian) / size * np.outer(direction, direction)
    try:
        covariance = np.linalg.inv(hessian)[place, place]
    except np.linalg.LinAlgError:
        return np.inf
    noise = max(0.5, 1.48 * median_px)
    return float(noise * np.sqrt(max(np.linalg.eigvalsh(covariance)[-1], 0)) / np.linalg.norm(last[:3, 3]))


def _angle_deg(first: np.ndarray, second: np.ndarray) -> float:
    cosine = first @ second / max(np.linalg.norm(first) * np.linalg.norm(second), 1e-12)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
