"""Compiled parts of bundle adjustment: errors, linearisation, Schur complement.

A camera moves by a twist (v, omega) on the left, T_cam_world <- exp(twist) T_cam_world. Errors are in pixels; a robust
cost weighs them by Cauchy's function. A point behind its camera has the error BEHIND_PX and no gradient.
"""

from __future__ import annotations

import numpy as np
from numba import njit

BEHIND_PX = 50.0
MIN_DEPTH = 1e-3


@njit(cache=True, nogil=True, inline="always")
def _camera_point(pose, point):
    x = pose[0, 0] * point[0] + pose[0, 1] * point[1] + pose[0, 2] * point[2] + pose[0, 3]
    y = pose[1, 0] * point[0] + pose[1, 1] * point[1] + pose[1, 2] * point[2] + pose[1, 3]
    z = pose[2, 0] * point[0] + pose[2, 1] * point[1] + pose[2, 2] * point[2] + pose[2, 3]
    return x, y, z


@njit(cache=True, nogil=True)
def measure(poses, points, view, point, bearing, normal, weight, focal, scale, error):
    """Fills the error (N,) in pixels, across the edge for points on edges; returns the robust cost."""
    cost, square = 0.0, scale * scale
    for i in range(len(view)):
        x, y, z = _camera_point(poses[view[i]], points[point[i]])
        if z < MIN_DEPTH:
            error[i] = BEHIND_PX
        else:
            du = focal * (x / z - bearing[i, 0])
            dv = focal * (y / z - bearing[i, 1])
            if normal[i, 0] != 0.0 or normal[i, 1] != 0.0:
                error[i] = min(abs(du * normal[i, 0] + dv * normal[i, 1]), BEHIND_PX)
            else:
                error[i] = min(np.sqrt(du * du + dv * dv), BEHIND_PX)
        cost += 0.5 * weight[i] * square * np.log1p(error[i] * error[i] / square)
    return cost


@njit(cache=True, nogil=True)
def jacobian(pose, world, bearing, normal, focal, camera_rows, point_rows, residual):
    """Fills residual (2,), camera_rows (2, 6) and point_rows (2, 3); returns the number of rows, 0 behind the camera."""
    x, y, z = _camera_point(pose, world)
    if z < MIN_DEPTH:
        return 0
    inverse = 1.0 / z
    a, b, c = focal * inverse, -focal * x * inverse * inverse, -focal * y * inverse * inverse
    residual[0] = focal * (x * inverse - bearing[0])
    residual[1] = focal * (y * inverse - bearing[1])
    u, v = camera_rows[0], camera_rows[1]
    u[0], u[1], u[2] = a, 0.0, b
    v[0], v[1], v[2] = 0.0, a, c
    u[3], u[4], u[5] = b * y, a * z - b * x, -a * y
    v[3], v[4], v[5] = c * y - a * z, -c * x, a * x
    for k in range(3):
        point_rows[0, k] = a * pose[0, k] + b * pose[2, k]
        point_rows[1, k] = a * pose[1, k] + c * pose[2, k]
    if normal[0] == 0.0 and normal[1] == 0.0:
        return 2
    residual[0] = normal[0] * residual[0] + normal[1] * residual[1]
    for k in range(6):
        u[k] = normal[0] * u[k] + normal[1] * v[k]
    for k in range(3):
        point_rows[0, k] = normal[0] * point_rows[0, k] + normal[1] * point_rows[1, k]
    return 1


@njit(cache=True, nogil=True)
def linearise(poses, points, slot, view, point, bearing, normal, weight, focal, scale, system):
    """Robust normal equations of cameras and points.

    Args:
        slot: (C,) number among the free cameras, -1 for a fixed one.
        system: arrays to fill: camera blocks (F, 6, 6) and gradients (F, 6), point blocks (P, 3, 3) and gradients (P, 3),
            coupling (N, 6, 3) of each observation.
    """
    camera_block, camera_gradient, point_block, point_gradient, coupling = system
    camera_block[:], camera_gradient[:], point_block[:], point_gradient[:], coupling[:] = 0.0, 0.0, 0.0, 0.0, 0.0
    camera_rows, point_rows, residual = np.zeros((2, 6)), np.zeros((2, 3)), np.zeros(2)
    square = scale * scale
    for i in range(len(view)):
        k, p = view[i], point[i]
        rows = jacobian(poses[k], points[p], bearing[i], normal[i], focal, camera_rows, point_rows, residual)
        if rows == 0:
            continue
        error2 = residual[0] * residual[0] + (residual[1] * residual[1] if rows == 2 else 0.0)
        if error2 > BEHIND_PX * BEHIND_PX:
            continue
        w = weight[i] / (1.0 + error2 / square)
        f = slot[k]
        for r in range(rows):
            j, q, e = camera_rows[r], point_rows[r], residual[r]
            for a in range(3):
                wq = w * q[a]
                point_gradient[p, a] += wq * e
                for b in range(3):
                    point_block[p, a, b] += wq * q[b]
            if f < 0:
                continue
            for a in range(6):
                wj = w * j[a]
                camera_gradient[f, a] += wj * e
                for b in range(a + 1):
                    camera_block[f, a, b] += wj * j[b]
                for b in range(3):
                    coupling[i, a, b] += wj * q[b]
    for f in range(len(camera_block)):
        for a in range(6):
            for b in range(a):
                camera_block[f, b, a] = camera_block[f, a, b]


@njit(cache=True, nogil=True)
def _invert(matrix, damping, out):
    """Inverse of a damped symmetric 3 x 3 matrix."""
    a, d, f = matrix[0, 0] * (1 + damping), matrix[1, 1] * (1 + damping), matrix[2, 2] * (1 + damping)
    a, d, f = a + 1e-9, d + 1e-9, f + 1e-9
    b, c, e = matrix[0, 1], matrix[0, 2], matrix[1, 2]
    p, q, r = d * f - e * e, c * e - b * f, b * e - c * d
    inverse = 1.0 / (a * p + b * q + c * r)
    out[0, 0], out[0, 1], out[0, 2] = p * inverse, q * inverse, r * inverse
    out[1, 0], out[1, 1], out[1, 2] = q * inverse, (a * f - c * c) * inverse, (b * c - a * e) * inverse
    out[2, 0], out[2, 1], out[2, 2] = r * inverse, (b * c - a * e) * inverse, (a * d - b * b) * inverse


@njit(cache=True, nogil=True)
def reduce(slot, view, first, damping, system, inverse, matrix, right):
    """Schur complement: fills matrix (6F, 6F) and right (6F,) of the free cameras' step, and inverse (P, 3, 3).

    first: (P + 1,) index of each point's first observation.
    """
    camera_block, camera_gradient, point_block, point_gradient, coupling = system
    matrix[:] = 0.0
    for f in range(len(camera_block)):
        for a in range(6):
            right[6 * f + a] = -camera_gradient[f, a]
            for b in range(6):
                matrix[6 * f + a, 6 * f + b] = camera_block[f, a, b]
            matrix[6 * f + a, 6 * f + a] += damping * camera_block[f, a, a] + 1e-9
    left = np.zeros((6, 3))
    for p in range(len(first) - 1):
        start, stop = first[p], first[p + 1]
        if start == stop:
            continue
        _invert(point_block[p], damping, inverse[p])
        m, g = inverse[p], point_gradient[p]
        for x in range(start, stop):
            f = slot[view[x]]
            if f < 0:
                continue
            for a in range(6):
                for b in range(3):
                    left[a, b] = coupling[x, a, 0] * m[0, b] + coupling[x, a, 1] * m[1, b] + coupling[x, a, 2] * m[2, b]
                right[6 * f + a] += left[a, 0] * g[0] + left[a, 1] * g[1] + left[a, 2] * g[2]
            for y in range(start, stop):
                h = slot[view[y]]
                if h < f:  # the other half follows by symmetry
                    continue
                for a in range(6):
                    for b in range(6):
                        matrix[6 * f + a, 6 * h + b] -= (
                            left[a, 0] * coupling[y, b, 0]
                            + left[a, 1] * coupling[y, b, 1]
                            + left[a, 2] * coupling[y, b, 2]
                        )
    size = len(matrix)
    for a in range(size):
        for b in range(a):
            matrix[a, b] = matrix[b, a]


@njit(cache=True, nogil=True)
def step_points(points, slot, view, first, system, inverse, step, out):
    """Fills out (P, 3) with the points after the step (6F,) of the cameras."""
    _, _, _, point_gradient, coupling = system
    total = np.zeros(3)
    for p in range(len(points)):
        out[p] = points[p]
        if first[p] == first[p + 1]:
            continue
        total[:] = point_gradient[p]
        for x in range(first[p], first[p + 1]):
            f = slot[view[x]]
            if f < 0:
                continue
            for b in range(3):
                for a in range(6):
                    total[b] += coupling[x, a, b] * step[6 * f + a]
        for a in range(3):
            out[p, a] -= inverse[p, a, 0] * total[0] + inverse[p, a, 1] * total[1] + inverse[p, a, 2] * total[2]


@njit(cache=True, nogil=True)
def move(pose, twist, out):
    """out (4, 4) = exp(twist) pose, with the translation of the exponential to first order in the coupling."""
    v, w = twist[:3], twist[3:]
    angle = np.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
    a, b = (1.0, 0.5) if angle < 1e-9 else (np.sin(angle) / angle, (1 - np.cos(angle)) / (angle * angle))
    k = np.zeros((3, 3))
    k[0, 1], k[0, 2], k[1, 0], k[1, 2], k[2, 0], k[2, 1] = -w[2], w[1], w[2], -w[0], -w[1], w[0]
    rotation = np.eye(3) + a * k + b * (k @ k)
    out[:] = pose
    out[:3, :3] = rotation @ np.ascontiguousarray(pose[:3, :3])
    out[:3, 3] = rotation @ np.ascontiguousarray(pose[:3, 3]) + v


@njit(cache=True, nogil=True)
def fit_pose(start, points, bearing, normal, weight, focal, scale, iterations, error):
    """Levenberg-Marquardt of one pose; fills error (N,), returns pose, cost and Hessian (6, 6)."""
    number = len(points)
    view, point = np.zeros(number, np.int64), np.arange(number)
    poses, trial = start.copy().reshape(1, 4, 4), np.zeros((1, 4, 4))
    camera_rows, point_rows, residual = np.zeros((2, 6)), np.zeros((2, 3)), np.zeros(2)
    cost = measure(poses, points, view, point, bearing, normal, weight, focal, scale, error)
    square, damping = scale * scale, 1e-3
    hessian, gradient = np.zeros((6, 6)), np.zeros(6)
    for iteration in range(iterations + 1):
        hessian[:], gradient[:] = 0.0, 0.0
        for i in range(number):
            rows = jacobian(poses[0], points[i], bearing[i], normal[i], focal, camera_rows, point_rows, residual)
            if rows == 0:
                continue
            error2 = residual[0] * residual[0] + (residual[1] * residual[1] if rows == 2 else 0.0)
            if error2 > BEHIND_PX * BEHIND_PX:
                continue
            w = weight[i] / (1.0 + error2 / square)
            for r in range(rows):
                for a in range(6):
                    wj = w * camera_rows[r, a]
                    gradient[a] += wj * residual[r]
                    for b in range(a + 1):
                        hessian[a, b] += wj * camera_rows[r, b]
        for a in range(6):
            for b in range(a):
                hessian[b, a] = hessian[a, b]
        if iteration == iterations:
            break
        gained = 0.0
        for _ in range(4):
            damped = hessian.copy()
            for a in range(6):
                damped[a, a] += damping * hessian[a, a] + 1e-9
            move(poses[0], np.linalg.solve(damped, -gradient), trial[0])
            new = measure(trial, points, view, point, bearing, normal, weight, focal, scale, error)
            if new < cost:
                gained = (cost - new) / cost
                poses[0], cost, damping = trial[0], new, max(0.2 * damping, 1e-7)
                break
            damping *= 8
        if gained < 1e-5:
            iterations = iteration + 1
    measure(poses, points, view, point, bearing, normal, weight, focal, scale, error)
    return poses[0], cost, hessian
