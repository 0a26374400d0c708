"""Relative pose of two views from bearings: several hypotheses, because one short baseline rarely decides."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from evslam.multiview.observations import Observations
from evslam.multiview.pose import robust_rotation
from evslam.multiview.triangulation import triangulate

MIN_COMMON = 8
_CONFIDENCE, _MAX_SAMPLES = 0.999, 500
_ROBUST_ITERATIONS = 8
_TRUST_PX = 4.0  # motion that tells a direction well
_MAX_ROTATION_DEG = 60.0  # between views that share tracks
_MIN_HOMOGRAPHY_BASELINE = 1e-3  # of the plane's distance
_SAME_DIRECTION_DEG, _SAME_ROTATION_DEG = 8.0, 3.0
_MIN_IN_FRONT, _BEHIND_BEST = 0.5, 0.4  # shares of the points


@dataclass(frozen=True)
class TwoView:
    """A hypothesis.

    Attributes:
        T_b_a: (4, 4), takes points of view a to view b; the translation has length 1.
        source: "essential", "homography" or "rotation".
        in_front: share of the points that lie in front of both views.
    """

    T_b_a: np.ndarray
    source: str
    in_front: float


def two_view_hypotheses(
    bearing_a: np.ndarray, bearing_b: np.ndarray, focal: float, max_hypotheses: int
) -> list[TwoView]:
    """Relative poses that may explain the bearings, those with the most points in front of both views first.

    They come from the essential matrix by two robust estimators, from the homography of a plane, and from a robust
    rotation with the translation that fits best then; all decompositions and signs of each.

    Args:
        bearing_a, bearing_b: (N, 2) undistorted (X / Z, Y / Z) of the same points.
        focal: pixels per unit of bearing.
        max_hypotheses: at most so many, all different.

    Returns:
        Hypotheses; none for fewer than 8 points.
    """
    if len(bearing_a) < MIN_COMMON:
        return []
    a, b = np.ascontiguousarray(bearing_a, float), np.ascontiguousarray(bearing_b, float)
    found = [
        ("essential", _essential(a, b, cv2.USAC_MAGSAC, 1.0 / focal)),
        ("essential", _essential(a, b, cv2.RANSAC, 1.5 / focal)),
        ("homography", _homography(a, b, 1.5 / focal)),
        ("rotation", _rotation_and_direction(a, b, focal)),
    ]
    scored = []
    for source, poses in found:
        for pose in poses:
            for sign in (1.0, -1.0):
                T_b_a = pose.copy()
                T_b_a[:3, 3] *= sign / np.linalg.norm(pose[:3, 3])
                scored.append(TwoView(T_b_a, source, _share_in_front(T_b_a, a, b)))
    return _diverse(sorted(scored, key=lambda one: -one.in_front), max_hypotheses)


def linear_direction(rotation: np.ndarray, bearing_a: np.ndarray, bearing_b: np.ndarray, focal: float) -> np.ndarray:
    """Direction (3,) of the translation, up to sign, that fits best given the rotation R_b_a; outliers lose weight."""
    a, b = _homogeneous(bearing_a), _homogeneous(bearing_b)
    normal = np.cross(
        b / np.linalg.norm(b, axis=1, keepdims=True), (a / np.linalg.norm(a, axis=1)[:, None]) @ rotation.T
    )
    weight, direction = 1 / ((normal**2).sum(1) + (_TRUST_PX / focal) ** 2), np.zeros(3)
    for _ in range(_ROBUST_ITERATIONS):
        _, vectors = np.linalg.eigh((normal * weight[:, None]).T @ normal)
        direction = vectors[:, 0]
        error = focal * np.abs(normal @ direction)
        weight = 1 / (1 + (error / max(1.0, float(np.median(error)))) ** 2)
    return direction


def rotation_angle_deg(rotation: np.ndarray) -> float:
    """Angle of a rotation matrix (3, 3)."""
    return float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1.0, 1.0))))


def _essential(a: np.ndarray, b: np.ndarray, method: int, threshold: float) -> list[np.ndarray]:
    try:
        matrices, _ = cv2.findEssentialMat(a, b, np.eye(3), method, _CONFIDENCE, threshold, _MAX_SAMPLES)
    except cv2.error:  # degenerate samples
        return []
    poses = []
    for k in range(0 if matrices is None else len(matrices) // 3):
        first, second, direction = cv2.decomposeEssentialMat(matrices[3 * k : 3 * k + 3])
        poses += [_pose(rotation, direction) for rotation in (first, second)]
    return [pose for pose in poses if rotation_angle_deg(pose[:3, :3]) < _MAX_ROTATION_DEG]


def _homography(a: np.ndarray, b: np.ndarray, threshold: float) -> list[np.ndarray]:
    matrix, _ = cv2.findHomography(a, b, cv2.RANSAC, threshold, None, _MAX_SAMPLES, _CONFIDENCE)
    if matrix is None:
        return []
    _, rotations, translations, _ = cv2.decomposeHomographyMat(matrix, np.eye(3))
    return [
        _pose(rotation, translation)
        for rotation, translation in zip(rotations, translations, strict=True)
        if np.linalg.norm(translation) > _MIN_HOMOGRAPHY_BASELINE and rotation_angle_deg(rotation) < _MAX_ROTATION_DEG
    ]


def _rotation_and_direction(a: np.ndarray, b: np.ndarray, focal: float) -> list[np.ndarray]:
    rotation, _ = robust_rotation(a, b, _ROBUST_ITERATIONS)
    return [_pose(rotation, linear_direction(rotation, a, b, focal))]


def _pose(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, np.ravel(translation)
    return pose


def _homogeneous(bearing: np.ndarray) -> np.ndarray:
    return np.column_stack([bearing, np.ones(len(bearing))])


def _share_in_front(T_b_a: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    number = np.arange(len(a))
    seen = Observations.of_points(np.repeat([0, 1], len(a)), np.tile(number, 2), np.concatenate([a, b]))
    return float(triangulate(np.stack([np.eye(4), T_b_a]), seen, len(a)).in_front.mean())


def _diverse(scored: list[TwoView], max_hypotheses: int) -> list[TwoView]:
    """The best of each group of hypotheses that are nearly the same, without those far worse than the best."""
    kept: list[TwoView] = []
    for one in scored:
        if one.in_front < max(_MIN_IN_FRONT, scored[0].in_front - _BEHIND_BEST) or len(kept) == max_hypotheses:
            break
        if not any(_alike(one.T_b_a, other.T_b_a) for other in kept):
            kept.append(one)
    return kept


def _alike(T_b_a: np.ndarray, other: np.ndarray) -> bool:
    near = T_b_a[:3, 3] @ other[:3, 3] > np.cos(np.radians(_SAME_DIRECTION_DEG))
    return bool(near) and rotation_angle_deg(T_b_a[:3, :3].T @ other[:3, :3]) < _SAME_ROTATION_DEG
