"""Compiled kernels that bin events on the sphere of directions into an equirectangular image, a vector at a time.

Events lie in intervals between two neighbouring *nodes* of a rotational trajectory. With a the share of the interval
that has passed, the direction of an event with ray b = (x, y, 1) is d = (1 - a) R_k b + a R_(k + 1) b: linear between
the nodes, exactly differentiable to both, and never normalised, because longitude and latitude ignore the length.

Fixed order of summation: deterministic. The plain twin is `evslam.ops.sphere.bin_on_sphere`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from evslam.ops.fused_bins import CX, CY, FX, FY, INDEX, compiled, place
from evslam.ops.fused_simd import (
    LINE,
    load,
    load_pairs,
    pair_total,
    scratch,
    splat,
    square_root,
    store,
    total,
    where_between,
)
from evslam.ops.fused_taps import gather, store_taps, taps_at, vote

_TERMS = 10  # of atan(z) / z in powers of z^2: 1e-7 rad on [0, 1]
SUMS = 12  # per interval: torque on the node before (3), on the node after (3), products of the torque (6)


def _arctan_coefficients() -> tuple[float, ...]:
    """Polynomial through the Chebyshev points of [0, 1], highest power first."""
    s = 0.5 - 0.5 * np.cos((np.arange(_TERMS) + 0.5) * np.pi / _TERMS)
    return tuple(float(c) for c in np.polyfit(s, np.arctan(np.sqrt(s)) / np.sqrt(s), _TERMS - 1))


_ARCTAN = _arctan_coefficients()


@numba.njit(forceinline=True)
def _magnitude(x: Any) -> Any:
    return where_between(x, 0, np.inf, x, -x)


@numba.njit(forceinline=True)
def arctan2(y: Any, x: Any) -> Any:
    """Angle of (x, y), in radians, of vectors; not a number where a coordinate is not."""
    ax, ay = _magnitude(x), _magnitude(y)
    steep = ay - ax
    small, large = where_between(steep, 0, np.inf, ax, ay), where_between(steep, 0, np.inf, ay, ax)
    z = small / large
    z2 = z * z
    value = splat(_ARCTAN[0], z)
    for n in range(1, _TERMS):
        value = value * z2 + _ARCTAN[n]
    value = value * z
    value = where_between(steep, 0, np.inf, 0.5 * np.pi - value, value)
    value = where_between(x, 0, np.inf, value, np.pi - value)
    return where_between(y, 0, np.inf, value, -value)


@numba.njit(forceinline=True)
def turned(rotation: Any, first: Any, x: Any, y: Any) -> Any:
    """R (x, y, 1) of the rotation matrix that begins at a flat index."""
    r = rotation
    px = r[first] * x + r[first + 1] * y + r[first + 2]
    py = r[first + 3] * x + r[first + 4] * y + r[first + 5]
    pz = r[first + 6] * x + r[first + 7] * y + r[first + 8]
    return px, py, pz


@lru_cache
def compile_sphere_forward(degree: int, dtype: np.dtype) -> Callable[..., None]:
    """forward(events, interval, span, motion, coords, image): coordinates of the events of a span and their votes.

    events (4, N): bearing x, y, share a of the interval, weight; N a multiple of the lanes, filled up with events of no
    weight. interval (N / lanes,): of each vector. span: first event and the one behind the last, multiples of the
    lanes. motion: (flat rotations of the nodes, view and stride of the grid); view holds bins per radian and padded
    bins of longitude and latitude zero. coords (2, N): padded bins.
    """
    count = LINE // dtype.itemsize
    memory = (degree + 1) * count

    @compiled
    def forward(events: Any, interval: Any, span: Any, motion: Any, coords: Any, image: Any) -> None:
        rotation, view, stride = motion
        n = events.shape[1]
        start, sx, ky = scratch(INDEX, count), scratch(image, count), scratch(image, memory)
        for i in range(span[0], span[1], count):
            x, y, a = load(events, i, count), load(events, n + i, count), load(events, 2 * n + i, count)
            first = 9 * interval[i // count]
            px, py, pz = turned(rotation, first, x, y)
            qx, qy, qz = turned(rotation, first + 9, x, y)
            px, py, pz = px + a * (qx - px), py + a * (qy - py), pz + a * (qz - pz)
            bx = arctan2(px, pz) * view[FX] + view[CX]
            by = arctan2(py, square_root(px * px + pz * pz)) * view[FY] + view[CY]
            store(coords, i, bx)
            store(coords, n + i, by)
            store_taps(place(bx, by, degree, stride, start, sx), degree, 0, ky)
            for e in range(count):
                vote(image, start, (stride, e), taps_at(sx[e], degree, 0) * events[3, i + e], ky, degree)

    return forward


@numba.njit(forceinline=True)
def _pulled(p: Any, gx: Any, gy: Any) -> Any:
    """Gradient to the direction p from that to longitude and latitude in radians."""
    px, py, pz = p
    flat = px * px + pz * pz
    rho = square_root(flat)
    along, up = gx / flat, gy / (flat + py * py)
    level = up * py / rho
    return along * pz - level * px, up * rho, -along * px - level * pz


@numba.njit(forceinline=True)
def _torque(p: Any, m: Any) -> Any:
    return p[1] * m[2] - p[2] * m[1], p[2] * m[0] - p[0] * m[2], p[0] * m[1] - p[1] * m[0]


@lru_cache
def compile_sphere_backward(degree: int, dtype: np.dtype) -> Callable[..., None]:
    """backward(events, interval, span, motion, coords, slope, sums): pull dL/dH back to rotations of the nodes.

    sums (intervals, SUMS) float64, added to. A torque is the gradient to a small rotation from the left, in world axes.
    The products of the whole torque of each event (xx, xy, xz, yy, yz, zz) tell which directions the image constrains.
    """
    count = LINE // dtype.itemsize
    taps, pairs = (degree + 1) * count, 2 * count

    @compiled
    def backward(events: Any, interval: Any, span: Any, motion: Any, coords: Any, slope: Any, sums: Any) -> None:
        rotation, view, stride = motion
        n = events.shape[1]
        start, sx, g = scratch(INDEX, count), scratch(slope, count), scratch(slope, pairs)
        ky, dy = scratch(slope, taps), scratch(slope, taps)
        for i in range(span[0], span[1], count):
            bx, by = load(coords, i, count), load(coords, n + i, count)
            sy = place(bx, by, degree, stride, start, sx)
            store_taps(sy, degree, 0, ky)
            store_taps(sy, degree, 1, dy)
            for e in range(count):
                v, w = gather(slope, start, (stride, e), (ky, dy), degree)
                store(g, 2 * e, pair_total(v * taps_at(sx[e], degree, 1), w * taps_at(sx[e], degree, 0)))
            gx, gy = load_pairs(g, count)
            x, y, a = load(events, i, count), load(events, n + i, count), load(events, 2 * n + i, count)
            k = interval[i // count]
            before, after = turned(rotation, 9 * k, x, y), turned(rotation, 9 * k + 9, x, y)
            p = (
                before[0] + a * (after[0] - before[0]),
                before[1] + a * (after[1] - before[1]),
                before[2] + a * (after[2] - before[2]),
            )
            weight = load(events, 3 * n + i, count)
            m = _pulled(p, gx * weight * view[FX], gy * weight * view[FY])
            hx, hy, hz = _torque(before, m)
            tx, ty, tz = _torque(after, m)
            hx, hy, hz, tx, ty, tz = hx - a * hx, hy - a * hy, hz - a * hz, a * tx, a * ty, a * tz
            row = sums[k]
            row[0], row[1], row[2] = row[0] + total(hx), row[1] + total(hy), row[2] + total(hz)
            row[3], row[4], row[5] = row[3] + total(tx), row[4] + total(ty), row[5] + total(tz)
            hx, hy, hz = hx + tx, hy + ty, hz + tz
            row[6], row[7], row[8] = row[6] + total(hx * hx), row[7] + total(hx * hy), row[8] + total(hx * hz)
            row[9], row[10], row[11] = row[9] + total(hy * hy), row[10] + total(hy * hz), row[11] + total(hz * hz)

    return backward


@compiled
def begin(background: Any, image: Any, frame: Any) -> None:
    """The part of the image that `frame` tells becomes that of the background; borders beyond the seam are emptied.

    frame: (first row, last row, first column, last column, width, pad, stride); rows and columns are padded, the last
    ones excluded.
    """
    first, last, left, right, width, pad, stride = frame
    for row in range(first, last):
        start = row * stride
        image[start + left : start + right] = background[start + left : start + right]
        if left < pad:
            image[start : start + pad] = 0
        if right > width + pad:
            image[start + pad + width : start + stride] = 0


@compiled
def merge(votes: Any, image: Any, frame: Any) -> None:
    """Add votes to the part of the image that `frame` tells, see `begin`."""
    first, last, left, right, _, _, stride = frame
    for row in range(first, last):
        for i in range(row * stride + left, row * stride + right):
            image[i] += votes[i]


@compiled
def finish(background: Any, image: Any, frame: Any) -> float:
    """Bring the votes beyond the seam home and show on either side what lies across it.

    frame: as in `begin`; what lies beyond the image does not count. Returns by how much the sum of squares exceeds that
    of the background.
    """
    first, last, left, right, width, pad, stride = frame
    total, height = 0.0, width // 2
    for row in range(first, last):
        start = row * stride
        if left < pad:
            for i in range(start, start + pad):
                image[i + width] += image[i]
                image[i + pad] += image[i + width + pad]
            for i in range(start, start + pad):
                image[i] = image[i + width]
                image[i + width + pad] = image[i + pad]
        if pad <= row < pad + height:
            squares = image.dtype.type(0)
            for i in range(start + max(left, pad), start + min(right, width + pad)):
                squares += (image[i] - background[i]) * (image[i] + background[i])
            total += squares
    return total


@numba.njit(cache=True, nogil=True, error_model="numpy")
def fill(t: Any, bearing: Any, nodes: Any, starts: Any, weight: float, lanes: int, columns: Any) -> float:
    """Events (N,) into columns (4, M), those of an interval from vector starts[interval] on; largest squared radius."""
    largest, interval, place = 0.0, 0, starts[0] * lanes
    for i in range(len(t)):
        while t[i] >= nodes[interval + 1]:
            interval += 1
            place = starts[interval] * lanes
        columns[0, place], columns[1, place] = bearing[i, 0], bearing[i, 1]
        columns[2, place] = (t[i] - nodes[interval]) / (nodes[interval + 1] - nodes[interval])
        columns[3, place] = weight
        largest = max(largest, bearing[i, 0] ** 2 + bearing[i, 1] ** 2)
        place += 1
    return largest
