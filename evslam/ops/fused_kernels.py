"""Fused kernels of value and gradient: events are warped, projected and binned in one pass, a vector of them at a time.

The warp, the range test and the taps along y are vector code over events; votes and gradients of a single event are
vector code over its taps. One thread, fixed order of summation: deterministic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from evslam.ops.fused_bins import BOTTOM, CHUNK, CX, CY, FX, FY, INDEX, LOW, RIGHT, add3, compiled, place
from evslam.ops.fused_simd import LINE, load, load_pairs, pair_total, scratch, store, total, where_between
from evslam.ops.fused_taps import gather, store_taps, taps_at, vote
from evslam.ops.fused_warp import DB, DC, B, C, cross, cross3, dot, inverse, polynomial, rotate, shift

H_ROWS, M_ROWS = 5, 7  # rows of the sums: see `compile_backward`


@lru_cache
def compile_forward(degree: int, gradient_degree: int, moving: bool, dtype: np.dtype) -> Callable[..., None]:
    """forward(events, motion, coords, image): coordinates of the events and their votes.

    motion: (twist (6,), table of `series`, view and stride of the grid), twist, table and view of the events' dtype.
    events (3 or 4, N): bearing x, y, t, inverse depth if `moving`; N a multiple of the lanes, filled up with events
    beside the image. coords (2 or 3, N): padded bins x, y, and 1 / depth.
    """
    count, unused = LINE // dtype.itemsize, dtype.type(gradient_degree // 2)
    memory = (degree + 1) * count

    @compiled
    def forward(events: Any, motion: Any, coords: Any, image: Any) -> None:
        twist, table, view, stride = motion
        n = events.shape[1]
        start, sx, ky = scratch(INDEX, count), scratch(image, count), scratch(image, memory)
        for i in range(0, n, count):
            x, y, t = load(events, i, count), load(events, n + i, count), load(events, 2 * n + i, count)
            px, py, pz = rotate(x, y, t, t * t, table, twist)
            if moving:
                rho = load(events, 3 * n + i, count)
                dx, dy, dz = shift(t, t * t, table, twist)
                px, py, pz = px + rho * dx, py + rho * dy, pz + rho * dz
            pz = inverse(pz)
            bx, by = px * pz * view[FX] + view[CX], py * pz * view[FY] + view[CY]
            bx = where_between(bx, view[LOW], view[RIGHT], bx, unused)
            by = where_between(by, view[LOW], view[BOTTOM], by, unused)
            store(coords, i, bx)
            store(coords, n + i, by)
            if moving:
                store(coords, 2 * n + i, where_between(pz, 0, np.inf, pz, 0))
            store_taps(place(bx, by, degree, stride, start, sx), degree, 0, ky)
            for e in range(count):
                vote(image, start, (stride, e), taps_at(sx[e], degree, 0), ky, degree)

    return forward


@lru_cache
def compile_backward(degree: int, moving: bool, dtype: np.dtype) -> Callable[..., None]:
    """backward(events, motion, coords, slope, sums): sums over the events, see `pull_back`.

    sums (12, 3) float64, added to: with m the gradient to the moved point P and h = (R X) x m, rows 0 to 4 hold
    sum (t, B, C, DB, DC) h, rows 5 to 11 sum rho (t, B, C, DB, DC, DDB, DDC) m; only those of the gradient here.
    """
    count, slots = LINE // dtype.itemsize, 3 * (H_ROWS + M_ROWS)
    taps, pairs, memory = (degree + 1) * count, 2 * count, slots * count

    @compiled
    def backward(events: Any, motion: Any, coords: Any, slope: Any, sums: Any) -> None:
        twist, table, view, stride = motion
        n = events.shape[1]
        start, sx, g = scratch(INDEX, count), scratch(slope, count), scratch(slope, pairs)
        ky, dy, partial = scratch(slope, taps), scratch(slope, taps), scratch(slope, memory)
        for chunk in range(0, n, CHUNK * count):
            partial[:] = 0
            for i in range(chunk, min(chunk + CHUNK * count, n), count):
                bx, by = load(coords, i, count), load(coords, n + i, count)
                sy = place(bx, by, degree, stride, start, sx)
                store_taps(sy, degree, 0, ky)
                store_taps(sy, degree, 1, dy)
                for e in range(count):
                    a, b = gather(slope, start, (stride, e), (ky, dy), degree)
                    store(g, 2 * e, pair_total(a * taps_at(sx[e], degree, 1), b * taps_at(sx[e], degree, 0)))
                bearing = (bx - view[CX]) * (1 / view[FX]), (by - view[CY]) * (1 / view[FY])
                gx, gy = load_pairs(g, count)
                mx, my, mz, hx, hy, hz = torque(bearing, gx * view[FX], gy * view[FY])
                t = load(events, 2 * n + i, count)
                if moving:
                    scale = load(events, 3 * n + i, count) * load(coords, 2 * n + i, count)
                    mx, my, mz = scale * mx, scale * my, scale * mz
                    hx, hy, hz = add_translation(partial, t, table, twist, (mx, my, mz), (hx, hy, hz))
                add_rotation(partial, t, table, hx, hy, hz)
            for k in range(slots):
                sums[k // 3, k % 3] += total(load(partial, k * count, count))

    return backward


@numba.njit(forceinline=True)
def torque(bearing: Any, mx: Any, my: Any) -> Any:
    """m times the depth, and U x m, from the gradient to the bearing U = P / depth."""
    ux, uy = bearing
    mz = -(mx * ux + my * uy)
    return mx, my, mz, uy * mz - my, mx - ux * mz, ux * my - uy * mx


@numba.njit(forceinline=True)
def add_rotation(partial: Any, t: Any, table: Any, hx: Any, hy: Any, hz: Any) -> None:
    """Rows 0 to 2 of the sums."""
    t2 = t * t
    add3(partial, 0, t, (hx, hy, hz))
    add3(partial, 1, t2 * polynomial(table, B, t2), (hx, hy, hz))
    add3(partial, 2, t * t2 * polynomial(table, C, t2), (hx, hy, hz))


@numba.njit(forceinline=True)
def add_translation(partial: Any, t: Any, table: Any, twist: Any, m: Any, h: Any) -> Any:
    """Rows 5 to 9 of the sums; returns h for R X from that for P: h - rho V v x m."""
    t2 = t * t
    t3 = t * t2
    dx, dy, dz = shift(t, t2, table, twist)
    ex, ey, ez = cross(dx, dy, dz, m[0], m[1], m[2])
    add3(partial, 5, t, m)
    add3(partial, 6, t2 * polynomial(table, B, t2), m)
    add3(partial, 7, t3 * polynomial(table, C, t2), m)
    add3(partial, 8, t2 * t2 * polynomial(table, DB, t2), m)
    add3(partial, 9, t2 * t3 * polynomial(table, DC, t2), m)
    return h[0] - ex, h[1] - ey, h[2] - ez


@compiled
def pull_back(sums: Any, twist: Any) -> Any:
    """Gradient (6,) from the sums over the events (12, 3).

    dL/dv = sum rho V^T m and dL/dw = sum V^T h + d(rho V v)/dw, V^T a = t a - B w x a + C w x (w x a).
    """
    v, w = (twist[0], twist[1], twist[2]), (twist[3], twist[4], twist[5])
    k = cross3(w, v)
    n = cross3(w, k)
    out = np.zeros(6)
    bend = dot(sums[8], k) + dot(sums[9], n)
    moved = [(5, 6, 7), (0, 1, 2)]
    for part in range(2):
        one, two, three = moved[part]
        first, second = cross3(w, sums[two]), cross3(w, cross3(w, sums[three]))
        for i in range(3):
            out[3 * part + i] = sums[one, i] - first[i] + second[i]
    a, b, c = cross3(v, sums[6]), cross3(k, sums[7]), cross3(v, cross3(w, sums[7]))
    for i in range(3):
        out[3 + i] += a[i] + b[i] - c[i] + w[i] * bend
    return out
