"""Compiled alignment of image patches: inverse compositional Lucas and Kanade (Baker and Matthews, IJCV 2004).

A template is a square patch of two channels, with its gradients; the columns are padded with zero gradients to a
multiple of eight, so that the inner loops run in full vectors.

What a kernel calls is compiled as part of it ("always"). Sums may be reordered, and numba shares functions between
kernels: which copy of one a process gets, and with it the last digits, would depend on whether it was just compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

HALF = 10
SIDE = 2 * HALF + 1
STRIDE = 24  # columns of a template
ROOM = 32  # columns of a patch from which a template is cut; those that are not filled are zero
RIM = HALF + 1  # with the pixel that the gradients need
STRAIGHT_PX = 0.15  # a deformation that moves the corners by less is none
_JIT = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp", "afn"}}  # not: no infinity


@njit(inline="always", **_JIT)
def _bilinear(image: Any, x: Any, y: Any) -> Any:
    column, row = int(x), int(y)
    fx, fy = x - column, y - row
    one = np.float32(1.0)
    upper = (one - fx) * image[row, column] + fx * image[row, column + 1]
    lower = (one - fx) * image[row + 1, column] + fx * image[row + 1, column + 1]
    return (one - fy) * upper + fy * lower


@njit(inline="always", **_JIT)
def _cut_straight(image: Any, x: float, y: float, size: Any, out: Any) -> None:
    """Rows and columns of an image (2, h, w) from the place (x, y) on, which may lie between pixels."""
    column, row = int(x), int(y)
    fx, fy = np.float32(x - column), np.float32(y - row)
    one = np.float32(1.0)
    w00, w01, w10, w11 = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
    for channel in range(2):
        for r in range(size[0]):
            upper = image[channel, row + r, column : column + size[1] + 1]
            lower = image[channel, row + r + 1, column : column + size[1] + 1]
            target = out[channel, r]
            for c in range(size[1]):
                target[c] = w00 * upper[c] + w01 * upper[c + 1] + w10 * lower[c] + w11 * lower[c + 1]


@njit(inline="always", **_JIT)
def _cut_deformed(image: Any, x: Any, y: Any, linear: Any, scratch: Any) -> None:
    """Patch around (x, y) in coordinates d with image place (x, y) + linear @ d."""
    a, b, c, d = np.float32(linear[0, 0]), np.float32(linear[0, 1]), np.float32(linear[1, 0]), np.float32(linear[1, 1])
    x, y, one = np.float32(x), np.float32(y), np.float32(1.0)
    for channel in range(2):
        values = image[channel]
        for r in range(SIDE + 2):
            dy, target = np.float32(r - RIM), scratch[channel, r]
            left, top = x + b * dy, y + d * dy
            for k in range(STRIDE):
                dx = np.float32(min(k, SIDE + 1) - RIM)
                u, v = left + a * dx, top + c * dx
                fx, fy = u - np.floor(u), v - np.floor(v)
                column, row = np.uint64(u), np.uint64(v)  # that no index is negative saves a third of the time
                right, below = column + np.uint64(1), row + np.uint64(1)
                upper = (one - fx) * values[row, column] + fx * values[row, right]
                lower = (one - fx) * values[below, column] + fx * values[below, right]
                target[k] = (one - fy) * upper + fy * lower


@njit(inline="always", **_JIT)
def cut_template(image: Any, x: Any, y: Any, linear: Any, scratch: Any, template: Any, gradient: Any) -> Any:
    """Template around (x, y) of an image (2, h, w), in coordinates d with image place (x, y) + linear @ d.

    Fills template (2, SIDE, STRIDE) and gradient (2, 2, SIDE, STRIDE) (channel, axis); scratch is
    (2, SIDE + 2, ROOM), zero in the last columns. Returns the entries xx, xy, yy of the gradients' second moments; zero
    outside the image.
    """
    height, width = image.shape[1:]
    extent = RIM * max(abs(linear[0, 0]) + abs(linear[0, 1]), abs(linear[1, 0]) + abs(linear[1, 1])) + 1.01
    if not (x >= extent and y >= extent and x < width - 1 - extent and y < height - 1 - extent):
        return 0.0, 0.0, 0.0
    deformation = abs(linear[0, 0] - 1) + abs(linear[0, 1]) + abs(linear[1, 0]) + abs(linear[1, 1] - 1)
    if deformation * RIM < STRAIGHT_PX:
        _cut_straight(image, x - RIM, y - RIM, (SIDE + 2, STRIDE), scratch)
    else:
        _cut_deformed(image, x, y, linear, scratch)
    xx, xy, yy = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    half = np.float32(0.5)
    for channel in range(2):
        for r in range(SIDE):
            above, here, below = scratch[channel, r], scratch[channel, r + 1], scratch[channel, r + 2]
            gradient_x, gradient_y, value = gradient[channel, 0, r], gradient[channel, 1, r], template[channel, r]
            for c in range(STRIDE):
                inner = half if c < SIDE else np.float32(0.0)
                gx = inner * (here[c + 2] - here[c])
                gy = inner * (below[c + 1] - above[c + 1])
                value[c] = here[c + 1]
                gradient_x[c] = gx
                gradient_y[c] = gy
                xx += gx * gx
                xy += gx * gy
                yy += gy * gy
    return xx, xy, yy


@njit(inline="always", **_JIT)
def _mismatch(image: Any, column: int, row: int, fx: Any, fy: Any, template: Any, gradient: Any) -> Any:
    """Sums of (image - template) times both gradients, at a place (column + fx, row + fy) of the window's corner."""
    bx, by = np.float32(0.0), np.float32(0.0)
    one = np.float32(1.0)
    w00, w01, w10, w11 = (one - fx) * (one - fy), fx * (one - fy), (one - fx) * fy, fx * fy
    for channel in range(2):
        for r in range(SIDE):
            upper = image[channel, row + r, column : column + STRIDE + 1]
            lower = image[channel, row + r + 1, column : column + STRIDE + 1]
            known = template[channel, r]
            gx, gy = gradient[channel, 0, r], gradient[channel, 1, r]
            for c in range(STRIDE):
                error = w00 * upper[c] + w01 * upper[c + 1] + w10 * lower[c] + w11 * lower[c + 1] - known[c]
                bx += error * gx[c]
                by += error * gy[c]
    return bx, by


@njit(inline="always", **_JIT)
def align(image: Any, template: Any, gradient: Any, moments: Any, place: Any, iterations: int, tolerance: float) -> Any:
    """Place (x, y) of an image (2, h, w) where it looks like the template; starts at `place`.

    Returns x, y and whether it converged inside the image.
    """
    height, width = image.shape[1:]
    x, y = place
    xx, xy, yy = moments
    determinant = xx * yy - xy * xy
    trace = xx + yy
    if not determinant > 1e-6 * trace * trace:
        return x, y, False
    for _ in range(iterations):
        left, top = x - HALF, y - HALF
        if not (left >= 0 and top >= 0 and left < width - STRIDE - 1 and top < height - SIDE - 1):
            return x, y, False
        column, row = int(left), int(top)
        bx, by = _mismatch(image, column, row, np.float32(left - column), np.float32(top - row), template, gradient)
        dx = (yy * bx - xy * by) / determinant
        dy = (xx * by - xy * bx) / determinant
        x -= dx
        y -= dy
        if dx * dx + dy * dy < tolerance * tolerance:
            break
    return x, y, True


@njit(**_JIT)
def follow(levels: Any, border: int, start: Any, guess: Any, linear: Any, inverse: Any, limits: Any) -> Any:
    """Follow points from one image to the next, coarse to fine, and back again.

    Args:
        levels: pyramids of both images, tuples of (2, h, w) images of equal shapes with a border of `border` pixels.
        start (N, 2): places on the previous image; guess (N, 2): on the current one, overwritten by the result.
        linear (2, 2): d' = linear @ d, how the image deforms meanwhile; inverse (2, 2).
        limits: iterations per level and convergence in pixels.

    Returns:
        gap (N,): distance in pixels between the start and what is found there from the result; inf where it got lost.
    """
    previous, current = levels
    iterations, tolerance = int(limits[0]), limits[1]
    gap = np.full(len(start), np.inf)
    scratch = np.zeros((2, SIDE + 2, ROOM), np.float32)
    template = np.zeros((2, SIDE, STRIDE), np.float32)
    gradient = np.zeros((2, 2, SIDE, STRIDE), np.float32)
    for i in range(len(start)):
        x, y = guess[i]
        found = False
        for level in range(len(previous) - 1, -1, -1):
            scale = 1.0 / 2**level
            u, v = start[i, 0] * scale + border, start[i, 1] * scale + border
            moments = cut_template(previous[level], u, v, inverse, scratch, template, gradient)
            place = (x * scale + border, y * scale + border)
            u, v, found = align(current[level], template, gradient, moments, place, iterations, tolerance)
            if found:
                x, y = (u - border) / scale, (v - border) / scale
        if not found:
            continue
        guess[i, 0], guess[i, 1] = x, y
        moments = cut_template(current[0], x + border, y + border, linear, scratch, template, gradient)
        origin = (start[i, 0] + border, start[i, 1] + border)
        u, v, found = align(previous[0], template, gradient, moments, origin, iterations, tolerance)
        if found:
            gap[i] = np.hypot(u - border - start[i, 0], v - border - start[i, 1])
    return gap


@njit(**_JIT)
def realign(patches: Any, slot: Any, linear: Any, current: Any, border: int, place: Any, limits: Any) -> Any:
    """Align points with the image patches in which they were seen first, against drift.

    Args:
        patches: (S, 2, L, L) around their points, which lie at the middle, and templates cut from them, deformed as the
            image was lately, with gradients, moments and that deformation: arrays (S, 2, SIDE, STRIDE),
            (S, 2, 2, SIDE, STRIDE), (S, 3), (S, 2, 2); renewed where the deformation has changed.
        slot: (N,) int64, which patch; linear: (S, 2, 2) how the image has deformed since the patch was cut.
        current: (2, h, w) image with a border; place (N, 2) overwritten where the alignment moves by at most limits[2].

    Returns:
        (N,) bool, whether the patch was found there.
    """
    iterations, tolerance, farthest = int(limits[0]), limits[1], limits[2]
    anchors, template, gradient, moments, known = patches
    good = np.zeros(len(slot), np.bool_)
    scratch = np.zeros((2, SIDE + 2, ROOM), np.float32)
    inverse = np.zeros((2, 2))
    middle = anchors.shape[2] // 2
    for i in range(len(slot)):
        s = slot[i]
        a = linear[s]
        change = np.abs(a - known[s]).sum()
        if not change * HALF < STRAIGHT_PX:
            determinant = a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
            inverse[0, 0], inverse[1, 1] = a[1, 1] / determinant, a[0, 0] / determinant
            inverse[0, 1], inverse[1, 0] = -a[0, 1] / determinant, -a[1, 0] / determinant
            xx, xy, yy = cut_template(anchors[s], middle, middle, inverse, scratch, template[s], gradient[s])
            moments[s, 0], moments[s, 1], moments[s, 2] = xx, xy, yy
            known[s] = a
        x, y = place[i, 0] + border, place[i, 1] + border
        found_moments = (moments[s, 0], moments[s, 1], moments[s, 2])
        u, v, found = align(current, template[s], gradient[s], found_moments, (x, y), iterations, tolerance)
        if found and np.hypot(u - x, v - y) <= farthest:
            place[i, 0], place[i, 1] = u - border, v - border
            good[i] = True
    return good


@njit(**_JIT)
def cut_anchors(image: Any, place: Any, slot: Any, patches: Any) -> None:
    """Patches[slot] (S, 2, L, L) of an image (2, h, w) with places (N, 2) at their middle, bilinear."""
    for i in range(len(slot)):
        _cut_anchor(image, place[i, 0], place[i, 1], patches[slot[i]])


@njit(inline="always", **_JIT)
def _cut_anchor(image: Any, x: float, y: float, patch: Any) -> None:
    middle, side = patch.shape[1] // 2, patch.shape[1]
    height, width = image.shape[1:]
    left, top = x - middle, y - middle
    if left >= 0 and top >= 0 and left + side < width - 1 and top + side < height - 1:
        _cut_straight(image, left, top, (side, side), patch)
        return
    for channel in range(2):
        for r in range(patch.shape[1]):
            for c in range(patch.shape[2]):
                u = min(max(x + c - middle, 0.0), width - 1.001)
                v = min(max(y + r - middle, 0.0), height - 1.001)
                patch[channel, r, c] = _bilinear(image[channel], np.float32(u), np.float32(v))
