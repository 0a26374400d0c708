"""The similarity between two views from points that both have mapped, each with a scale of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.geometry.similarity import Similarity, cross_matrix
from evslam.multiview.projection_kernels import MAX_ERROR_PX, MIN_DEPTH

_FIRST_DAMPING, _ACCEPTED, _REJECTED = 1e-4, 0.1, 10.0
_ITERATIONS, _CONVERGED = 15, 1e-4


@dataclass(frozen=True)
class Sight:
    """Points of a view.

    Attributes:
        points: (N, 3) in its camera frame.
        bearing: (N, 2) where it sees them.
    """

    points: np.ndarray
    bearing: np.ndarray


def fit_two_ways(
    start: Similarity, old: Sight, new: Sight, focal: float, scale_px: float
) -> tuple[Similarity, np.ndarray]:
    """The similarity that projects the points of each view onto their places in the other, by Levenberg-Marquardt.

    Args:
        start: one similarity, points of the old camera frame to the new one.
        old, new: row by row the same points.
        focal: pixels per unit of bearing.
        scale_px: Cauchy scale; errors above it lose weight.

    Returns:
        The similarity, and the errors (2, N) in pixels, in the new image and in the old one; at most `MAX_ERROR_PX`.
    """
    best, damping = start, _FIRST_DAMPING
    error, jacobian = _linearise(best, old, new, focal)
    cost = _cost(error, scale_px)
    for _ in range(_ITERATIONS):
        weight = 1 / (1 + (error**2).sum(1) / scale_px**2)
        slope = jacobian.reshape(-1, 7)
        weighted = np.repeat(weight, 2) * slope.T
        hessian, gradient = weighted @ slope, weighted @ error.ravel()
        damped = hessian + np.diag(damping * np.diag(hessian) + MIN_DEPTH)
        trial = best.retract(np.linalg.solve(damped, -gradient)[None])
        trial_error, trial_jacobian = _linearise(trial, old, new, focal)
        trial_cost = _cost(trial_error, scale_px)
        if not trial_cost < cost:
            damping *= _REJECTED
            continue
        done = cost - trial_cost < _CONVERGED * cost
        best, error, jacobian, cost = trial, trial_error, trial_jacobian, trial_cost
        damping *= _ACCEPTED
        if done:
            break
    return best, np.linalg.norm(error, axis=1).reshape(2, -1)


def _cost(error: np.ndarray, scale_px: float) -> float:
    return float(np.log1p((error**2).sum(1) / scale_px**2).sum())


def _linearise(now: Similarity, old: Sight, new: Sight, focal: float) -> tuple[np.ndarray, np.ndarray]:
    """Errors (2 N, 2) in pixels, first those in the new image, and their derivatives (2 N, 2, 7) by `retract`."""
    turn = now.scale[0] * now.rotation[0]
    forth, back = now.apply(old.points[None])[0], now.inverse().apply(new.points[None])[0]
    move = np.empty((2 * len(forth), 3, 7))
    count = len(forth)
    move[:count, :, :3] = turn
    move[:count, :, 3:6] = -turn @ cross_matrix(old.points)
    move[:count, :, 6] = old.points @ turn.T
    move[count:, :, :3] = -np.eye(3)
    move[count:, :, 3:6] = cross_matrix(back)
    move[count:, :, 6] = -back
    place = np.concatenate([forth, back])
    depth = np.maximum(place[:, 2], MIN_DEPTH)
    bearing = place[:, :2] / depth[:, None]
    error = focal * (bearing - np.concatenate([new.bearing, old.bearing]))
    lost = (place[:, 2] < MIN_DEPTH) | (np.abs(error) > MAX_ERROR_PX).any(1)
    jacobian = (move[:, :2] - bearing[:, :, None] * move[:, 2:]) * (focal / depth)[:, None, None]
    jacobian[lost], error[lost] = 0.0, MAX_ERROR_PX / np.sqrt(2)
    return error, jacobian
