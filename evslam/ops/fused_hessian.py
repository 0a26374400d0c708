"""Fused kernel of second derivatives: Hessian of an objective of the image to the motion, exact for the layer's rules.

With u the bins of an event, J = du/dp, g and G first and second derivatives of the slope image dL/dH gathered at u:

    d2L = D^T (d2L/dH2) D + sum_i (J^T G J + g d2u/dp2),      D_p = dH/dp = scatter of J_p with kappa'

D is an image with a channel for each parameter; the rest are sums over the events.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from evslam.ops.fused_bins import CHUNK, CX, CY, FX, FY, INDEX, add3, compiled, place
from evslam.ops.fused_kernels import H_ROWS, M_ROWS, torque
from evslam.ops.fused_simd import LINE, add_to, load, load_line, load_pairs, pair_total, scratch, store, total
from evslam.ops.fused_taps import gather, spread, store_taps, taps_at
from evslam.ops.fused_warp import DB, DC, DDB, B, C, cross3, dot, polynomial

SUMS = 3 * (H_ROWS + M_ROWS)


@lru_cache
def compile_curvature(degree: int, moving: bool, dtype: np.dtype) -> Callable[..., None]:
    """curvature(events, motion, coords, slope, directions, sums): D and the sums over the events.

    directions: D, zero before. sums (57,) float64: those of `fused_kernels.compile_backward`, all 36, then pairs of
    parameters a <= b of J^T G J and of the parts of g d2u/dp2 that are no sums of vectors.
    """
    count, size = LINE // dtype.itemsize, 6 if moving else 3
    taps, pairs, slots = (degree + 1) * count, 2 * count, SUMS + size * (size + 1) // 2
    memory, columns, rest = slots * count, 3 * size * count, 9 * count

    @compiled
    def curvature(events: Any, motion: Any, coords: Any, slope: Any, directions: Any, sums: Any) -> None:
        twist, table, view, stride = motion
        n = events.shape[1]
        start, sx, partial = scratch(INDEX, count), scratch(slope, count), scratch(slope, memory)
        ky, dy, cy = scratch(slope, taps), scratch(slope, taps), scratch(slope, taps)
        ga, gb, gc = scratch(slope, pairs), scratch(slope, pairs), scratch(slope, pairs)
        jacobian, work = scratch(slope, columns), scratch(slope, rest)
        for chunk in range(0, n, CHUNK * count):
            partial[:] = 0
            for i in range(chunk, min(chunk + CHUNK * count, n), count):
                t, near, bins, bearing = _state(events, coords, i, view, moving)
                sy = place(bins[0], bins[1], degree, stride, start, sx)
                store_taps(sy, degree, 0, ky)
                store_taps(sy, degree, 1, dy)
                store_taps(sy, degree, 2, cy)
                shifted = differentiate(t, near, bearing, (twist, table, view), jacobian, work, size)
                for e in range(count):
                    kx, dx, cx = taps_at(sx[e], degree, 0), taps_at(sx[e], degree, 1), taps_at(sx[e], degree, 2)
                    a, b, c = gather(slope, start, (stride, e), (ky, dy, cy), degree)
                    store(ga, 2 * e, pair_total(a * dx, b * kx))
                    store(gb, 2 * e, pair_total(a * cx, c * kx))
                    store(gc, 2 * e, pair_total(b * dx, b * dx))
                    spread(directions, (start, ky, dy, jacobian), (stride, e), (kx, dx), degree, size)
                g, second = load_pairs(ga, count), load_pairs(gb, count)
                m = add_moments(partial, (t, near, table, view), bearing, g, shifted)
                add_pairs(partial, jacobian, g, (second[0], load_pairs(gc, count)[0], second[1]), size)
                add_turns(partial, work, m, bearing, shifted, size)
            for k in range(slots):
                sums[k] += total(load(partial, k * count, count))

    return curvature


@numba.njit(inline="always")
def _state(events: Any, coords: Any, i: int, view: Any, moving: bool) -> Any:
    """Of a vector of events: time, inverse depth over depth, bins, and the bearing after the warp."""
    n = events.shape[1]
    bx, by, t = load_line(coords, i), load_line(coords, n + i), load_line(events, 2 * n + i)
    near = 0 * t
    if moving:
        near = load_line(events, 3 * n + i) * load_line(coords, 2 * n + i)
    return t, near, (bx, by), ((bx - view[CX]) * (1 / view[FX]), (by - view[CY]) * (1 / view[FY]))


@numba.njit(inline="always")
def put3(memory: Any, row: int, x: Any, y: Any, z: Any) -> None:
    """Three vectors to rows of scratch memory."""
    count = LINE // memory.itemsize
    store(memory, row * count, x)
    store(memory, (row + 1) * count, y)
    store(memory, (row + 2) * count, z)


@numba.njit(inline="always")
def differentiate(t: Any, near: Any, bearing: Any, motion: Any, jacobian: Any, work: Any, size: int) -> Any:
    """Columns of V to `work`; J_x, J_y and dP_z / depth to `jacobian`, a row each. Returns rho V v / depth.

    Over the depth of P: dP/dw_a = (V e_a) x R X + rho d(V v)/dw_a and dP/dv_a = rho V e_a; near = rho / depth.
    """
    twist, table, view = motion
    w, v, t2 = (twist[3], twist[4], twist[5]), (twist[0], twist[1], twist[2]), t * t
    b, c = t2 * polynomial(table, B, t2), t * t2 * polynomial(table, C, t2)
    stay = t - c * dot(w, w)
    put3(work, 0, stay + c * (w[0] * w[0]), b * w[2] + c * (w[0] * w[1]), c * (w[0] * w[2]) - b * w[1])
    put3(work, 3, c * (w[0] * w[1]) - b * w[2], stay + c * (w[1] * w[1]), b * w[0] + c * (w[1] * w[2]))
    put3(work, 6, c * (w[0] * w[2]) + b * w[1], c * (w[1] * w[2]) - b * w[0], stay + c * (w[2] * w[2]))
    k = cross3(w, v)
    n = cross3(w, k)
    ux, uy = bearing
    dx = near * (t * v[0] + b * k[0] + c * n[0])
    dy = near * (t * v[1] + b * k[1] + c * n[1])
    dz = near * (t * v[2] + b * k[2] + c * n[2])
    for a in range(3):
        column = load3(work, 3 * a)
        px, py, pz = cross3(column, (ux - dx, uy - dy, 1.0 - dz))
        if size == 6:
            put_column(jacobian, a, size, (near * column[0], near * column[1], near * column[2]), bearing, view)
            ex, ey, ez = _bend(a, w, v, b, c)
            bend_b, bend_c = t2 * t2 * polynomial(table, DB, t2) * w[a], t * t2 * t2 * polynomial(table, DC, t2) * w[a]
            px = px + near * (ex + bend_b * k[0] + bend_c * n[0])
            py = py + near * (ey + bend_b * k[1] + bend_c * n[1])
            pz = pz + near * (ez + bend_b * k[2] + bend_c * n[2])
        put_column(jacobian, size - 3 + a, size, (px, py, pz), bearing, view)
    return dx, dy, dz


@numba.njit(forceinline=True)
def _bend(a: int, w: Any, v: Any, b: Any, c: Any) -> Any:
    """B e x v + C (e x (w x v) + w x (e x v)) for the unit vector e of an axis."""
    unit = (1.0 if a == 0 else 0.0, 1.0 if a == 1 else 0.0, 1.0 if a == 2 else 0.0)
    ev = cross3(unit, v)
    ek, we = cross3(unit, cross3(w, v)), cross3(w, ev)
    return b * ev[0] + c * (ek[0] + we[0]), b * ev[1] + c * (ek[1] + we[1]), b * ev[2] + c * (ek[2] + we[2])


@numba.njit(inline="always")
def put_column(jacobian: Any, a: int, size: int, point: Any, bearing: Any, view: Any) -> None:
    """Derivative to parameter a of the bins and of the depth, from that of the point (over its depth)."""
    count = LINE // jacobian.itemsize
    store(jacobian, a * count, (point[0] - bearing[0] * point[2]) * view[FX])
    store(jacobian, (size + a) * count, (point[1] - bearing[1] * point[2]) * view[FY])
    store(jacobian, (2 * size + a) * count, point[2])


@numba.njit(inline="always")
def add_moments(partial: Any, motion: Any, bearing: Any, gradient: Any, shifted: Any) -> Any:
    """The sums of vectors, rows 0 to 11; returns m times the depth. motion: (t, near, table, view)."""
    t, near, table, view = motion
    mx, my, mz, hx, hy, hz = torque(bearing, gradient[0] * view[FX], gradient[1] * view[FY])
    ex, ey, ez = cross3(shifted, (mx, my, mz))
    h, m = (hx - ex, hy - ey, hz - ez), (near * mx, near * my, near * mz)
    t2 = t * t
    power = t2
    add3(partial, 0, t, h)
    add3(partial, 5, t, m)
    for n in range(2):
        weight = power * polynomial(table, B + n, t2)
        bend = power * t2 * polynomial(table, DB + n, t2)
        add3(partial, 1 + n, weight, h)
        add3(partial, 3 + n, bend, h)
        add3(partial, 6 + n, weight, m)
        add3(partial, 8 + n, bend, m)
        add3(partial, 10 + n, power * t2 * t2 * polynomial(table, DDB + n, t2), m)
        power = t * power
    return mx, my, mz


@numba.njit(inline="always")
def add_pairs(partial: Any, jacobian: Any, g: Any, curve: Any, size: int) -> None:
    """J_a G J_b - (g J_a) z_b - z_a (g J_b) with z the derivative of the depth: G, and the projection's own bend."""
    count, k = LINE // partial.itemsize, SUMS
    for a in range(size):
        jx, jy = load_line(jacobian, a * count), load_line(jacobian, (size + a) * count)
        z = load_line(jacobian, (2 * size + a) * count)
        along = g[0] * jx + g[1] * jy
        gx, gy = curve[0] * jx + curve[1] * jy - g[0] * z, curve[1] * jx + curve[2] * jy - g[1] * z
        for b in range(a, size):
            value = gx * load_line(jacobian, b * count) + gy * load_line(jacobian, (size + b) * count)
            add_to(partial, k * count, value - along * load_line(jacobian, (2 * size + b) * count))
            k += 1


@numba.njit(inline="always")
def add_turns(partial: Any, work: Any, m: Any, bearing: Any, shifted: Any, size: int) -> None:
    """m (V e_a) x ((V e_b) x R X), symmetric part: the bend of the rotation; bearing: P over its depth."""
    count = LINE // partial.itemsize
    bend = dot(m, shifted)
    away = bearing[0] - shifted[0], bearing[1] - shifted[1], 1.0 - shifted[2]
    for a in range(3):
        va = load3(work, 3 * a)
        ma, ua = dot(m, va), dot(away, va)
        for b in range(a, 3):
            vb = load3(work, 3 * b)
            row = (size - 3 + a) * size - (size - 3 + a) * (size - 4 + a) // 2 + b - a
            value = 0.5 * (ma * dot(away, vb) + ua * dot(m, vb)) + bend * dot(va, vb)
            add_to(partial, (SUMS + row) * count, value)


@numba.njit(inline="always")
def load3(work: Any, row: int) -> Any:
    """Three vectors from rows of scratch memory."""
    count = LINE // work.itemsize
    return load_line(work, row * count), load_line(work, (row + 1) * count), load_line(work, (row + 2) * count)


@compiled
def assemble(sums: Any, twist: Any, size: int) -> Any:
    """Sum over the events of J^T G J + g d2u/dp2, (6, 6) or (3, 3), from the sums of `compile_curvature`."""
    out, k = np.zeros((size, size)), SUMS
    for a in range(size):
        for b in range(a, size):
            out[a, b] = out[b, a] = sums[k]
            k += 1
    rows = sums[:SUMS].reshape(-1, 3)
    first = size - 3
    v, w = twist[:3], twist[3:]
    turned, bent = _turned(rows, w), _bent(rows, v, w)
    for a in range(3):
        for b in range(3):
            out[first + a, first + b] += 0.5 * (turned[a, b] + turned[b, a]) + bent[3 + a, 3 + b]
            if first:
                out[a, 3 + b] += bent[a, 3 + b]
                out[3 + b, a] += bent[a, 3 + b]
    return out


@numba.njit(forceinline=True)
def _unit(axis: int) -> Any:
    return (1.0 if axis == 0 else 0.0, 1.0 if axis == 1 else 0.0, 1.0 if axis == 2 else 0.0)


@compiled
def _turned(rows: Any, w: Any) -> Any:
    """sum h (dV/dw_b e_a): dV/dw_b = B [e_b] + C ([e_b] [w] + [w] [e_b]) + w_b (DB [w] + DC [w]^2)."""
    out = np.zeros((3, 3))
    for a in range(3):
        wa = cross3(w, _unit(a))
        along = dot(rows[3], wa) + dot(rows[4], cross3(w, wa))
        for b in range(3):
            ba = cross3(_unit(b), _unit(a))
            out[a, b] = (
                dot(rows[1], ba) + dot(rows[2], cross3(_unit(b), wa)) + dot(rows[2], cross3(w, ba)) + w[b] * along
            )
    return out


@compiled
def _bent(rows: Any, v: Any, w: Any) -> Any:
    """Second derivatives of sum rho m V v, (6, 6), its rows and columns of v only above the diagonal."""
    out = np.zeros((6, 6))
    m_b, m_c = rows[6], rows[7]
    k = cross3(w, v)
    n = cross3(w, k)
    turn_b, turn_c = dot(rows[8], k), dot(rows[9], n)
    far = dot(rows[10], k) + dot(rows[11], n)
    d_b, d_c = rows[8], rows[9]
    for a in range(3):
        for b in range(3):
            same = 1.0 if a == b else 0.0
            value = far * w[a] * w[b] + (turn_b + turn_c) * same
            value += w[a] * _slope_b(d_b, v, b) + w[b] * _slope_b(d_b, v, a)
            value += w[a] * _slope_c(d_c, v, w, b) + w[b] * _slope_c(d_c, v, w, a)
            value += m_c[a] * v[b] + m_c[b] * v[a] - 2 * same * dot(m_c, v)
            out[3 + a, 3 + b] = value
            e = _unit(b)
            left, right = cross3(e, cross3(w, m_c)), cross3(w, cross3(e, m_c))
            lean = cross3(w, d_c)
            out[a, 3 + b] = left[a] + right[a] - cross3(e, m_b)[a] + w[b] * (cross3(w, lean)[a] - cross3(w, d_b)[a])
    return out


@numba.njit(forceinline=True)
def _slope_b(m: Any, v: Any, axis: int) -> Any:
    """Derivative of m (w x v) to w."""
    return cross3(v, m)[axis]


@numba.njit(forceinline=True)
def _slope_c(m: Any, v: Any, w: Any, axis: int) -> Any:
    """Derivative of m (w x (w x v)) = (w m) (w v) - |w|^2 m v to w."""
    return m[axis] * dot(w, v) + dot(w, m) * v[axis] - 2 * w[axis] * dot(m, v)
