"""Motion compensation on vectors of events: the closed form of `evslam.ops.cpu_warp`, with power series only.

With t the time of an event, w the angular and v the linear velocity, X = (x, y, 1) and r its inverse depth:

    P = X + A w x X + B w x (w x X) + r (t v + B w x v + C w x (w x v)),      V = t + B [w] + C [w]^2

A = sum_k (-|w|^2)^k t^(2k + 1) / (2k + 1)!, and B and C likewise with 2k + 2 and 2k + 3: polynomials in t^2 whose
coefficients are the same for all events of an evaluation.
"""

from __future__ import annotations

from math import factorial
from typing import Any

import numba
import numpy as np

from evslam.ops.fused_simd import splat, where_between

MAX_ANGLE = np.pi  # rad between an event and t_ref: beyond, the alternating series loses digits
_MOST_TERMS = 16
A, B, C, DB, DC, DDB, DDC = range(7)  # rows of the table of series
_NEAREST = 1e-3  # depth, relative to the point's, below which a point counts as behind the image plane


def _coefficient(first: int, order: int, k: int) -> float:
    """Of s^k in the order-th derivative to s of sum_k (-s)^k / (2k + first)!, times 2^order (see `series`)."""
    n = k + order
    return (-1.0) ** n * 2.0**order * factorial(n) / factorial(k) / factorial(2 * n + first)


_KINDS = ((1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (2, 2), (3, 2))
_TABLE = np.array([[_coefficient(*kind, k) for k in range(_MOST_TERMS)] for kind in _KINDS])


def series(omega: np.ndarray, longest: float, dtype: np.dtype) -> np.ndarray | None:
    """Coefficients (7, terms) in powers of t^2, highest first: of A / t, B / t^2, C / t^3, then of their derivatives.

    dB/dw = w DB, DB = t^4 (...); d(DB)/dw = w DDB, DDB = t^6 (...); for C one power of t more.

    Args:
        omega: (3,) rad/s. longest: largest |t| in s. dtype: of the events; decides how many terms are needed.

    Returns:
        None when an event turns by more than MAX_ANGLE, or so fast that a coefficient overflows.
    """
    rate = float(omega @ omega)
    s = rate * longest * longest
    if not s <= MAX_ANGLE**2:
        return None
    tolerance, terms, term = float(np.finfo(dtype).eps) / 8, 1, 1.0
    while terms < _MOST_TERMS and term > tolerance:
        term *= s / ((2 * terms) * (2 * terms + 1))
        terms += 1
    table = _TABLE[:, :terms] * rate ** np.arange(terms)
    if np.abs(table).max() > np.finfo(dtype).max:
        return None
    return np.ascontiguousarray(table[:, ::-1].astype(dtype))


@numba.njit(forceinline=True)
def polynomial(table: Any, row: int, t2: Any) -> Any:
    """Value of one of the series at t^2."""
    value = splat(table[row, 0], t2)
    for n in range(1, table.shape[1]):
        value = value * t2 + table[row, n]
    return value


@numba.njit(forceinline=True)
def cross(ax: Any, ay: Any, az: Any, bx: Any, by: Any, bz: Any) -> Any:
    """a x b."""
    return ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx


@numba.njit(forceinline=True)
def cross3(a: Any, b: Any) -> Any:
    """a x b of any two sequences of three."""
    return cross(a[0], a[1], a[2], b[0], b[1], b[2])


@numba.njit(forceinline=True)
def dot(a: Any, b: Any) -> Any:
    """a . b of any two sequences of three."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@numba.njit(forceinline=True)
def shift(t: Any, t2: Any, table: Any, twist: Any) -> Any:
    """V v: displacement of a point at inverse depth 1. The cross products stay scalar: v and w are common to all."""
    b, c = t2 * polynomial(table, B, t2), t * t2 * polynomial(table, C, t2)
    vx, vy, vz, wx, wy, wz = twist[0], twist[1], twist[2], twist[3], twist[4], twist[5]
    kx, ky, kz = cross(wx, wy, wz, vx, vy, vz)
    nx, ny, nz = cross(wx, wy, wz, kx, ky, kz)
    return t * vx + b * kx + c * nx, t * vy + b * ky + c * ny, t * vz + b * kz + c * nz


@numba.njit(forceinline=True)
def rotate(x: Any, y: Any, t: Any, t2: Any, table: Any, twist: Any) -> Any:
    """exp(t w) (x, y, 1), by w x (w x X) = w (w . X) - |w|^2 X."""
    wx, wy, wz = twist[3], twist[4], twist[5]
    a, b = t * polynomial(table, A, t2), t2 * polynomial(table, B, t2)
    along = b * (wx * x + wy * y + wz)
    stay = 1.0 - b * (wx * wx + wy * wy + wz * wz)
    px = stay * x + wx * along + a * (wy - wz * y)
    py = stay * y + wy * along + a * (wz * x - wx)
    pz = stay + wz * along + a * (wx * y - wy * x)
    return px, py, pz


@numba.njit(forceinline=True)
def inverse(z: Any) -> Any:
    """1 / z; not a number behind the image plane."""
    return where_between(z, _NEAREST, np.inf, 1.0 / z, np.nan)
