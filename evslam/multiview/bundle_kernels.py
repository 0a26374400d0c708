"""Compiled parts of bundle adjustment: linearisation, elimination of the points, step.

The normal equations [A W; W' B] have blocks (6, 6) of the free cameras in A and (3, 3) of the free points in B. With
B = L L' and U = W L'^-1 the points drop out: S = A - U U'.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from evslam.multiview.projection_kernels import JIT, MAX_ERROR_PX, move_pose, observe

_LEAST_PIVOT = 1e-14  # relative, of the Cholesky factor of a point's block


class Data(NamedTuple):
    """What does not change while adjusting.

    Attributes:
        start: (P + 1,) first observation of each point.
        camera, bearing, normal, weight: of the observations; the camera is the view of `Observations`.
        slot: (C,) index among the free cameras, -1 for fixed ones.
        is_free_point: (P,) bool.
        guess: (P, 3) where each point was guessed. pull: (P, 3) the direction in which it was, over its standard
            deviation there; zero for a point that was not guessed.
        lens: (2,) focal length and Cauchy scale, pixels.
    """

    start: np.ndarray
    camera: np.ndarray
    bearing: np.ndarray
    normal: np.ndarray
    weight: np.ndarray
    slot: np.ndarray
    is_free_point: np.ndarray
    guess: np.ndarray
    pull: np.ndarray
    lens: np.ndarray


class Normal(NamedTuple):
    """Normal equations at one state; written by `linearise`.

    Attributes:
        camera: (F, 6, 6) upper triangles. camera_gradient: (F, 6).
        point: (P, 3, 3) upper triangles. point_gradient: (P, 3).
        mixed: (N, 6, 3), zero unless both the camera and the point are free.
        error: (N,) pixels.
    """

    camera: np.ndarray
    camera_gradient: np.ndarray
    point: np.ndarray
    point_gradient: np.ndarray
    mixed: np.ndarray
    error: np.ndarray


class Eliminated(NamedTuple):
    """The damped system without its points; written by `eliminate`.

    Attributes:
        blocks: (F, F, 6, 6) S, those of the upper triangle. gradient: (6 F,).
        factor: (P, 3, 3) L. mixed: (N, 3, 6) U'. point_gradient: (P, 3) L^-1 times the point's gradient.
    """

    blocks: np.ndarray
    gradient: np.ndarray
    factor: np.ndarray
    mixed: np.ndarray
    point_gradient: np.ndarray


@njit(**JIT)
def linearise(poses: Any, points: Any, data: Data, first: int, stop: int, normal: Normal) -> float:
    """Writes the normal equations and errors at a state by some of the points, [first, stop); returns their cost."""
    focal, scale = data.lens
    residual, jacobian = np.empty(2), np.empty((2, 9))
    normal.camera[:], normal.camera_gradient[:] = 0.0, 0.0
    normal.point[first:stop], normal.point_gradient[first:stop] = 0.0, 0.0
    cost, pulled = 0.0, 0.0
    for p in range(first, stop):
        for i in range(data.start[p], data.start[p + 1]):
            view = data.camera[i]
            rows = observe(poses[view], points[p], data.bearing[i], data.normal[i], focal, residual, jacobian)
            square = MAX_ERROR_PX**2
            if rows > 0:
                square = residual[0] * residual[0] + residual[1] * residual[1]
            ratio = square / (scale * scale)
            normal.error[i] = np.sqrt(square)
            cost += data.weight[i] * np.log1p(ratio)
            _add(
                normal,
                i,
                (p, data.is_free_point[p], data.slot[view]),
                data.weight[i] / (1.0 + ratio),
                residual,
                (rows, jacobian),
            )
        if data.is_free_point[p]:
            off = 0.0
            for a in range(3):
                off += data.pull[p, a] * (points[p, a] - data.guess[p, a])
            pulled += off * off
            for a in range(3):
                normal.point_gradient[p, a] += data.pull[p, a] * off
                for b in range(a, 3):
                    normal.point[p, a, b] += data.pull[p, a] * data.pull[p, b]
    return 0.5 * (scale * scale * cost + pulled)


@njit(inline="always", **JIT)
def _add(normal: Normal, i: int, owner: Any, weight: float, residual: Any, derivative: Any) -> None:
    """Adds observation i of (point, is it free, slot of its camera) to the normal equations, by (rows, Jacobian)."""
    (p, is_free_point, slot), (rows, jacobian) = owner, derivative
    for a in range(6):
        for b in range(3):
            normal.mixed[i, a, b] = 0.0
    for row in range(rows):
        if slot >= 0:
            for a in range(6):
                part = weight * jacobian[row, a]
                normal.camera_gradient[slot, a] += part * residual[row]
                for b in range(a, 6):
                    normal.camera[slot, a, b] += part * jacobian[row, b]
                if is_free_point:
                    for b in range(3):
                        normal.mixed[i, a, b] += part * jacobian[row, 6 + b]
        if is_free_point:
            for a in range(3):
                part = weight * jacobian[row, 6 + a]
                normal.point_gradient[p, a] += part * residual[row]
                for b in range(a, 3):
                    normal.point[p, a, b] += part * jacobian[row, 6 + b]


@njit(**JIT)
def eliminate(data: Data, normal: Normal, damping: float, out: Eliminated) -> None:
    """Writes the system of the cameras alone, with diagonals grown by the factor 1 + damping."""
    factorise_points(data, normal, damping, out)
    subtract_points(data, 0, len(normal.camera), out)


@njit(**JIT)
def factorise_points(data: Data, normal: Normal, damping: float, out: Eliminated) -> None:
    """Writes all but what the points take from the system of the cameras, with diagonals grown by 1 + damping."""
    out.blocks[:] = 0.0
    for f in range(len(normal.camera)):
        for a in range(6):
            out.gradient[6 * f + a] = normal.camera_gradient[f, a]
            for b in range(a, 6):
                out.blocks[f, f, a, b] = normal.camera[f, a, b]
            diagonal = normal.camera[f, a, a]
            out.blocks[f, f, a, a] = diagonal * (1.0 + damping) if diagonal > 0.0 else 1.0
    for p in range(len(normal.point)):
        if not data.is_free_point[p]:
            continue
        _factorise(normal.point[p], damping, out.factor[p])
        _solve_lower(out.factor[p], normal.point_gradient[p], out.point_gradient[p])
        for i in range(data.start[p], data.start[p + 1]):
            if data.slot[data.camera[i]] >= 0:
                _solve_mixed(out.factor, p, normal.mixed, i, out.mixed)


@njit(**JIT)
def subtract_points(data: Data, first: int, stop: int, out: Eliminated) -> None:
    """Takes the points from the rows of some cameras, whose slots are in [first, stop)."""
    for p in range(len(data.is_free_point)):
        if not data.is_free_point[p]:
            continue
        for i in range(data.start[p], data.start[p + 1]):
            slot = data.slot[data.camera[i]]
            if slot < first:
                continue
            if slot < stop:
                for a in range(6):
                    for k in range(3):
                        out.gradient[6 * slot + a] -= out.mixed[i, k, a] * out.point_gradient[p, k]
            for j in range(data.start[p], i + 1):
                other = data.slot[data.camera[j]]
                f, g, one, two = (slot, other, i, j) if slot <= other else (other, slot, j, i)
                if first <= f < stop:
                    _subtract(out.blocks, (f, g), out.mixed, one, two)
                    if f == g and i != j:
                        _subtract(out.blocks, (f, g), out.mixed, two, one)


@njit(inline="always", **JIT)
def _subtract(blocks: Any, place: Any, u: Any, i: int, j: int) -> None:
    """Subtracts u[i]' u[j] from the block (6, 6) at a place; in single numbers, which stay in registers."""
    f, g = place
    p0, p1, p2, p3, p4, p5 = u[j, 0, 0], u[j, 0, 1], u[j, 0, 2], u[j, 0, 3], u[j, 0, 4], u[j, 0, 5]
    q0, q1, q2, q3, q4, q5 = u[j, 1, 0], u[j, 1, 1], u[j, 1, 2], u[j, 1, 3], u[j, 1, 4], u[j, 1, 5]
    r0, r1, r2, r3, r4, r5 = u[j, 2, 0], u[j, 2, 1], u[j, 2, 2], u[j, 2, 3], u[j, 2, 4], u[j, 2, 5]
    for a in range(6):
        x, y, z = u[i, 0, a], u[i, 1, a], u[i, 2, a]
        s0 = blocks[f, g, a, 0] - (x * p0 + y * q0 + z * r0)
        s1 = blocks[f, g, a, 1] - (x * p1 + y * q1 + z * r1)
        s2 = blocks[f, g, a, 2] - (x * p2 + y * q2 + z * r2)
        s3 = blocks[f, g, a, 3] - (x * p3 + y * q3 + z * r3)
        s4 = blocks[f, g, a, 4] - (x * p4 + y * q4 + z * r4)
        s5 = blocks[f, g, a, 5] - (x * p5 + y * q5 + z * r5)
        blocks[f, g, a, 0], blocks[f, g, a, 1], blocks[f, g, a, 2] = s0, s1, s2
        blocks[f, g, a, 3], blocks[f, g, a, 4], blocks[f, g, a, 5] = s3, s4, s5


@njit(inline="always", **JIT)
def _solve_mixed(factor: Any, p: int, mixed: Any, i: int, out: Any) -> None:
    """L^-1 W' of observation i of point p."""
    for a in range(6):
        x = mixed[i, a, 0] / factor[p, 0, 0]
        y = (mixed[i, a, 1] - factor[p, 1, 0] * x) / factor[p, 1, 1]
        z = (mixed[i, a, 2] - factor[p, 2, 0] * x - factor[p, 2, 1] * y) / factor[p, 2, 2]
        out[i, 0, a], out[i, 1, a], out[i, 2, a] = x, y, z


@njit(inline="always", **JIT)
def _factorise(block: Any, damping: float, out: Any) -> None:
    """Lower Cholesky factor (3, 3) of an upper triangle with a grown diagonal; a direction not seen stays."""
    for k in range(3):
        diagonal = block[k, k] * (1.0 + damping)
        pivot = diagonal
        for m in range(k):
            pivot -= out[k, m] * out[k, m]
        out[k, k] = np.sqrt(pivot) if pivot > _LEAST_PIVOT * diagonal else np.inf
        for i in range(k + 1, 3):
            value = block[k, i]
            for m in range(k):
                value -= out[i, m] * out[k, m]
            out[i, k] = value / out[k, k]


@njit(inline="always", **JIT)
def _solve_lower(factor: Any, vector: Any, out: Any) -> None:
    """L^-1 times a vector (3,)."""
    out[0] = vector[0] / factor[0, 0]
    out[1] = (vector[1] - factor[1, 0] * out[0]) / factor[1, 1]
    out[2] = (vector[2] - factor[2, 0] * out[0] - factor[2, 1] * out[1]) / factor[2, 2]


@njit(**JIT)
def move(state: Any, step: Any, data: Data, eliminated: Eliminated, new_state: Any) -> float:
    """Writes the state (poses, points) after a step (6 F,) of the cameras and the points' share of it.

    Returns:
        Minus the product of the gradient and the step of the points.
    """
    poses, points = state
    new_poses, new_points = new_state
    for c in range(len(poses)):
        slot = data.slot[c]
        if slot >= 0:
            move_pose(poses[c], step[6 * slot : 6 * slot + 6], new_poses[c])
    slope = 0.0
    rest, back = np.empty(3), np.empty(3)
    for p in range(len(points)):
        if not data.is_free_point[p]:
            continue
        factor = eliminated.factor[p]
        rest[:] = eliminated.point_gradient[p]
        for i in range(data.start[p], data.start[p + 1]):
            slot = data.slot[data.camera[i]]
            if slot >= 0:
                for a in range(6):
                    for k in range(3):
                        rest[k] += eliminated.mixed[i, k, a] * step[6 * slot + a]
        slope += (eliminated.point_gradient[p] * rest).sum()
        back[2] = rest[2] / factor[2, 2]
        back[1] = (rest[1] - factor[2, 1] * back[2]) / factor[1, 1]
        back[0] = (rest[0] - factor[1, 0] * back[1] - factor[2, 0] * back[2]) / factor[0, 0]
        for k in range(3):
            new_points[p, k] = points[p, k] - back[k]
    return slope
