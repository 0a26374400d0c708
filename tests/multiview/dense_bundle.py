"""Plain twin of bundle adjustment: one dense system, derivatives by finite differences."""

from __future__ import annotations

import numpy as np
from scenes import move

from evslam.multiview.bundle import BundleProblem


def residuals(problem: BundleProblem) -> np.ndarray:
    """(N, 2) errors in pixels; the second is zero for edges. All points must be in front of their cameras."""
    seen = problem.observations
    pose = problem.T_cam_world[seen.view]
    place = np.einsum("nij,nj->ni", pose[:, :3, :3], problem.points[seen.point]) + pose[:, :3, 3]
    error = problem.focal * (place[:, :2] / place[:, 2:] - seen.bearing)
    across = (error * seen.normal).sum(1)
    return np.where(seen.normal.any(1)[:, None], np.stack([across, np.zeros_like(across)], 1), error)


def cost(problem: BundleProblem, scale_px: float) -> float:
    """Half the sum of weight * scale^2 * log(1 + error^2 / scale^2)."""
    square = (residuals(problem) ** 2).sum(1)
    return float(0.5 * scale_px**2 * (problem.observations.weight * np.log1p(square / scale_px**2)).sum())


def stepped(problem: BundleProblem, step: np.ndarray) -> BundleProblem:
    """The problem after a step of the free cameras (6 each), then of all points (3 each)."""
    poses, free = problem.T_cam_world.copy(), np.flatnonzero(problem.is_free)
    for k, view in enumerate(free):
        poses[view] = move(poses[view], step[6 * k : 6 * k + 6])
    points = problem.points + step[6 * len(free) :].reshape(-1, 3)
    return BundleProblem(poses, problem.is_free, points, problem.observations, problem.focal)


def normal_equations(problem: BundleProblem, scale_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Hessian (K, K) of the reweighted squares and gradient (K,), by central differences of order 4."""
    num = 6 * int(problem.is_free.sum()) + 3 * len(problem.points)
    error = residuals(problem)
    jacobian = np.empty((*error.shape, num))
    h = 1e-3
    for k in range(num):
        at = {m: residuals(stepped(problem, m * h * np.eye(num)[k])) for m in (-2, -1, 1, 2)}
        jacobian[..., k] = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h)
    weight = problem.observations.weight / (1 + (error**2).sum(1) / scale_px**2)
    return (
        np.einsum("n,nrj,nrk->jk", weight, jacobian, jacobian),
        np.einsum("n,nrj,nr->j", weight, jacobian, error),
    )
