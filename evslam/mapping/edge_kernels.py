"""Compiled loops of edge images: votes of motion-compensated events, sums over coarse cells, ridges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

CELL_PX = 8  # of the coarse grid of inverse depths
_NEIGHBOURS = ((1, 0), (1, 1), (0, 1), (-1, 1))  # (dx, dy), one of each pair of opposite directions


@njit(cache=True, nogil=True, inline="always")
def _vote(x: Any, y: Any, image: Any) -> None:
    height, width = image.shape
    if x >= 0.0 and y >= 0.0 and x < width - 1 and y < height - 1:
        column, row = int(x), int(y)
        fx, fy = x - column, y - row
        image[row, column] += (1 - fx) * (1 - fy)
        image[row, column + 1] += fx * (1 - fy)
        image[row + 1, column] += (1 - fx) * fy
        image[row + 1, column + 1] += fx * fy


@njit(cache=True, nogil=True, fastmath=True)
def vote_flow(bearing: Any, t: Any, picked: Any, flow: Any, camera: Any, image: Any) -> None:
    """Bilinear votes of the picked events, moved back over t (N,) seconds by an affine flow (6,) px/s.

    camera: (focal, cx, cy) of the canvas.
    """
    focal, cx, cy = camera
    for i in picked:
        du, dv = focal * bearing[i, 0], focal * bearing[i, 1]
        x = du + cx - t[i] * (flow[0] + flow[1] * du + flow[2] * dv)
        y = dv + cy - t[i] * (flow[3] + flow[4] * du + flow[5] * dv)
        _vote(x, y, image)


@njit(cache=True, nogil=True, fastmath=True)
def vote_twist(bearing: Any, t: Any, picked: Any, twist: Any, grid: Any, camera: Any, image: Any) -> None:
    """The same for the twist (v, omega) of the camera and a coarse grid of inverse depths."""
    rows, columns = grid.shape
    focal, cx, cy = camera
    vx, vy, vz, wx, wy, wz = twist
    for i in picked:
        x, y = bearing[i, 0], bearing[i, 1]
        u, v = focal * x + cx, focal * y + cy
        if not (u >= 0.0 and v >= 0.0 and u < columns * CELL_PX and v < rows * CELL_PX):
            continue
        rho = grid[int(v) // CELL_PX, int(u) // CELL_PX]
        forward = rho * vz + wx * y - wy * x
        u += focal * t[i] * (rho * vx + wy - wz * y - x * forward)
        v += focal * t[i] * (rho * vy + wz * x - wx - y * forward)
        _vote(u, v, image)


@njit(cache=True, nogil=True)
def cell_sums(pixel: Any, value: Any, total: Any, count: Any) -> None:
    """Add values (N,) at canvas pixels (N, 2) to the cells that hold them."""
    rows, columns = total.shape
    for i in range(len(value)):
        x, y = pixel[i, 0] / CELL_PX, pixel[i, 1] / CELL_PX
        if x >= 0.0 and y >= 0.0 and x < columns and y < rows:
            total[int(y), int(x)] += value[i]
            count[int(y), int(x)] += 1.0


@njit(cache=True, nogil=True)
def ridges(band: Any, valid: Any, threshold: Any, out: Any) -> int:
    """Fills out (M, 2) with subpixel places of maxima across the line; returns how many there are, at most M."""
    height, width = band.shape
    found = 0
    for row in range(2, height - 2):
        for column in range(2, width - 2):
            here = band[row, column]
            if here < threshold or not valid[row, column]:
                continue
            best, bx, by = 0.0, 0, 0
            for dx, dy in _NEIGHBOURS:
                bend = 2 * here - band[row + dy, column + dx] - band[row - dy, column - dx]
                bend /= dx * dx + dy * dy
                if bend > best:
                    best, bx, by = bend, dx, dy
            if best <= 0.0:
                continue
            after, before = band[row + by, column + bx], band[row - by, column - bx]
            if here < after or here < before or (here == after and here == before):
                continue
            offset = 0.5 * (after - before) / (2 * here - after - before)
            if found < len(out):
                out[found, 0] = column + offset * bx
                out[found, 1] = row + offset * by
                found += 1
    return found


@njit(cache=True, nogil=True, inline="always")
def bilinear(image: Any, x: Any, y: Any) -> Any:
    """Value at (x, y), which lies inside the image."""
    column, row = int(x), int(y)
    fx, fy = x - column, y - row
    left, top = np.uint64(column), np.uint64(row)  # that no index is negative saves a third of the time
    right, below = left + np.uint64(1), top + np.uint64(1)
    upper = image[top, left] + fx * (image[top, right] - image[top, left])
    lower = image[below, left] + fx * (image[below, right] - image[below, left])
    return upper + fy * (lower - upper)


@njit(cache=True, nogil=True, inline="always")
def inside(valid: Any, x: Any, y: Any, margin: Any) -> bool:
    """Whether (x, y) lies `margin` pixels inside the image and on a valid pixel."""
    height, width = valid.shape
    if x >= margin and y >= margin and x < width - 1 - margin and y < height - 1 - margin:
        return valid[int(y), int(x)]
    return False


@njit(cache=True, nogil=True, inline="always")
def transform(pose: Any, x: Any, y: Any, z: Any) -> tuple[Any, Any, Any]:
    """The point (x, y, z) through a pose (4, 4)."""
    return (
        pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3],
        pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3],
        pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3],
    )


def thinned(number: int, most: int) -> np.ndarray:
    """Indices of at most `most` of `number` things, evenly spread."""
    return np.arange(number) if number <= most else np.linspace(0, number - 1, most).astype(np.int64)
