"""Numba kernels of the two binning primitives in two dimensions; twins of `evslam.ops.reference`.

A uniform B-spline of degree q touches q + 1 bins per axis. With s the position inside the knot span, the weight of
tap i is the polynomial sum_k M[i, k] s^k; M comes from `tap_polynomials`, derivatives included, so one pair of
loops serves the whole ladder. One thread, fixed order of summation: deterministic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import numpy as np

_JIT = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}


Order = tuple[int, int]  # derivatives along x and y


@lru_cache
def tap_polynomials(degree: int, order: int) -> np.ndarray:
    """Coefficients (degree + 1, degree + 1) float64 of the tap weights in powers of s, for a derivative order.

    Recursion of the uniform B-spline: w_i <- ((s + q - i) w_{i-1} + (1 - s + i) w_i) / q for q = 1 .. degree - order,
    then each derivative maps w_i <- w_{i-1} - w_i.
    """
    size = degree + 1
    weights = np.zeros((size, size))
    if order > degree:
        return weights
    weights[0, 0] = 1.0
    for q in range(1, size - order):
        before, weights = weights, np.zeros((size, size))
        for i in range(q + 1):
            left = before[i - 1] if i > 0 else np.zeros(size)
            right = before[i]
            weights[i] = ((q - i) * left + np.roll(left, 1) + (1 + i) * right - np.roll(right, 1)) / q
    for _ in range(order):
        weights = np.vstack([np.zeros((1, size)), weights[:-1]]) - weights
    return weights


@numba.njit(inline="always")
def _span(u: float, half: float, lowest: int) -> Any:  # first bin and position in the knot span
    floor = np.floor(u + half)
    return int(floor) - lowest, u + half - floor


@lru_cache
def _compile_scatter(degree: int, order: Order, dtype: np.dtype) -> Callable[..., None]:
    """The polynomials are compile-time constants of the kernel: unrolled, they cost no loads."""
    taps, lowest = degree + 1, degree // 2
    half, border = dtype.type(0.5 if degree % 2 == 0 else 0.0), dtype.type(taps)
    mx, my = (tap_polynomials(degree, n).astype(dtype) for n in order)

    @numba.njit(**_JIT)
    def scatter(coords: Any, weights: Any, offsets: Any, out: Any) -> None:
        height, width = out.shape[1], out.shape[2]  # with a border of `taps` on each side
        wx = np.empty(taps, coords.dtype)
        for b in range(out.shape[0]):
            for n in range(offsets[b], offsets[b + 1]):
                x, y, w = coords[n, 0] + border, coords[n, 1] + border, weights[n]
                if not (0 <= x < width and 0 <= y < height):  # neither is NaN
                    continue
                jx, sx = _span(x, half, lowest)
                jy, sy = _span(y, half, lowest)
                if jx < 0 or jy < 0 or jx + taps > width or jy + taps > height:
                    continue
                for i in range(taps):
                    value = mx[i, degree]
                    for k in range(degree):
                        value = value * sx + mx[i, degree - 1 - k]
                    wx[i] = value
                for j in range(taps):
                    value = my[j, degree]
                    for k in range(degree):
                        value = value * sy + my[j, degree - 1 - k]
                    value *= w
                    for i in range(taps):
                        out[b, jy + j, jx + i] += value * wx[i]

    return scatter


@lru_cache
def _compile_gather(degree: int, orders: tuple[Order, Order], dtype: np.dtype) -> Callable[..., None]:
    """out[n, 0] and out[n, 1] belong to the first and the second derivative multi-index."""
    taps, lowest = degree + 1, degree // 2
    half, border = dtype.type(0.5 if degree % 2 == 0 else 0.0), dtype.type(taps)
    mx, my, nx, ny = (tap_polynomials(degree, n).astype(dtype) for order in orders for n in order)

    @numba.njit(**_JIT)
    def gather(image: Any, coords: Any, offsets: Any, out: Any) -> None:
        height, width = image.shape[1], image.shape[2]  # with a border of `taps` zeros on each side
        ax, bx = np.empty(taps, coords.dtype), np.empty(taps, coords.dtype)
        for b in range(image.shape[0]):
            for n in range(offsets[b], offsets[b + 1]):
                x, y = coords[n, 0] + border, coords[n, 1] + border
                if not (0 <= x < width and 0 <= y < height):  # neither is NaN
                    continue
                jx, sx = _span(x, half, lowest)
                jy, sy = _span(y, half, lowest)
                if jx < 0 or jy < 0 or jx + taps > width or jy + taps > height:
                    continue
                for i in range(taps):
                    va, vb = mx[i, degree], nx[i, degree]
                    for k in range(degree):
                        va = va * sx + mx[i, degree - 1 - k]
                        vb = vb * sx + nx[i, degree - 1 - k]
                    ax[i], bx[i] = va, vb
                first = second = x * 0
                for j in range(taps):
                    va, vb = my[j, degree], ny[j, degree]
                    for k in range(degree):
                        va = va * sy + my[j, degree - 1 - k]
                        vb = vb * sy + ny[j, degree - 1 - k]
                    row_a = row_b = x * 0
                    for i in range(taps):
                        pixel = image[b, jy + j, jx + i]
                        row_a += pixel * ax[i]
                        row_b += pixel * bx[i]
                    first += row_a * va
                    second += row_b * vb
                out[n, 0] = first
                out[n, 1] = second

    return gather


def scatter(
    coords: np.ndarray,
    weights: np.ndarray,
    offsets: np.ndarray,
    shape: tuple[int, int, int],
    degree: int,
    order: Order,
) -> np.ndarray:
    """H[b, j] = sum_i w_i f(u_i - j) over the events i of packet b.

    Args:
        coords: (N, 2) bins, (x, y). weights: (N,). offsets: (B + 1,) int64. shape: (B, H, W).
        degree, order: B-spline and derivatives per axis (x, y).

    Returns:
        (B, H, W) in the dtype of coords.
    """
    pad = degree + 1
    out = np.zeros((shape[0], shape[1] + 2 * pad, shape[2] + 2 * pad), coords.dtype)
    _compile_scatter(degree, order, coords.dtype)(coords, weights, offsets, out)
    return np.ascontiguousarray(out[:, pad:-pad, pad:-pad])


def gather_pair(
    image: np.ndarray, coords: np.ndarray, offsets: np.ndarray, degree: int, orders: tuple[Order, Order]
) -> np.ndarray:
    """out[i, c] = sum_j v_j f_c(u_i - j) for two derivative multi-indices at once, e.g. the two of a gradient.

    Args:
        image: (B, H, W). coords: (N, 2) bins, (x, y). offsets: (B + 1,) int64. degree: of the B-spline.
        orders: derivatives per axis (x, y), one pair for each column.

    Returns:
        (N, 2) in the dtype of coords.
    """
    out = np.zeros((len(coords), 2), coords.dtype)
    pad = degree + 1
    image = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
    _compile_gather(degree, orders, coords.dtype)(image, coords, offsets, out)
    return out
