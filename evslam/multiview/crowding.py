"""Weights of points by area, so that a thing rich in texture counts by its size."""

from __future__ import annotations

import numpy as np
from numba import njit

_SHARE = 3.0  # points within the radius that count fully


@njit(cache=True, nogil=True)
def area_weight(place: np.ndarray, radius: float) -> np.ndarray:
    """Weight (N,) of points at pixels (N, 2): where more than three crowd in the radius, they share that of three."""
    weight = np.zeros(len(place))
    for i in range(len(place)):
        crowd = 0
        for j in range(len(place)):
            dx, dy = place[i, 0] - place[j, 0], place[i, 1] - place[j, 1]
            crowd += dx * dx + dy * dy < radius * radius
        weight[i] = min(1.0, _SHARE / max(crowd, 1))
    return weight
