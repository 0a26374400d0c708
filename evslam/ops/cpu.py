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

_JIT = {"cache": True, "nogil": True, "fastmath": {"contract"}, "error_model": "numpy"}


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
def _compile_scatter(taps: int) -> Callable[..., None]:
    half = 0.5 if taps % 2 else 0.0
    lowest = (taps - 1) // 2

    @numba.njit(**_JIT)
    def scatter(coords: Any, weights: Any, offsets: Any, mx: Any, my: Any, out: Any) -> None:
        height, width = out.shape[1], out.shape[2]
        wx = np.empty(taps, coords.dtype)
        for b in range(out.shape[0]):
            for n in range(offsets[b], offsets[b + 1]):
                x, y, w = coords[n, 0], coords[n, 1], weights[n]
                if not (-taps < x < width + taps and -taps < y < height + taps):
                    continue
                jx, sx = _span(x, half, lowest)
                jy, sy = _span(y, half, lowest)
                for i in range(taps):
                    value = mx[i, taps - 1]
                    for k in range(taps - 1):
                        value = value * sx + mx[i, taps - 2 - k]
                    wx[i] = value
                inside = jx >= 0 and jy >= 0 and jx + taps <= width and jy + taps <= height
                for j in range(taps):
                    value = my[j, taps - 1]
                    for k in range(taps - 1):
                        value = value * sy + my[j, taps - 2 - k]
                    value *= w
                    if inside:
                        for i in range(taps):
                            out[b, jy + j, jx + i] += value * wx[i]
                    elif 0 <= jy + j < height:
                        for i in range(taps):
                            if 0 <= jx + i < width:
                                out[b, jy + j, jx + i] += value * wx[i]

    return scatter


@lru_cache
def _compile_gather(taps: int) -> Callable[..., None]:
    half = 0.5 if taps % 2 else 0.0
    lowest = (taps - 1) // 2

    @numba.njit(**_JIT)
    def gather(image: Any, coords: Any, offsets: Any, mx: Any, my: Any, nx: Any, ny: Any, out: Any) -> None:
        # out[n, 0] = sum_j v_j fx(u_x - j_x) fy(u_y - j_y) with polynomials mx, my; out[n, 1] with nx, ny
        height, width = image.shape[1], image.shape[2]
        ax, bx = np.empty(taps, coords.dtype), np.empty(taps, coords.dtype)
        for b in range(image.shape[0]):
            for n in range(offsets[b], offsets[b + 1]):
                x, y = coords[n, 0], coords[n, 1]
                if not (-taps < x < width + taps and -taps < y < height + taps):
                    continue
                jx, sx = _span(x, half, lowest)
                jy, sy = _span(y, half, lowest)
                for i in range(taps):
                    va, vb = mx[i, taps - 1], nx[i, taps - 1]
                    for k in range(taps - 1):
                        va = va * sx + mx[i, taps - 2 - k]
                        vb = vb * sx + nx[i, taps - 2 - k]
                    ax[i], bx[i] = va, vb
                inside = jx >= 0 and jy >= 0 and jx + taps <= width and jy + taps <= height
                first = second = x * 0
                for j in range(taps):
                    va, vb = my[j, taps - 1], ny[j, taps - 1]
                    for k in range(taps - 1):
                        va = va * sy + my[j, taps - 2 - k]
                        vb = vb * sy + ny[j, taps - 2 - k]
                    row_a = row_b = x * 0
                    if inside:
                        for i in range(taps):
                            pixel = image[b, jy + j, jx + i]
                            row_a += pixel * ax[i]
                            row_b += pixel * bx[i]
                    elif 0 <= jy + j < height:
                        for i in range(taps):
                            if 0 <= jx + i < width:
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
    out = np.zeros(shape, coords.dtype)
    mx, my = (tap_polynomials(degree, n).astype(coords.dtype) for n in order)
    _compile_scatter(degree + 1)(coords, weights, offsets, mx, my, out)
    return out


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
    polynomials = [tap_polynomials(degree, n).astype(coords.dtype) for order in orders for n in order]
    _compile_gather(degree + 1)(image, coords, offsets, *polynomials, out)
    return out
