"""Compiled loops of the event images that points are tracked on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def integrate(leaky: Any, cell: Any, age_s: Any, polarity: Any, on_weight: Any, tau_s: Any, elapsed_s: Any) -> None:
    """Let the leaky integrator (R * C,) decay by `elapsed_s`, then add signed events, decayed by their own age.

    cell (N,) int32 flat places; age_s (N,) float32 seconds before the image's time; ON counts `on_weight`, OFF -1.
    """
    leaky *= np.float32(np.exp(-elapsed_s / tau_s))
    rate = np.float32(1.0 / tau_s)
    for i in range(len(cell)):
        sign = np.float32(on_weight) if polarity[i] else np.float32(-1.0)
        leaky[cell[i]] += sign * np.exp(-age_s[i] * rate)


@njit(cache=True, nogil=True)
def count_cells(cell: Any, place: Any, counts: Any) -> None:
    """Adds to counts (M,) one for the cell of each place (N,)."""
    for i in range(len(place)):
        counts[cell[place[i]]] += 1


@njit(cache=True, nogil=True)
def bearings(place: Any, centre: Any, focal: float, out: Any) -> None:
    """`Canvas.bearings` of places (N, 2), in single precision, in one go."""
    for i in range(len(place)):
        for k in range(2):
            out[i, k] = (place[i, k] - centre[k]) / focal


@njit(cache=True, nogil=True, fastmath=True)
def vote(place: Any, age_s: Any, flow: Any, centre: Any, image: Any) -> None:
    """Bilinear votes of events at canvas pixels (N, 2), moved by an affine flow (6,) px/s over their age."""
    height, width = image.shape
    a0, a1, a2, a3, a4, a5 = flow
    for i in range(len(age_s)):
        u, v = place[i, 0], place[i, 1]
        du, dv = u - centre[0], v - centre[1]
        x = u + age_s[i] * (a0 + a1 * du + a2 * dv)
        y = v + age_s[i] * (a3 + a4 * du + a5 * dv)
        if not (x >= 0.0 and y >= 0.0 and x < width - 1 and y < height - 1):
            continue
        column, row = int(x), int(y)
        fx, fy = x - column, y - row
        image[row, column] += (1 - fx) * (1 - fy)
        image[row, column + 1] += fx * (1 - fy)
        image[row + 1, column] += (1 - fx) * fy
        image[row + 1, column + 1] += fx * fy
