"""Candidates for the relative pose of two views, from points that both see."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from evslam.multiview.observations import Observations, rays
from evslam.multiview.pose import robust_rotation
from evslam.multiview.triangulation import triangulate

_MAX_ROTATION_DEG = 60.0
_CONFIDENCE = 0.999
_ROUNDS = 8
_UNLIKE_DIRECTION_DEG, _UNLIKE_ROTATION_DEG = 8.0, 3.0
_MIN_IN_FRONT, _MAX_WORSE = 0.5, 0.4  # shares of the points


def relative_poses(before: np.ndarray, after: np.ndarray, focal: float, most: int) -> list[np.ndarray]:
    """Different T_second_first (4, 4) that may explain bearings (N, 2) in two views; the baseline has length one.

    Candidates come from the essential matrix (two robust estimators), from the homography (planes), and from the rotation
    that explains most with the direction that explains the rest (small baselines). Those with most points in front of both
    views come first; of similar ones the first is kept.

    Args:
        before, after: bearings of the same points in the first and second view.
        focal: pixels per unit of bearing.
        most: candidates to return.
    """
    candidates = [*_by_essential(before, after, focal), *_by_homography(before, after, focal)]
    candidates += _by_rotation(before, after, focal)
    poses = [_pose(rotation, direction) for rotation, direction in candidates]
    shares = [_share_in_front(pose, before, after) for pose in poses]
    chosen: list[np.ndarray] = []
    for index in sorted(range(len(poses)), key=lambda each: -shares[each]):
        good = shares[index] >= max(_MIN_IN_FRONT, max(shares) - _MAX_WORSE)
        if good and len(chosen) < most and all(_differs(poses[index], other) for other in chosen):
            chosen.append(poses[index])
    return chosen


def _by_essential(before: np.ndarray, after: np.ndarray, focal: float) -> list[tuple[np.ndarray, np.ndarray]]:
    found = []
    for method, limit_px in ((cv2.USAC_MAGSAC, 1.0), (cv2.RANSAC, 1.5)):
        try:
            stack, _ = cv2.findEssentialMat(before, after, np.eye(3), method, _CONFIDENCE, limit_px / focal, 500)
        except cv2.error:  # degenerate points
            continue
        for essential in [] if stack is None else stack.reshape(-1, 3, 3):
            first, second, direction = cv2.decomposeEssentialMat(essential)
            found += [(turn, sign * direction.ravel()) for turn in (first, second) for sign in (1, -1)]
    return [each for each in found if _is_moderate(each[0])]


def _by_homography(before: np.ndarray, after: np.ndarray, focal: float) -> list[tuple[np.ndarray, np.ndarray]]:
    homography, _ = cv2.findHomography(before, after, cv2.USAC_MAGSAC, 1.5 / focal)
    if homography is None:
        return []
    _, rotations, directions, _ = cv2.decomposeHomographyMat(homography, np.eye(3))
    pairs = zip(rotations, directions, strict=True)
    long = [(r, t.ravel() / np.linalg.norm(t)) for r, t in pairs if np.linalg.norm(t) > 1e-3 and _is_moderate(r)]
    return [(rotation, sign * direction) for rotation, direction in long for sign in (1, -1)]


def _by_rotation(before: np.ndarray, after: np.ndarray, focal: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """The robust rotation, and the direction across the planes that ray and turned ray span."""
    first, second = rays(before), rays(after)
    rotation, _ = robust_rotation(first, second, _ROUNDS)
    normal, weight = np.cross(second, first @ rotation.T), np.ones(len(first))
    direction = np.zeros(3)
    for _ in range(_ROUNDS):
        direction = np.linalg.eigh((normal * weight[:, None]).T @ normal)[1][:, 0]
        weight = 1 / (1 + (normal @ direction * focal) ** 2)
    return [(rotation, direction), (rotation, -direction)]


def _pose(rotation: np.ndarray, direction: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, direction
    return pose


def _share_in_front(pose: np.ndarray, before: np.ndarray, after: np.ndarray) -> float:
    number = len(before)
    view, point = np.repeat([0, 1], number), np.tile(np.arange(number), 2)
    seen = Observations.of_points(view, point, np.concatenate([before, after]))
    return float(triangulate(np.stack([np.eye(4), pose]), seen, number).in_front.mean())


def _is_moderate(rotation: np.ndarray) -> bool:
    return bool(np.degrees(Rotation.from_matrix(rotation).magnitude()) < _MAX_ROTATION_DEG)


def _differs(first: np.ndarray, second: np.ndarray) -> bool:
    direction = np.degrees(np.arccos(np.clip(first[:3, 3] @ second[:3, 3], -1, 1)))
    turn = np.degrees(Rotation.from_matrix(first[:3, :3].T @ second[:3, :3]).magnitude())
    return bool(direction > _UNLIKE_DIRECTION_DEG or turn > _UNLIKE_ROTATION_DEG)
