"""Edge points found again in another view: a search along the edge's normal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_kernels import bilinear, inside, transform
from evslam.multiview.edges import EdgeImage

STEP_PX = 0.5
_ALONG_PX = 3.0  # a second point of the edge, so far along the tangent, tells its direction in the other view
_MIN_DEPTH = 1e-3


def match_edges(
    imager: EdgeImager,
    points: np.ndarray,
    tangents: np.ndarray,
    T_target_host: np.ndarray,
    target: EdgeImage,
    radius_px: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find edges near where a pose expects them.

    Args:
        imager: canvas, valid pixels and thresholds.
        points: (N, 3) in the host frame.
        tangents: (N, 2) unit vectors along the edge in the host's image.
        T_target_host: (4, 4) pose of the host in the target.
        target: edge image to search in.
        radius_px: how far to search on each side.

    Returns:
        pixel (N, 2) float64 of the ridge; normal (N, 2) unit vector across the edge in the target's image, along which
        the pixel counts; found (N,) bool, pixel and normal of the others are zero.
    """
    canvas, config = imager.canvas, imager.config
    settings = canvas.focal, canvas.centre[0], canvas.centre[1], float(radius_px), config.min_match
    out, found = np.zeros((len(points), 4)), np.zeros(len(points), bool)
    host = np.column_stack([points, tangents])
    _match(host, T_target_host, target.band, imager.valid, settings, out, found)
    return out[:, :2], out[:, 2:], found


@njit(cache=True, nogil=True, fastmath=True)
def _match(host: Any, T: Any, band: Any, valid: Any, settings: Any, out: Any, found: Any) -> None:
    focal, cx, cy, radius, min_match = settings
    half = int(radius / STEP_PX)
    profile = np.empty(2 * half + 1)
    for i in range(len(host)):
        px, py, pz, dx, dy = host[i]
        x, y, z = transform(T, px, py, pz)
        along = _ALONG_PX * pz / focal
        ax, ay, az = transform(T, px + dx * along, py + dy * along, pz)
        if z < _MIN_DEPTH * pz or az < _MIN_DEPTH * pz:
            continue
        u, v = focal * x / z + cx, focal * y / z + cy
        tx, ty = focal * ax / az + cx - u, focal * ay / az + cy - v
        length = np.sqrt(tx * tx + ty * ty)
        if length < 1e-6 or not inside(valid, u, v, radius + 2.0):
            continue
        nx, ny = -ty / length, tx / length
        for k in range(2 * half + 1):
            offset, total = (k - half) * STEP_PX, 0.0
            for side in range(-1, 2):
                total += bilinear(band, u + nx * offset - ny * side, v + ny * offset + nx * side)
            profile[k] = total / 3
        best = _nearest_peak(profile, half)
        if best < 0 or profile[best] < min_match:
            continue
        bend = 2 * profile[best] - profile[best - 1] - profile[best + 1]
        offset = STEP_PX * (best - half + 0.5 * (profile[best + 1] - profile[best - 1]) / max(bend, 1e-9))
        out[i, 0], out[i, 1] = u + nx * offset, v + ny * offset
        out[i, 2], out[i, 3] = nx, ny
        found[i] = True


@njit(cache=True, nogil=True)
def _nearest_peak(profile: Any, half: Any) -> int:
    """Index of the highest local maximum, one at the end of the search counting half; -1 if there is none."""
    best, index = 0.0, -1
    for k in range(1, len(profile) - 1):
        if profile[k] >= profile[k - 1] and profile[k] > profile[k + 1]:
            far = (k - half) / half
            value = profile[k] * (1 - 0.5 * far * far)
            if value > best:
                best, index = value, k
    return index
