"""Edge points found again in another view: a search along the edge's normal."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from evslam.beside import two_at_a_time
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_kernels import bilinear, inside, transform
from evslam.multiview.edges import EdgeImage

STEP_PX = 0.5
_ALONG_PX = 3.0  # a second point of the edge, so far along the tangent, tells its direction in the other view
_MIN_DEPTH = 1e-3
_MANY = 4000  # edges, of which two threads look for one half each


class Match(NamedTuple):
    """Where the edges of a host (N) are in a target; all zero where one was not found.

    Attributes:
        pixel: (N, 2) float64 of the ridge.
        normal: (N, 2) unit vector across the edge in the target's image, along which the pixel counts.
        offset: (N,) pixels along the normal from where the pose expects the edge.
        found: (N,) bool.
    """

    pixel: np.ndarray
    normal: np.ndarray
    offset: np.ndarray
    found: np.ndarray


def match_edges(
    imager: EdgeImager,
    hosts: list[np.ndarray],
    targets: list[EdgeImage],
    pairs: list[tuple[int, int]],
    T_target_host: np.ndarray,
    radius_px: int,
) -> list[Match]:
    """Find edges of hosts near where poses expect them in targets.

    Args:
        imager: canvas, valid pixels and thresholds.
        hosts: (N, 5) each, see `EdgePoints.lines`.
        targets: edge images to search in.
        pairs: P numbers of a host and of the target to look for its edges in.
        T_target_host: (P, 4, 4) pose of the host in the target.
        radius_px: how far to search on each side.
    """
    if not pairs:
        return []
    canvas, config = imager.canvas, imager.config
    settings = canvas.focal, canvas.centre[0], canvas.centre[1], float(radius_px), config.min_match
    begin, numbers = np.cumsum([0, *(len(host) for host in hosts)]), np.array(pairs, np.int64)
    place = np.cumsum([0, *(begin[numbers[:, 0] + 1] - begin[numbers[:, 0]])])
    out, found = np.zeros((place[-1], 5)), np.zeros(place[-1], bool)
    lines, bands = np.concatenate(hosts), np.stack([each.band for each in targets])

    def match(part: slice) -> None:
        asked = numbers[part], T_target_host[part], place[part]
        _match_all((lines, begin), asked, bands, imager.valid, settings, (out, found))

    half = int(np.searchsorted(place, place[-1] // 2))
    parts = [slice(0, half), slice(half, len(pairs))]
    two_at_a_time(match, parts if place[-1] >= _MANY else [slice(0, len(pairs))])
    rows = [slice(first, last) for first, last in pairwise(place)]
    return [Match(out[row, :2], out[row, 2:4], out[row, 4], found[row]) for row in rows]


@njit(cache=True, nogil=True, fastmath=True)
def _match_all(hosts: Any, asked: Any, bands: Any, valid: Any, settings: Any, result: Any) -> None:
    """`_match` of each pair: hosts are lines and where each begins; asked are pairs, poses, and where results begin."""
    (lines, begin), (pairs, T, place), (out, found) = hosts, asked, result
    for k in range(len(pairs)):
        host, target = pairs[k]
        mine = slice(place[k], place[k] + begin[host + 1] - begin[host])
        _match(lines[begin[host] : begin[host + 1]], T[k], bands[target], valid, settings, out[mine], found[mine])


@njit(cache=True, nogil=True, fastmath=True, inline="always")
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
        out[i, 2], out[i, 3], out[i, 4] = nx, ny, offset
        found[i] = True


@njit(cache=True, nogil=True, fastmath=True, inline="always")
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
