"""Pose of one view from known points; rotation between two views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.multiview.bundle_kernels import fit_pose

_FLOOR = 1e-3  # rad, of the robust scale


@dataclass(frozen=True)
class PoseSettings:
    """Limits of a pose fit.

    Attributes:
        focal: pixels per unit of bearing.
        scale_px: Cauchy scale of the robust cost.
        iterations: most Levenberg-Marquardt steps.
    """

    focal: float
    scale_px: float
    iterations: int


@dataclass(frozen=True)
class PoseFit:
    """A fitted pose.

    Attributes:
        T_cam_world: (4, 4) float64.
        error_px: (N,) distance of each point; across the edge for points on edges.
        cost: robust.
        hessian: (6, 6) of the cost over twists (v, omega) on the left, px^2.
    """

    T_cam_world: np.ndarray
    error_px: np.ndarray
    cost: float
    hessian: np.ndarray


def estimate_pose(
    T_cam_world: np.ndarray,
    points: np.ndarray,
    bearing: np.ndarray,
    normal: np.ndarray | None,
    weight: np.ndarray,
    settings: PoseSettings,
) -> PoseFit:
    """Robust least squares from a start.

    Args:
        T_cam_world: (4, 4) start.
        points: (N, 3) world.
        bearing: (N, 2) where they are seen.
        normal: (N, 2) across the edge for points on edges, zero for others; None for none.
        weight: (N,) of the squared errors.
        settings: robust scale and limits.
    """
    normal = np.zeros_like(bearing) if normal is None else normal
    error = np.zeros(len(points))
    limits = settings.focal, settings.scale_px, settings.iterations
    pose, cost, hessian = fit_pose(T_cam_world, points, bearing, normal, weight, *limits, error)
    return PoseFit(pose, error, cost, hessian)


def robust_rotation(before: np.ndarray, after: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """Rotation R (3, 3) with after ~ R before for unit rays (N, 3), and residual angles (N,) in rad.

    Kabsch's method, re-weighted: rays that do not turn with most others count little.
    """
    weight, rotation, angle = np.ones(len(before)), np.eye(3), np.zeros(len(before))
    for _ in range(iterations):
        u, _, vt = np.linalg.svd((after * weight[:, None]).T @ before)
        rotation = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))]) @ vt
        angle = np.linalg.norm(after - before @ rotation.T, axis=1)
        weight = 1 / (1 + (angle / max(float(np.median(angle)), _FLOOR)) ** 2)
    return rotation, angle


def rays(bearing: np.ndarray) -> np.ndarray:
    """Unit rays (N, 3) of bearings (N, 2)."""
    ray = np.concatenate([bearing, np.ones((len(bearing), 1))], 1)
    return ray / np.linalg.norm(ray, axis=1, keepdims=True)
