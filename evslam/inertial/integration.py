"""The specific force integrated over all samples at once; what lies between two times is a difference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicHermiteSpline

_AXES = 3


@dataclass(frozen=True)
class Increments:
    """What the accelerometer tells of the motion from each of N nodes to the next, in world axes, K = N - 1 of them.

    With gravity g and the accelerometer's bias b, velocities v and positions p of successive nodes obey

        v1 - v0          = velocity + g dt          - velocity_by_bias b
        p1 - p0 - v0 dt  = position + g dt^2 / 2    - position_by_bias b

    Attributes:
        dt: (K,) seconds.
        velocity, position: (K, 3).
        velocity_by_bias, position_by_bias: (K, 3, 3).
    """

    dt: np.ndarray
    velocity: np.ndarray
    position: np.ndarray
    velocity_by_bias: np.ndarray
    position_by_bias: np.ndarray


def increments(t: np.ndarray, R_world_imu: np.ndarray, force: np.ndarray, nodes: np.ndarray) -> Increments:
    """Integrals of the specific force from node to node.

    Args:
        t: (M,) seconds of the samples, which cover the nodes.
        R_world_imu: (M, 3, 3) orientation at the samples.
        force: (M, 3) m/s^2 in the axes of the IMU.
        nodes: (N,) seconds, increasing.
    """
    world = np.einsum("nij,nj->ni", R_world_imu, force)
    rate = np.concatenate([world, R_world_imu.reshape(-1, _AXES * _AXES)], 1)  # the bias acts through the orientation
    step = np.diff(t)[:, None]
    once = _summed(0.5 * step * (rate[1:] + rate[:-1]))
    twice = _summed(step * once[:-1] + step**2 * (2 * rate[:-1] + rate[1:]) / 6)
    velocity, position = CubicHermiteSpline(t, once, rate)(nodes), CubicHermiteSpline(t, twice, once)(nodes)
    dt = np.diff(nodes)
    dv, dp = np.diff(velocity, axis=0), np.diff(position, axis=0) - velocity[:-1] * dt[:, None]
    shape = (len(dt), _AXES, _AXES)
    return Increments(dt, dv[:, :_AXES], dp[:, :_AXES], dv[:, _AXES:].reshape(shape), dp[:, _AXES:].reshape(shape))


def _summed(steps: np.ndarray) -> np.ndarray:
    """Running sums (N, C) of steps (N - 1, C), from zero on."""
    return np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(steps, 0)])
