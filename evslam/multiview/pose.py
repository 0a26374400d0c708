"""Pose of one view from known points; rotation between two views from bearings alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from evslam.errors import SolverError
from evslam.multiview.projection_kernels import JIT, MAX_ERROR_PX, move_pose, observe

_FIRST_DAMPING, _LEAST_DAMPING = 1e-4, 1e-8
_ACCEPTED, _REJECTED = 0.1, 10.0  # factors of the damping
_PARAMETERS = 6
_CONVERGED = 1e-9  # predicted relative decrease of the cost
_SINGULAR = 1e12  # condition of a Hessian that determines no pose
_MIN_SPREAD = 1e-3  # radians; smaller residuals do not lower the weight of a bearing


@dataclass(frozen=True)
class PoseSettings:
    """How to fit a pose.

    Attributes:
        focal: pixels per unit of bearing.
        scale_px: Cauchy scale; errors above it lose weight.
        iterations: most Levenberg-Marquardt steps tried.
    """

    focal: float
    scale_px: float
    iterations: int


@dataclass(frozen=True)
class PoseFit:
    """A fitted pose.

    Attributes:
        T_cam_world: (4, 4).
        error_px: (N,) distance from the projection, across the edge where a normal is given; at most 50, and 50 behind
            the camera.
        cost: half the sum of weight * scale^2 * log(1 + error^2 / scale^2), pixels^2.
        hessian: (6, 6) of the cost by rotation vector and translation (w, v) in the camera frame: R <- exp(w) R,
            t <- exp(w) t + v. Its inverse times the variance of an error in pixels^2 is the covariance.
        variance: of an error of weight 1 in one direction, pixels^2, estimated from the errors themselves; outliers
            count as little as they do in the cost.
    """

    T_cam_world: np.ndarray
    error_px: np.ndarray
    cost: float
    hessian: np.ndarray
    variance: float

    @property
    def covariance(self) -> np.ndarray:
        """(6, 6) of (v, w) in the camera frame, as in T_world_cam exp((v, w)): v in units of the points, w in radians.

        It takes the points as known and their errors as independent. NaN where the errors leave the pose open.
        """
        if not np.isfinite(self.hessian).all() or np.linalg.cond(self.hessian) > _SINGULAR:
            return np.full((6, 6), np.nan)
        order = [3, 4, 5, 0, 1, 2]
        return np.asarray(self.variance * np.linalg.inv(self.hessian)[np.ix_(order, order)])


def estimate_pose(
    T_cam_world: np.ndarray,
    points: np.ndarray,
    bearing: np.ndarray,
    normal: np.ndarray | None,
    weight: np.ndarray,
    settings: PoseSettings,
) -> PoseFit:
    """Robust Levenberg-Marquardt fit of one pose to points that stay fixed.

    Args:
        T_cam_world: (4, 4) start.
        points: (N, 3) world.
        bearing: (N, 2) undistorted (X / Z, Y / Z).
        normal: (N, 2) across the edge, of length 1 if its errors are as large as those of points, zero for points seen
            in both directions; None if all are.
        weight: (N,) factor of each point's cost.
        settings: units, scales and iterations.

    Raises:
        SolverError: the lengths differ.
    """
    points = np.ascontiguousarray(points, float).reshape(-1, 3)
    bearing = np.ascontiguousarray(bearing, float).reshape(-1, 2)
    normal = np.zeros_like(bearing) if normal is None else np.ascontiguousarray(normal, float).reshape(-1, 2)
    weight = np.ascontiguousarray(weight, float)
    lengths = (len(points), len(bearing), len(normal), len(weight))
    if len(set(lengths)) > 1:
        raise SolverError(f"{lengths} points, bearings, normals, weights: pass as many of each")
    pose, hessian, error = np.array(T_cam_world, float, order="C"), np.zeros((6, 6)), np.zeros(len(points))
    data = (points, bearing, normal, weight)
    cost = _fit(pose, data, (settings.focal, settings.scale_px), settings.iterations, hessian, error)
    trust = weight / (1 + (error / settings.scale_px) ** 2)
    rows = np.where(normal.any(1), (normal**2).sum(1), 2.0)  # a shorter normal has smaller errors
    spare = (trust * rows).sum() * (1 - _PARAMETERS / max(rows.sum(), _PARAMETERS + 1))
    variance = float((trust * error**2).sum() / spare) if spare > 0 else 0.0
    return PoseFit(pose, error, float(cost), hessian, variance)


@njit(**JIT)
def _fit(pose: Any, data: Any, lens: Any, iterations: int, hessian: Any, error: Any) -> float:
    """Moves the pose to the minimum; writes the Hessian and the errors there; returns the cost."""
    gradient, new_gradient = np.zeros(6), np.zeros(6)
    new_pose, new_hessian, new_error = np.empty((4, 4)), np.zeros((6, 6)), np.zeros(len(error))
    cost = _linearise(pose, data, lens, hessian, gradient, error)
    damping = _FIRST_DAMPING
    for _ in range(iterations):
        damped = hessian.copy()
        for k in range(6):
            damped[k, k] = (1.0 + damping) * hessian[k, k] if hessian[k, k] > 0.0 else 1.0
        step = np.linalg.solve(damped, -gradient)
        if not -(gradient * step).sum() > 2 * _CONVERGED * cost:
            break
        move_pose(pose, step, new_pose)
        new_cost = _linearise(new_pose, data, lens, new_hessian, new_gradient, new_error)
        if new_cost < cost:
            cost, damping = new_cost, max(damping * _ACCEPTED, _LEAST_DAMPING)
            pose[:], hessian[:], gradient[:], error[:] = new_pose, new_hessian, new_gradient, new_error
        else:
            damping *= _REJECTED
    return cost


@njit(**JIT)
def _linearise(pose: Any, data: Any, lens: Any, hessian: Any, gradient: Any, error: Any) -> float:
    """Writes Hessian (6, 6), gradient (6,) and errors (N,) at a pose; returns the cost."""
    points, bearing, normal, weight = data
    focal, scale = lens
    residual, jacobian = np.empty(2), np.empty((2, 9))
    hessian[:] = 0.0
    gradient[:] = 0.0
    cost = 0.0
    for i in range(len(points)):
        rows = observe(pose, points[i], bearing[i], normal[i], focal, residual, jacobian)
        square = MAX_ERROR_PX**2
        if rows > 0:
            square = residual[0] * residual[0] + residual[1] * residual[1]
        ratio = square / (scale * scale)
        error[i] = np.sqrt(square)
        cost += weight[i] * np.log1p(ratio)
        for row in range(rows):
            for a in range(6):
                part = weight[i] / (1.0 + ratio) * jacobian[row, a]
                gradient[a] += part * residual[row]
                for b in range(a, 6):
                    hessian[a, b] += part * jacobian[row, b]
    for a in range(6):
        for b in range(a):
            hessian[a, b] = hessian[b, a]
    return 0.5 * scale * scale * cost


def robust_rotation(bearings_a: np.ndarray, bearings_b: np.ndarray, iterations: int) -> tuple[np.ndarray, np.ndarray]:
    """The rotation that takes bearings of one view to those of another, b = R a; outliers lose weight.

    Args:
        bearings_a, bearings_b: (N, 3) vectors of any length, or (N, 2) undistorted (X / Z, Y / Z).
        iterations: of reweighting.

    Returns:
        R (3, 3), identity without bearings, and residual angles (N,) radians.
    """
    rotation, angle = _robust_rotation(_unit_vectors(bearings_a), _unit_vectors(bearings_b), iterations)
    return rotation, angle


@njit(**JIT)
def _robust_rotation(a: Any, b: Any, iterations: int) -> Any:
    weight, rotation, angle = np.ones(len(a)), np.eye(3), np.zeros(len(a))
    for _ in range(iterations if len(a) else 0):
        product = np.zeros((3, 3))
        for n in range(len(a)):
            for i in range(3):
                for j in range(3):
                    product[i, j] += weight[n] * b[n, i] * a[n, j]
        left, _, right = np.linalg.svd(product)
        left[:, 2] *= np.sign(np.linalg.det(left @ right))
        rotation = left @ right
        for n in range(len(a)):
            square = 0.0
            for i in range(3):
                off = b[n, i]
                for j in range(3):
                    off -= rotation[i, j] * a[n, j]
                square += off * off
            angle[n] = 2 * np.arcsin(min(0.5 * np.sqrt(square), 1.0))
        spread = max(np.median(angle), _MIN_SPREAD)
        weight = 1 / (1 + (angle / spread) ** 2)
    return rotation, angle


def _unit_vectors(bearings: np.ndarray) -> np.ndarray:
    """(N, 3) of (N, 2) or (N, 3)."""
    bearings = np.asarray(bearings, float)
    if bearings.shape[1] == 2:
        bearings = np.column_stack([bearings, np.ones(len(bearings))])
    return np.asarray(bearings / np.linalg.norm(bearings, axis=1, keepdims=True))
