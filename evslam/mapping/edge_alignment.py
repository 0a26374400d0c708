"""Alignment of a pose to an edge image: the fast approximation of the contrast of events and map together."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numba import njit

from evslam.geometry.spline_kernels import exponential, left_jacobian
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_kernels import inside, transform
from evslam.multiview.edges import EdgeImage

MIN_POINTS = 50
_MIN_DEPTH = 1e-6
_JIT = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz"}}
_DAMPING, _RAISE = 0.03, 8.0  # of the normal equations' diagonal: smallest, and growth after a step that did not help


class Alignment(NamedTuple):
    """A pose aligned to an edge image.

    Attributes:
        T_cam_world: (4, 4) float64.
        hessian: (6, 6) of the last linearisation, of a twist (v, omega) on the left of the pose.
        score: mean strength of edges at the projected points, in [0, 1].
        num_points: projected points that the camera sees.
    """

    T_cam_world: np.ndarray
    hessian: np.ndarray
    score: float
    num_points: int


def align_edges(imager: EdgeImager, points: np.ndarray, T_cam_world: np.ndarray, image: EdgeImage) -> Alignment:
    """Damped Gauss-Newton on r = 1 - S(project(T X)) with Huber's weights, coarse to fine.

    On an edge's crest the slope vanishes while r does not, so undamped steps overshoot: a step that does not lower
    the cost is taken back.

    Args:
        imager: canvas, valid pixels and settings.
        points: (N, 3) float64 map points on edges, world frame; a few thousand are enough.
        T_cam_world: (4, 4) pose to start from, a few pixels off at most.
        image: edge image of the moment.
    """
    canvas, config = imager.canvas, imager.config
    settings = canvas.focal, canvas.centre[0], canvas.centre[1], config.huber
    result = Alignment(T_cam_world, np.zeros((6, 6)), 0.0, 0)
    for level in image.levels:
        strength = level.strength
        fields = np.stack([strength, *(_slope(strength, *axis) for axis in ((1, 0), (0, 1)))], -1)
        result = Alignment(
            *_align(points, result.T_cam_world, fields, imager.valid, settings, config.align_evaluations)
        )
    return result


def _slope(image: np.ndarray, along_x: int, along_y: int) -> np.ndarray:
    return cv2.Sobel(image, cv2.CV_32F, along_x, along_y, ksize=3, scale=0.125)


@njit(**_JIT)
def _align(points: Any, start: Any, fields: Any, valid: Any, settings: Any, evaluations: int) -> Any:
    best, trial, damping, least = start.copy(), start.copy(), _DAMPING, np.inf
    hessian, gradient = np.zeros((6, 6)), np.zeros(6)
    new_hessian, new_gradient = np.zeros((6, 6)), np.zeros(6)
    strength, number = 0.0, 0
    for _ in range(evaluations):
        cost, total, seen = linearise(points, trial, fields, valid, settings, new_hessian, new_gradient)
        if seen < MIN_POINTS:
            break
        if cost < least:
            best[:], hessian[:], gradient[:] = trial, new_hessian, new_gradient
            least, strength, number, damping = cost, total / seen, seen, max(0.3 * damping, _DAMPING)
        else:
            damping *= _RAISE
        damped = hessian.copy()
        for k in range(6):
            damped[k, k] += damping * hessian[k, k] + 1e-12
        trial[:] = best
        move(trial, np.linalg.solve(damped, -gradient))
    return best, hessian, strength, number


@njit(cache=True, nogil=True)
def move(pose: Any, twist: Any) -> None:
    """pose <- exp(twist) pose, in place; twist (6,) (v, omega)."""
    rotation, jacobian = np.empty((3, 3)), np.empty((3, 3))
    exponential(twist[3:], rotation)
    left_jacobian(twist[3:], jacobian)
    pose[:3] = rotation @ np.ascontiguousarray(pose[:3])
    pose[:3, 3] += jacobian @ twist[:3]


@njit(inline="always", **_JIT)
def linearise(
    points: Any, pose: Any, fields: Any, valid: Any, settings: Any, hessian: Any, gradient: Any
) -> tuple[float, float, int]:
    """Fills Hessian (6, 6) and gradient (6,) of the robust cost; returns its mean, the sum of strengths and the points.

    fields (H, W, 3): strength and its slopes along x and y; settings (focal, cx, cy, huber).
    """
    focal, cx, cy, huber = settings
    hessian[:] = 0.0
    gradient[:] = 0.0
    row6 = np.empty(6)
    cost, strength, number = 0.0, 0.0, 0
    for i in range(len(points)):
        x, y, z = transform(pose, points[i, 0], points[i, 1], points[i, 2])
        if z < _MIN_DEPTH:
            continue
        inverse = 1.0 / z
        u, v = focal * x * inverse + cx, focal * y * inverse + cy
        if not inside(valid, u, v, 1.0):
            continue
        column, row = int(u), int(v)
        f, g = u - column, v - row
        w00, w01, w10, w11 = (1 - g) * (1 - f), (1 - g) * f, g * (1 - f), g * f
        a, b, c, d = fields[row, column], fields[row, column + 1], fields[row + 1, column], fields[row + 1, column + 1]
        s = w00 * a[0] + w01 * b[0] + w10 * c[0] + w11 * d[0]
        du = -(w00 * a[1] + w01 * b[1] + w10 * c[1] + w11 * d[1]) * focal * inverse
        dv = -(w00 * a[2] + w01 * b[2] + w10 * c[2] + w11 * d[2]) * focal * inverse
        dz = -(du * x + dv * y) * inverse
        row6[0], row6[1], row6[2] = du, dv, dz
        row6[3], row6[4], row6[5] = dz * y - dv * z, du * z - dz * x, dv * x - du * y
        residual = 1.0 - s
        weight = 1.0 if residual < huber else huber / residual
        cost += 0.5 * residual * residual if residual < huber else huber * (residual - 0.5 * huber)
        for k in range(6):
            gradient[k] += weight * row6[k] * residual
            for m in range(k + 1):
                hessian[k, m] += weight * row6[k] * row6[m]
        strength += s
        number += 1
    for k in range(6):
        for m in range(k):
            hessian[m, k] = hessian[k, m]
    return cost / max(number, 1), strength, number
