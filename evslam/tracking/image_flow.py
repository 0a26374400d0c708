"""Affine image flow of a moment: u' = a0 + a1 du + a2 dv, v' = a3 + a4 du + a5 dv, with (du, dv) from the centre."""

from __future__ import annotations

import numpy as np
from numba import njit
from scipy.linalg import expm

_ROUNDS = 6
_LINEAR_PRIOR = 2.5e3  # pixels^2, ties the linear part to zero while there are few points
_MIN_SCALE = 5.0  # px/s, of the robust weights
_MAX_TURN = 1.0  # of the generator over one frame; more is not a flow


def flow_at(flow: np.ndarray, place: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Velocity (N, 2) in px/s at places (N, 2)."""
    return flow.reshape(2, 3)[:, 0] + (place - centre) @ flow.reshape(2, 3)[:, 1:].T


@njit(cache=True, nogil=True)
def fit_flow(place: np.ndarray, velocity: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Robust affine flow (6,) of velocities (N, 2) px/s at places (N, 2): iteratively re-weighted least squares."""
    number = len(place)
    terms = np.ones((number, 3))
    terms[:, 1:] = place - centre
    weight, error = np.ones(number), np.empty(number)
    solution: np.ndarray = np.zeros((3, 2))
    for _ in range(_ROUNDS):
        normal, right = np.zeros((3, 3)), np.zeros((3, 2))
        normal[1, 1] = normal[2, 2] = _LINEAR_PRIOR
        for i in range(number):
            for a in range(3):
                part = weight[i] * terms[i, a]
                for b in range(3):
                    normal[a, b] += part * terms[i, b]
                right[a, 0] += part * velocity[i, 0]
                right[a, 1] += part * velocity[i, 1]
        solution = np.linalg.solve(normal, right)
        for i in range(number):
            du = (
                velocity[i, 0]
                - terms[i, 0] * solution[0, 0]
                - terms[i, 1] * solution[1, 0]
                - terms[i, 2] * solution[2, 0]
            )
            dv = (
                velocity[i, 1]
                - terms[i, 0] * solution[0, 1]
                - terms[i, 1] * solution[1, 1]
                - terms[i, 2] * solution[2, 1]
            )
            error[i] = np.sqrt(du * du + dv * dv)
        scale = max(1.48 * np.median(error), _MIN_SCALE)
        for i in range(number):
            weight[i] = 1 / (1 + (error[i] / scale) ** 2)
    return solution.T.copy().ravel()


def flow_matrix(flow: np.ndarray, centre: np.ndarray, seconds: float) -> np.ndarray:
    """Homogeneous (3, 3) transform of canvas pixels that an affine flow brings about in a time."""
    rows = flow.reshape(2, 3)
    generator = np.zeros((3, 3))
    generator[:2, :2] = np.clip(rows[:, 1:] * seconds, -_MAX_TURN, _MAX_TURN)
    generator[:2, 2] = rows[:, 0] * seconds - generator[:2, :2] @ centre
    return expm(generator)


def rotation_flow(omega: np.ndarray, focal: float) -> np.ndarray:
    """Affine flow (6,) around the optical axis of a camera that turns with omega (3,) rad/s."""
    x, y, z = omega
    return np.array([-focal * y, 0.0, z, focal * x, -z, 0.0])
