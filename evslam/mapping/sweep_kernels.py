"""Compiled loops of the edge sweep: scores of ridge points over inverse depths, peaks of the scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

MIN_DEPTH = 1e-3  # of a point over its depth in the host frame


@njit(cache=True, nogil=True, fastmath=True)
def sweep(bearing: Any, rho: Any, T_view_host: Any, strength: Any, valid: Any, settings: Any, score: Any) -> None:
    """Mean strength of edges where each point would lie in the views, for every inverse depth.

    bearing (N, 2), inverse depths rho (L,), T_view_host (V, 4, 4), strength (V, H, W), settings (focal, cx, cy,
    fewest views): all float32; valid (H, W) bool. Fills score (N, L) float32, zero where too few views see the place.
    """
    focal, cx, cy, min_views = settings
    height, width = valid.shape
    right, bottom = np.float32(width - 2), np.float32(height - 2)
    planes, columns, flat = len(rho), np.uint64(width), valid.ravel()
    u, v, seen = np.empty(planes, np.float32), np.empty(planes, np.float32), np.empty(planes, np.float32)
    at, one, right_of = np.empty(planes, np.int32), np.float32(1.0), np.uint64(1)
    for i in range(len(bearing)):
        x, y = bearing[i, 0], bearing[i, 1]
        line = score[i]
        line[:] = 0.0
        seen[:] = 0.0
        for k in range(len(T_view_host)):
            T = T_view_host[k]
            c = T[2, 0] * x + T[2, 1] * y + T[2, 2]
            a = focal * (T[0, 0] * x + T[0, 1] * y + T[0, 2]) + cx * c
            b = focal * (T[1, 0] * x + T[1, 1] * y + T[1, 2]) + cy * c
            da, db, dc = focal * T[0, 3] + cx * T[2, 3], focal * T[1, 3] + cy * T[2, 3], T[2, 3]
            for j in range(planes):
                z = c + rho[j] * dc
                scale = one / z if z > np.float32(MIN_DEPTH) else np.float32(0.0)  # a place outside what is valid
                u[j] = min(max((a + rho[j] * da) * scale, np.float32(0.0)), right)
                v[j] = min(max((b + rho[j] * db) * scale, np.float32(0.0)), bottom)
                at[j] = np.int32(v[j]) * np.int32(width) + np.int32(u[j])
                u[j] -= np.floor(u[j])
                v[j] -= np.floor(v[j])
            image = strength[k].ravel()
            for j in range(planes):
                here = np.uint64(at[j])  # that no index is negative saves a third of the time
                if flat[here]:
                    below = here + columns
                    upper = image[here] + u[j] * (image[here + right_of] - image[here])
                    lower = image[below] + u[j] * (image[below + right_of] - image[below])
                    line[j] += upper + v[j] * (lower - upper)
                    seen[j] += one
        for j in range(planes):
            line[j] = line[j] / seen[j] if seen[j] >= min_views else np.float32(0.0)


@njit(cache=True, nogil=True)
def peaks(score: Any, apart: Any, min_peak: Any, min_margin: Any, place: Any, width: Any, margin: Any) -> None:
    """The best plane of each point (N,), between planes, the peak's width in planes and its lead.

    The lead (margin) is that over the best plane more than `apart` away. A point that fails has margin 0.
    """
    planes = score.shape[1]
    for i in range(len(score)):
        line = score[i]
        best = np.argmax(line)
        margin[i] = 0.0
        if best == 0 or best == planes - 1 or line[best] < min_peak:
            continue
        other = 0.0
        for j in range(planes):
            if abs(j - best) > apart and line[j] > other:
                other = line[j]
        bend = 2 * line[best] - line[best + 1] - line[best - 1]
        if line[best] - other < min_margin or bend <= 0.0:
            continue
        place[i] = best + 0.5 * (line[best + 1] - line[best - 1]) / bend
        width[i] = np.sqrt(line[best] / bend)
        margin[i] = line[best] - other
