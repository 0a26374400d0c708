"""Angular velocities integrated to rotations."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def turned(t: np.ndarray, omega: np.ndarray) -> Rotation:
    """N rotations that body rates (N, 3) in rad/s at times (N,) in seconds lead to, from the identity on.

    The rate between two samples is their mean. Products are formed by doubling: log2(N) rounds over arrays.
    """
    steps = Rotation.from_rotvec(0.5 * (omega[1:] + omega[:-1]) * np.diff(t)[:, None])
    whole, done = Rotation.concatenate([Rotation.identity(1), steps]), 1
    while done < len(t):
        whole = Rotation.concatenate([whole[:done], whole[:-done] * whole[done:]])
        done *= 2
    return whole
