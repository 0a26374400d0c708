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
        matrix: (6 F, 6 F) S, upper triangle. gradient: (6 F,).
        factor: (P, 3, 3) L. mixed: (N, 3, 6) U'. point_gradient: (P, 3) L^-1 times the point's gradient.
    """

    matrix: np.ndarray
    gradient: np.ndarray
    factor: np.ndarray
    mixed: np.ndarray
    point_gradient: np.ndarray


@njit(**JIT)
def linearise(poses: Any, points: Any, data: Data, normal: Normal) -> float:
    """Writes the normal equations and errors at a state; returns the cost."""
    focal, scale = data.lens
    residual, jacobian = np.empty(2), np.empty((2, 9))
    for block in (normal.camera, normal.point):
        block[:] = 0.0
    for block in (normal.camera_gradient, normal.point_gradient):
        block[:] = 0.0
    cost, pulled = 0.0, 0.0
    for p in range(len(points)):
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
                jacobian[:rows],
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
def _add(normal: Normal, i: int, owner: Any, weight: float, residual: Any, jacobian: Any) -> None:
    """Adds observation i of (point, is it free, slot of its camera) to the normal equations."""
    p, is_free_point, slot = owner
    for a in range(6):
        for b in range(3):
            normal.mixed[i, a, b] = 0.0
    for row in range(len(jacobian)):
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
    out.matrix[:] = 0.0
    for f in range(len(normal.camera)):
        for a in range(6):
            out.gradient[6 * f + a] = normal.camera_gradient[f, a]
            for b in range(a, 6):
                out.matrix[6 * f + a, 6 * f + b] = normal.camera[f, a, b]
            diagonal = normal.camera[f, a, a]
            out.matrix[6 * f + a, 6 * f + a] = diagonal * (1.0 + damping) if diagonal > 0.0 else 1.0
    for p in range(len(normal.point)):
        if not data.is_free_point[p]:
            continue
        _factorise(normal.point[p], damping, out.factor[p])
        _solve_lower(out.factor[p], normal.point_gradient[p], out.point_gradient[p])
        first, last = data.start[p], data.start[p + 1]
        for i in range(first, last):
            slot = data.slot[data.camera[i]]
            if slot < 0:
                continue
            for a in range(6):
                _solve_lower(out.factor[p], normal.mixed[i, a], out.mixed[i, :, a])
                for k in range(3):
                    out.gradient[6 * slot + a] -= out.mixed[i, k, a] * out.point_gradient[p, k]
            for j in range(first, i + 1):
                other = data.slot[data.camera[j]]
                if other >= 0:
                    _subtract(out.matrix, slot, out.mixed[i], other, out.mixed[j])
                    if other == slot and i != j:
                        _subtract(out.matrix, slot, out.mixed[j], slot, out.mixed[i])


@njit(inline="always", **JIT)
def _subtract(matrix: Any, f: int, mixed: Any, g: int, other: Any) -> None:
    """Subtracts mixed' other at block (f, g), or its transpose at (g, f), whichever is in the upper triangle."""
    if f > g:
        f, g, mixed, other = g, f, other, mixed
    for a in range(6):
        row = matrix[6 * f + a, 6 * g : 6 * g + 6]
        x, y, z = mixed[0, a], mixed[1, a], mixed[2, a]
        for b in range(6):
            row[b] -= x * other[0, b] + y * other[1, b] + z * other[2, b]


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
