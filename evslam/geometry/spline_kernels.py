"""Compiled parts of the rotation spline: matrices of the form I + p [v]x + q [v]x^2, steps, Jacobians, pull-back.

Rotations come as unit quaternions (x, y, z, w). The plain twins are scipy's Rotation and finite differences.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

_JIT = {"cache": True, "nogil": True, "error_model": "numpy"}
_SMALL = 1e-4  # squared angle below which a series of two terms is exact


@numba.njit(**_JIT)
def _axis_matrix(v: Any, p: float, q: float, out: Any) -> None:
    """I + p [v]x + q [v]x^2 into out (3, 3)."""
    x, y, z = v[0], v[1], v[2]
    square = x * x + y * y + z * z
    for i in range(3):
        for j in range(3):
            out[i, j] = q * v[i] * v[j]
        out[i, i] += 1.0 - q * square
    out[0, 1] -= p * z
    out[0, 2] += p * y
    out[1, 0] += p * z
    out[1, 2] -= p * x
    out[2, 0] -= p * y
    out[2, 1] += p * x


@numba.njit(**_JIT)
def exponential(v: Any, out: Any) -> None:
    """Rotation matrix of the rotation vector v (3,) into out (3, 3)."""
    s = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
    if s < _SMALL:
        _axis_matrix(v, 1.0 - s / 6, 0.5 - s / 24, out)
    else:
        angle = np.sqrt(s)
        _axis_matrix(v, np.sin(angle) / angle, (1.0 - np.cos(angle)) / s, out)


@numba.njit(**_JIT)
def left_jacobian(v: Any, out: Any) -> None:
    """J into out (3, 3): exp(v + d) = exp(J d) exp(v) for small d."""
    s = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
    if s < _SMALL:
        _axis_matrix(v, 0.5 - s / 24, 1.0 / 6 - s / 120, out)
    else:
        angle = np.sqrt(s)
        _axis_matrix(v, (1.0 - np.cos(angle)) / s, (1.0 - np.sin(angle) / angle) / s, out)


@numba.njit(**_JIT)
def inverse_left_jacobian(v: Any, out: Any) -> None:
    """Inverse of `left_jacobian` into out (3, 3), for |v| < 2 pi."""
    s = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
    half = 0.5 * np.sqrt(s)
    _axis_matrix(v, -0.5, 1.0 / 12 + s / 720 if s < _SMALL else (1.0 - half / np.tan(half)) / s, out)


@numba.njit(**_JIT)
def matrix(q: Any, out: Any) -> None:
    """Rotation matrix of a unit quaternion into out (3, 3)."""
    x, y, z, w = q[0], q[1], q[2], q[3]
    out[0, 0], out[0, 1], out[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)
    out[1, 0], out[1, 1], out[1, 2] = 2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)
    out[2, 0], out[2, 1], out[2, 2] = 2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)


@numba.njit(**_JIT)
def multiply(a: Any, b: Any, out: Any) -> None:
    """a b of two matrices (3, 3) into a third."""
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@numba.njit(**_JIT)
def cumulative_basis(knots: Any, degree: int, t: Any) -> Any:
    """First control rotation that matters (S,), and the cumulative basis functions l_1 ... l_p (S, p), by de Boor.

    Times (S,) lie within [knots[degree], knots[-degree - 1]].
    """
    first, share = np.empty(len(t), np.int64), np.empty((len(t), degree))
    last = len(knots) - degree - 2
    basis = np.empty(degree + 1)
    for s in range(len(t)):
        span = min(np.searchsorted(knots, t[s], side="right") - 1, last)
        basis[0] = 1.0
        for p in range(1, degree + 1):
            saved = 0.0
            for r in range(p):
                right, left = knots[span + r + 1] - t[s], t[s] - knots[span + 1 - p + r]
                part = basis[r] / (right + left)
                basis[r] = saved + right * part
                saved = left * part
            basis[p] = saved
        first[s] = span - degree
        total = 0.0
        for j in range(degree - 1, -1, -1):
            total += basis[j + 1]
            share[s, j] = total
    return first, share


@numba.njit(**_JIT)
def left_jacobians(v: Any) -> Any:
    """`left_jacobian` of each of v (N, 3): (N, 3, 3)."""
    out = np.empty((len(v), 3, 3))
    for n in range(len(v)):
        left_jacobian(v[n], out[n])
    return out


@numba.njit(**_JIT)
def _quaternion(v: Any, out: Any) -> None:
    """Unit quaternion of a rotation vector (3,) into out (4,)."""
    angle = np.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    part = np.sin(0.5 * angle) / angle if angle > 1e-12 else 0.5
    out[0], out[1], out[2], out[3] = part * v[0], part * v[1], part * v[2], np.cos(0.5 * angle)


@numba.njit(**_JIT)
def _compose(a: Any, b: Any, out: Any) -> None:
    """a b of two quaternions (4,) into a third."""
    out[0] = a[3] * b[0] + a[0] * b[3] + a[1] * b[2] - a[2] * b[1]
    out[1] = a[3] * b[1] - a[0] * b[2] + a[1] * b[3] + a[2] * b[0]
    out[2] = a[3] * b[2] + a[0] * b[1] - a[1] * b[0] + a[2] * b[3]
    out[3] = a[3] * b[3] - a[0] * b[0] - a[1] * b[1] - a[2] * b[2]


@numba.njit(**_JIT)
def turned(control: Any, delta: Any) -> Any:
    """Quaternions (K, 4), the last of them turned from the left by rotation vectors delta (F, 3)."""
    out, fixed, turn = control.copy(), len(control) - len(delta), np.empty(4)
    for k in range(len(delta)):
        _quaternion(delta[k], turn)
        _compose(turn, control[fixed + k], out[fixed + k])
    return out


@numba.njit(**_JIT)
def steps(control: Any) -> Any:
    """Steps d_k = log(R_(k-1)^T R_k) (K - 1, 3), and their derivatives (K - 1, 3, 3): small rotations e of R_k and
    R_(k-1) from the left change d_k by D_k (e_k - e_(k-1)).
    """
    count = len(control) - 1
    step, inward = np.empty((count, 3)), np.empty((count, 3, 3))
    before, inverse = np.empty((3, 3)), np.empty((3, 3))
    for k in range(count):
        ax, ay, az, aw = -control[k, 0], -control[k, 1], -control[k, 2], control[k, 3]
        bx, by, bz, bw = control[k + 1, 0], control[k + 1, 1], control[k + 1, 2], control[k + 1, 3]
        x = aw * bx + bw * ax + ay * bz - az * by
        y = aw * by + bw * ay + az * bx - ax * bz
        z = aw * bz + bw * az + ax * by - ay * bx
        w = aw * bw - ax * bx - ay * by - az * bz
        length = np.sqrt(x * x + y * y + z * z)
        sign = -1.0 if w < 0 else 1.0
        factor = sign * (2 * np.arctan2(length, sign * w) / length if length > 1e-12 else 2.0)
        step[k, 0], step[k, 1], step[k, 2] = factor * x, factor * y, factor * z
        matrix(control[k], before)
        inverse_left_jacobian(step[k], inverse)
        multiply(inverse, before.T, inward[k])
    return step, inward


@numba.njit(**_JIT)
def quaternions(control: Any, first: Any, share: Any) -> Any:
    """Unit quaternions (S, 4): the rotations of `evaluate`."""
    count, degree = share.shape
    step, _ = steps(control)
    out, turn, product = np.empty((count, 4)), np.empty(4), np.empty(4)
    for s in range(count):
        out[s] = control[first[s]]
        for j in range(degree):
            _quaternion(share[s, j] * step[first[s] + j], turn)
            _compose(out[s], turn, product)
            out[s] = product
    return out


@numba.njit(**_JIT)
def evaluate(control: Any, first: Any, share: Any) -> Any:
    """Rotation matrices (S, 3, 3), and Jacobians (S, p + 1, 3, 3): see `SplineSamples.jacobian`."""
    count, degree = share.shape
    step, inward = steps(control)
    rotation, jacobian = np.empty((count, 3, 3)), np.zeros((count, degree + 1, 3, 3))
    turn, left, carried, product = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    for s in range(count):
        now, out = rotation[s], jacobian[s]
        matrix(control[first[s]], now)
        for i in range(3):
            out[0, i, i] = 1.0
        for j in range(degree):
            k = first[s] + j
            part = share[s, j] * step[k]
            left_jacobian(part, left)
            multiply(now, left, product)
            multiply(product, inward[k], carried)
            out[j] -= share[s, j] * carried
            out[j + 1] += share[s, j] * carried
            exponential(part, turn)
            multiply(now, turn, product)
            now[:] = product
    return rotation, jacobian


@numba.njit(**_JIT)
def pull_back(first: Any, jacobian: Any, torque: Any, count: int) -> Any:
    """Gradient (count, 3) to the control rotations from the torques (S, 3) on the samples."""
    out = np.zeros((count, 3))
    for s in range(len(first)):
        for j in range(jacobian.shape[1]):
            for c in range(3):
                for r in range(3):
                    out[first[s] + j, c] += jacobian[s, j, r, c] * torque[s, r]
    return out


@numba.njit(**_JIT)
def blocks(first: Any, jacobian: Any, information: Any, out: Any) -> None:
    """Add J_a^T P J_b of every sample to out[first + a, b - a] for b >= a; out (K, >= p + 1, 3, 3)."""
    product = np.empty((3, 3))
    for s in range(len(information)):
        for a in range(jacobian.shape[1]):
            multiply(jacobian[s, a].T, information[s], product)
            for b in range(a, jacobian.shape[1]):
                target = out[first[s] + a, b - a]
                for i in range(3):
                    for j in range(3):
                        for r in range(3):
                            target[i, j] += product[i, r] * jacobian[s, b, r, j]
