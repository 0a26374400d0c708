"""The start of 6-DoF tracking: waits for parallax, tries hypotheses, accepts a start that leaves no doubt."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from evslam.multiview.bundle import centres
from evslam.multiview.observations import Observations
from evslam.multiview.pose import robust_rotation
from evslam.multiview.two_view import two_view_hypotheses
from evslam.settings_tracking import BootstrapConfig
from evslam.tracking.gyro import Gyro
from evslam.tracking.gyro_start import turned_hypotheses, turning_alike, turns_of
from evslam.tracking.start import Candidate, evenly, refine, rotation_cost
from evslam.types import PointFrame

_ROTATION_ITERATIONS = 8
_NO_RIVAL = 99.0
_NO_PARALLAX = "waiting for parallax: move sideways, turn less"


@dataclass(frozen=True)
class Diagnosis:
    """How sure a start is.

    Attributes:
        num_points: tracks in it.
        duration_s: from the first frame to the last.
        inlier_share: of the observations.
        rival_ratio: cost of the best other solution over its own.
        rotation_ratio: cost of turning only over its own.
        in_front_share: of the points.
        angle_deg: median angle between the rays of a point.
        sigma: standard deviation of the direction of motion, rad.
    """

    num_points: int
    duration_s: float
    inlier_share: float
    rival_ratio: float
    rotation_ratio: float
    in_front_share: float
    angle_deg: float
    sigma: float


@dataclass(frozen=True)
class Start:
    """Poses and points to begin tracking with. World frame: the first camera; scale: median depth 1.

    Attributes:
        frames: C frames in the order of time.
        T_cam_world: (C, 4, 4) float64, identity for the first.
        ids: (P,) int64 ascending, tracks of the points.
        points: (P, 3) float64.
        observations: (N) of the points by the frames.
        error_px: (N,) of each observation.
        angle: (P,) rad, largest angle between two rays of a point.
        good: (P,) bool, points to build a map on: in front of the cameras, near their rays, rays at enough of an angle.
        diagnosis: how sure it is.
    """

    frames: tuple[PointFrame, ...]
    T_cam_world: np.ndarray
    ids: np.ndarray
    points: np.ndarray
    observations: Observations
    error_px: np.ndarray
    angle: np.ndarray
    good: np.ndarray
    diagnosis: Diagnosis


class Bootstrap:
    """Looks for a start in the frames that it is fed.

    Args:
        config: limits.
        focal: pixels per unit of bearing.

    Attributes:
        num_attempts: times that hypotheses were tried.
        reason: why there is no start yet, in words for the user.
        parallax_deg: median angle by which points moved against a pure rotation since the reference frame.
    """

    def __init__(self, config: BootstrapConfig, focal: float) -> None:
        self.config, self.focal = config, focal
        self.frames: deque[PointFrame] = deque()
        self.references: deque[PointFrame] = deque()
        self.passed: list[Candidate] = []  # in the attempts just before
        self.last_try_us: int | None = None
        self.num_attempts, self.reason, self.parallax_deg = 0, "no frames yet", 0.0

    def add(self, frame: PointFrame, gyro: Gyro | None = None, *, in_need: bool = False) -> Start | None:
        """One more frame; a start as soon as one is sure.

        Args:
            frame: points of the moment, later than all before.
            gyro: tells the rotation between frames; None does without.
            in_need: a start of many tracks over a long stretch, which nothing speaks against, does without
                confirmation.
        """
        config = self.config
        self.remember(frame)
        if self.last_try_us is None:
            self.last_try_us = frame.t_us
        if frame.t_us - self.last_try_us < config.interval_s * 1e6:
            return None
        self.last_try_us = frame.t_us
        return self._try(frame, gyro, in_need=in_need)

    def remember(self, frame: PointFrame) -> None:
        """One more frame, without a try."""
        self.frames.append(frame)
        self._update_references(frame)

    def _update_references(self, frame: PointFrame) -> None:
        """Forget references that share too few tracks with the frame or are too old; take a new one at times."""
        config, references = self.config, self.references
        while references and (
            _num_common(references[0], frame) < max(config.min_common, config.min_common_share * len(references[0].ids))
            or frame.t_us - references[0].t_us > config.history_s * 1e6
        ):
            references.popleft()
        if not references or frame.t_us - references[-1].t_us >= config.reference_s * 1e6:
            references.append(frame)
        while self.frames[0].t_us < references[0].t_us:
            self.frames.popleft()

    def _try(self, frame: PointFrame, gyro: Gyro | None, *, in_need: bool) -> Start | None:
        config, reference = self.config, self.references[0]
        _, rows, now = np.intersect1d(reference.ids, frame.ids, assume_unique=True, return_indices=True)
        if len(rows) < config.min_common:
            return self._refuse(f"only {len(rows)} points are tracked: more texture or slower motion would help")
        before, after = reference.bearing[rows], frame.bearing[now]
        _, angle = robust_rotation(before, after, _ROTATION_ITERATIONS)
        self.parallax_deg = float(np.degrees(np.median(angle)))
        if np.radians(self.parallax_deg) * self.focal < config.min_parallax_px:
            return self._refuse(_NO_PARALLAX)
        if frame.t_us - reference.t_us < config.min_duration_s * 1e6:
            return self._refuse("waiting for a longer stretch of motion")
        self.num_attempts += 1
        t_us = np.array([each.t_us for each in self.frames])
        frames = evenly(list(self.frames), t_us, config.num_frames)
        hypotheses = [one.T_b_a for one in two_view_hypotheses(before, after, self.focal, config.max_hypotheses)]
        turn = None if gyro is None else gyro.turn(reference.t_us, frame.t_us)
        if turn is not None:
            hypotheses += turned_hypotheses(before, after, turn.T, self.focal)
        turns = None if gyro is None else turns_of(frames, gyro, self.focal)
        candidates = refine(frames, hypotheses, self.focal, config, turns)
        if gyro is not None:
            candidates = turning_alike(candidates, gyro)
        if not candidates:
            return self._refuse(_NO_PARALLAX)
        diagnosis = diagnose(candidates, self.focal, config)
        doubt = doubt_of(diagnosis, config)
        if doubt:
            return self._refuse(doubt)
        best = candidates[0]
        if _stands_alone(diagnosis, config, in_need=in_need) or any(
            self._confirms(best, earlier) for earlier in self.passed
        ):
            return _as_start(best, diagnosis, config)
        self.passed.append(best)
        self.reason = "a start waits for its confirmation: move on"
        return None

    def _confirms(self, later: Candidate, earlier: Candidate) -> bool:
        """Whether a candidate tells the same motion as an earlier one of the same reference did."""
        last, first = later.sightings.frames, earlier.sightings.frames
        if last[0].t_us != first[0].t_us or last[-1].t_us - first[-1].t_us < self.config.confirm_s * 1e6:
            return False
        times = np.array([frame.t_us for frame in first])
        return deviation(earlier.T_cam_world, times, later.T_cam_world, [frame.t_us for frame in last]) < np.radians(
            self.config.confirm_deg
        )

    def _refuse(self, reason: str) -> Start | None:
        """No start, and why; a candidate that passed before is forgotten."""
        self.passed.clear()
        self.reason = reason
        return None


def deviation(
    T_cam_world: np.ndarray, t_us: np.ndarray, others: np.ndarray, other_t_us: list[int] | np.ndarray
) -> float:
    """How far two paths of one camera part, whatever their scales, as a share of the first's extent.

    A start that is right agrees with one that was found over a longer baseline, or with the tracking that began with
    it; one that is wrong does not, because its error changes with the baseline.

    Args:
        T_cam_world: (C, 4, 4) at times t_us (C,).
        others: (D, 4, 4) at other_t_us (D,), which span the former; positions between are interpolated.
    """
    mine, other = centres(T_cam_world), centres(others)
    at = np.stack([np.interp(t_us, other_t_us, column) for column in other.T], 1)
    start = np.stack([np.interp(t_us[0], other_t_us, column) for column in other.T])
    turn = Rotation.from_matrix(others[:, :3, :3])
    first = Slerp(np.array(other_t_us, float), turn)(float(t_us[0])).as_matrix()
    at = (at - start) @ first.T
    mine = (mine - mine[0]) @ T_cam_world[0, :3, :3].T
    scale = max(float((mine * at).sum()), 0.0) / max(float((at * at).sum()), 1e-12)
    extent = max(float(np.linalg.norm(mine, axis=1).max()), 1e-12)
    return float(np.linalg.norm(mine - scale * at, axis=1).max()) / extent


def diagnose(candidates: list[Candidate], focal: float, config: BootstrapConfig) -> Diagnosis:
    """How sure the first of the candidates (sorted by cost) is."""
    best, frames = candidates[0], candidates[0].sightings.frames
    weight = best.sightings.observations.weight
    different = np.cos(np.radians(config.rival_deg))
    rivals = [one.cost for one in candidates[1:] if one.direction @ best.direction < different]
    return Diagnosis(
        num_points=len(best.points),
        duration_s=(frames[-1].t_us - frames[0].t_us) * 1e-6,
        inlier_share=float(weight @ (best.error_px < config.inlier_px) / weight.sum()),
        rival_ratio=rivals[0] / best.cost if rivals else _NO_RIVAL,
        rotation_ratio=rotation_cost(best.sightings, focal, config.scale_px) / best.cost,
        in_front_share=float(best.in_front.mean()),
        angle_deg=float(np.degrees(np.median(best.angle))),
        sigma=best.sigma,
    )


def doubt_of(diagnosis: Diagnosis, config: BootstrapConfig) -> str:
    """Why such a start should not be accepted, in words for the user; empty if it should."""
    checks = (
        (diagnosis.rotation_ratio > config.min_rotation_ratio, "the camera seems to turn only: move sideways"),
        (diagnosis.angle_deg > config.min_angle_deg, _NO_PARALLAX),
        (diagnosis.inlier_share > config.min_inlier_share, "the points do not move as one rigid scene"),
        (diagnosis.in_front_share > config.min_in_front_share, "too many points would lie behind the camera"),
        (diagnosis.rival_ratio > config.min_rival_ratio, "two motions explain the points: move on"),
        (diagnosis.sigma < config.max_sigma, "the direction of motion is not sure yet: move on"),
    )
    return next((words for passed, words in checks if not passed), "")


def _stands_alone(diagnosis: Diagnosis, config: BootstrapConfig, *, in_need: bool) -> bool:
    """Whether a start that passes needs no confirmation: it rests on many tracks (the few that a fast turn leaves may
    feign one), and is sure, or at least long where one is needed."""
    is_long = diagnosis.duration_s > config.sure_factor * config.min_duration_s
    has_many = diagnosis.num_points > config.sure_factor * config.min_common
    return has_many and (_is_sure(diagnosis, config) or (in_need and is_long))


def _is_sure(diagnosis: Diagnosis, config: BootstrapConfig) -> bool:
    """Whether a start is far from every other explanation."""
    return (
        diagnosis.rival_ratio > config.sure_factor * config.min_rival_ratio
        and diagnosis.rotation_ratio > config.sure_factor * config.min_rotation_ratio
    )


def _as_start(candidate: Candidate, diagnosis: Diagnosis, config: BootstrapConfig) -> Start:
    seen = candidate.sightings.observations
    far = np.bincount(seen.point, candidate.error_px > config.inlier_px, len(candidate.points))
    number = np.bincount(seen.point, minlength=len(candidate.points))
    good = candidate.in_front & (candidate.angle > np.radians(config.point_angle_deg)) & (far < 0.5 * number)
    depth = float(np.median(candidate.points[good, 2])) if good.any() else 1.0
    poses = candidate.T_cam_world.copy()
    poses[:, :3, 3] /= depth
    return Start(
        candidate.sightings.frames,
        poses,
        candidate.sightings.ids,
        candidate.points / depth,
        seen,
        candidate.error_px,
        candidate.angle,
        good,
        diagnosis,
    )


def _num_common(one: PointFrame, other: PointFrame) -> int:
    return len(np.intersect1d(one.ids, other.ids, assume_unique=True))
