"""Numba kernels of motion compensation; twin of `evslam.warp.warp_events_reference`.

exp(t twist) X = X + A w x X + B w x (w x X) + rho (t v + B w x v + C w x (w x v)) with X = (x, y, 1) and
A = t a(s), B = t^2 b(s), C = t^3 c(s), s = |w|^2 t^2, a = sin / theta, b = (1 - cos) / s, c = (1 - a) / s.
Below s = 1 the functions are power series (exact to double precision with ten terms), so zero is no special case.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numba
import numpy as np

_TERMS = 10
_FEW, _FEW_BELOW = 5, 0.02  # so many terms are exact below that s
# sum_n (-s)^n / (2 n + k)!: a for k = 1, b for k = 2, c for k = 3
_SERIES = np.array([[(-1.0) ** n / factorial(2 * n + k) for n in range(_TERMS)] for k in (1, 2, 3)])
_JIT = {"cache": True, "nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}
_NEAREST = 1e-3  # depth, relative to the point's, below which a point counts as behind the image plane


@numba.njit(inline="always")
def _cross(ax: float, ay: float, az: float, bx: float, by: float, bz: float) -> Any:
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@numba.njit(inline="always")
def _series(s: float, k: int, terms: int) -> float:
    value = _SERIES[k, terms - 1]
    for n in range(terms - 1):
        value = value * s + _SERIES[k, terms - 2 - n]
    return value


@numba.njit(inline="always")
def _slope(s: float, k: int) -> float:  # derivative of the series to s
    value = (_TERMS - 1) * _SERIES[k, _TERMS - 1]
    for n in range(_TERMS - 2):
        m = _TERMS - 2 - n
        value = value * s + m * _SERIES[k, m]
    return value


@numba.njit(inline="always")
def _abc(s: float) -> Any:
    if s < _FEW_BELOW:
        return _series(s, 0, _FEW), _series(s, 1, _FEW), _series(s, 2, _FEW)
    if s < 1.0:
        return _series(s, 0, _TERMS), _series(s, 1, _TERMS), _series(s, 2, _TERMS)
    theta = np.sqrt(s)
    a = np.sin(theta) / theta
    return a, (1.0 - np.cos(theta)) / s, (1.0 - a) / s


@numba.njit(inline="always")
def _slopes(s: float, a: float, b: float, c: float) -> Any:
    if s < 1.0:
        return _slope(s, 1), _slope(s, 2)
    da = (1.0 - s * b - a) / (2.0 * s)
    return (0.5 * a - b) / s, (-da - c) / s


@numba.njit(**_JIT)
def forward(bearing: Any, t: Any, twist: Any, rho: Any, out: Any) -> None:
    """out (N, 2) warped bearings; twist (6,) float64; rho (N,) or (1,) inverse depth. NaN behind the image plane."""
    vx, vy, vz, wx, wy, wz = twist
    rate = wx * wx + wy * wy + wz * wz
    mx, my, mz = _cross(wx, wy, wz, vx, vy, vz)
    nx, ny, nz = _cross(wx, wy, wz, mx, my, mz)
    step = 1 if len(rho) > 1 else 0
    for i in range(len(t)):
        x, y, ti, r = float(bearing[i, 0]), float(bearing[i, 1]), float(t[i]), float(rho[i * step])
        a, b, c = _abc(rate * ti * ti)
        a, b, c = a * ti, b * ti * ti, c * ti * ti * ti
        px, py, pz = _cross(wx, wy, wz, x, y, 1.0)
        qx, qy, qz = _cross(wx, wy, wz, px, py, pz)
        z = 1.0 + a * pz + b * qz + r * (ti * vz + b * mz + c * nz)
        z = 1.0 / z if z > _NEAREST else np.nan
        out[i, 0] = (x + a * px + b * qx + r * (ti * vx + b * mx + c * nx)) * z
        out[i, 1] = (y + a * py + b * qy + r * (ti * vy + b * my + c * ny)) * z


@numba.njit(**_JIT)
def backward(bearing: Any, t: Any, twist: Any, rho: Any, grad: Any) -> Any:
    """Gradient (6,) float64 to the twist for the gradient (N, 2) to the warped bearings.

    With P the moved point and m = dL/dP: dL/dv = rho V^T m and dL/dw = V^T (R X x m) + d(rho V v)/dw, V = t J_l(t w).
    """
    vx, vy, vz, wx, wy, wz = twist
    rate = wx * wx + wy * wy + wz * wz
    kx, ky, kz = _cross(wx, wy, wz, vx, vy, vz)
    nx, ny, nz = _cross(wx, wy, wz, kx, ky, kz)
    step = 1 if len(rho) > 1 else 0
    total = np.zeros(6)
    for i in range(len(t)):
        x, y, ti, r = float(bearing[i, 0]), float(bearing[i, 1]), float(t[i]), float(rho[i * step])
        s = rate * ti * ti
        a0, b0, c0 = _abc(s)
        a, b, c = a0 * ti, b0 * ti * ti, c0 * ti * ti * ti
        px, py, pz = _cross(wx, wy, wz, x, y, 1.0)
        qx, qy, qz = _cross(wx, wy, wz, px, py, pz)
        rx, ry, rz = x + a * px + b * qx, y + a * py + b * qy, 1.0 + a * pz + b * qz
        z = rz + r * (ti * vz + b * kz + c * nz)
        gx, gy = float(grad[i, 0]), float(grad[i, 1])
        if not z > _NEAREST:
            continue
        ux = (rx + r * (ti * vx + b * kx + c * nx)) / z
        uy = (ry + r * (ti * vy + b * ky + c * ny)) / z
        mx, my, mz = gx / z, gy / z, -(gx * ux + gy * uy) / z
        hx, hy, hz = _cross(rx, ry, rz, mx, my, mz)
        ex, ey, ez = _cross(wx, wy, wz, hx, hy, hz)
        fx, fy, fz = _cross(wx, wy, wz, ex, ey, ez)
        total[3] += ti * hx - b * ex + c * fx
        total[4] += ti * hy - b * ey + c * fy
        total[5] += ti * hz - b * ez + c * fz
        if r == 0.0:
            continue
        # V^T m = t m - B w x m + C w x (w x m)
        ax, ay, az = _cross(wx, wy, wz, mx, my, mz)
        dx, dy, dz = _cross(wx, wy, wz, ax, ay, az)
        total[0] += r * (ti * mx - b * ax + c * dx)
        total[1] += r * (ti * my - b * ay + c * dy)
        total[2] += r * (ti * mz - b * az + c * dz)
        # d(V v)/dw: B v x m + C ((w x v) x m - v x (w x m)) + 2 w (B' m.(w x v) + C' m.(w x (w x v)))
        db, dc = _slopes(s, a0, b0, c0)
        scale = 2.0 * ti**4 * db * (mx * kx + my * ky + mz * kz)
        scale += 2.0 * ti**5 * dc * (mx * nx + my * ny + mz * nz)
        ix, iy, iz = _cross(vx, vy, vz, mx, my, mz)
        jx, jy, jz = _cross(kx, ky, kz, mx, my, mz)
        lx, ly, lz = _cross(vx, vy, vz, ax, ay, az)
        total[3] += r * (b * ix + c * (jx - lx) + scale * wx)
        total[4] += r * (b * iy + c * (jy - ly) + scale * wy)
        total[5] += r * (b * iz + c * (jz - lz) + scale * wz)
    return total
