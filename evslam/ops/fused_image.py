"""Measures of an image for the fused chain: value, slope dL/dH, and second derivatives along channels of directions.

Images are padded (`Grid`); only their (H, W) pixels count, and the padding of a slope stays zero. The plain torch
twins are in `evslam.objective`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import lgamma, log
from typing import Any

import numba
import numpy as np

from evslam.ops.fused_bins import Grid, compiled
from evslam.ops.fused_simd import add_to, lane, load, scratch
from evslam.ops.fused_taps import channels_of

MEASURES = ("variance", "mean_square", "gradient_magnitude", "log_likelihood")
SHAPE, PROBABILITY = 0.1, 1 / 2.59  # r and q of the negative binomial, see `evslam.objective.log_likelihood`
_LOG_Q, _OFFSET = log(PROBABILITY), SHAPE * log(1 - PROBABILITY) - lgamma(SHAPE)


@numba.njit(forceinline=True)
def _gamma_parts(x: float) -> Any:
    """p, and a, b, c with log Gamma(x) = a - log p, digamma(x) = b, trigamma(x) = c.

    p = x (x + 1) ... (x + 7); Gamma(x) = Gamma(x + 8) / p, and of x + 8 the asymptotic series.
    """
    p, slope, bend = 1.0, 0.0, 0.0
    for _ in range(8):
        p, slope, bend = p * x, slope * x + p, bend * x + 2 * slope
        x += 1.0
    slope, bend = slope / p, bend / p
    y, logarithm = 1 / x, np.log(x)
    z = y * y
    series = y * (1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z / 1188))))
    di = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z / 132))))
    tri = (1 / 6 - z * (1 / 30 - z * (1 / 42 - z * (1 / 30 - z * 5 / 66)))) * z * y
    a = (x - 0.5) * logarithm - x + series
    return p, a, logarithm - 0.5 * y - di - slope, y + 0.5 * z + tri + slope * slope - bend


@numba.njit(forceinline=True)
def log_likelihood_at(count: float) -> Any:
    """log probability of a count of events in a pixel, with its first and second derivative."""
    p, a, da, dda = _gamma_parts(count + SHAPE)
    q, b, db, ddb = _gamma_parts(count + 1.0)
    return a - b + np.log(q / p) + _OFFSET + count * _LOG_Q, da - db + _LOG_Q, dda - ddb


@compiled
def _mean_square(image: Any, slope: Any, frame: Any, centred: bool) -> float:
    """Mean square, or variance if `centred`: value, and dL/dH to `slope`. frame: (H, W, pad, stride)."""
    height, width, pad, stride = frame
    number, total, squares = float(height * width), 0.0, 0.0
    for row in range(height):
        source = image[(row + pad) * stride + pad : (row + pad) * stride + pad + width]
        for i in range(width):
            value = float(source[i])
            total += value
            squares += value * value
    mean = total / number if centred else 0.0
    scale, level = image.dtype.type(2 / number), image.dtype.type(mean)
    for row in range(height):
        first = (row + pad) * stride + pad
        source, target = image[first : first + width], slope[first : first + width]
        for i in range(width):
            target[i] = (source[i] - level) * scale
    return squares / number - mean * mean


@compiled
def _log_likelihood(image: Any, slope: Any, frame: Any, curvature: bool) -> float:
    """Mean log likelihood: value, and dL/dH to `slope`, or d2L/dH2 if `curvature`."""
    height, width, pad, stride = frame
    number, total, empty = float(height * width), 0.0, log_likelihood_at(0.0)
    for row in range(height):
        first = (row + pad) * stride + pad
        for i in range(first, first + width):
            value, once, twice = log_likelihood_at(float(image[i])) if image[i] > 0 else empty
            total += value
            slope[i] = (twice if curvature else once) / number
    return total / number


@numba.njit(inline="always")
def _add_scaled(target: Any, start: int, source: Any, first: int, count: int, scale: Any) -> None:
    whole = count - count % 8
    for i in range(0, whole, 8):
        add_to(target, start + i, load(source, first + i, 8) * scale)
    for i in range(whole, count):
        target[start + i] += scale * source[first + i]


@compiled
def _gradient_magnitude(image: Any, slope: Any, frame: Any) -> float:
    """Mean squared central differences of the inner pixels: value, and dL/dH to `slope`."""
    height, width, pad, stride = frame
    number, total = float((height - 2) * (width - 2)), 0.0
    for row in range(height):
        slope[(row + pad) * stride + pad : (row + pad) * stride + pad + width] = 0
    line, one, share = np.empty(width, image.dtype), image.dtype.type(1), image.dtype.type(1 / number)
    for step in (1, stride):
        for row in range(1, height - 1):
            first = (row + pad) * stride + pad + 1
            line[:] = 0
            _add_scaled(line, 0, image, first + step, width - 2, one)
            _add_scaled(line, 0, image, first - step, width - 2, -one)
            for i in range(width - 2):
                total += float(line[i]) * float(line[i])
            _add_scaled(slope, first + step, line, 0, width - 2, share / 2)
            _add_scaled(slope, first - step, line, 0, width - 2, -share / 2)
    return total / number / 4


def slope_of(name: str, image: np.ndarray, slope: np.ndarray, grid: Grid) -> float:
    """Value of a measure of MEASURES; dL/dH to the pixels of `slope`."""
    frame = (grid.height, grid.width, grid.pad, grid.stride)
    if name == "log_likelihood":
        return float(_log_likelihood(image, slope, frame, False))
    if name == "gradient_magnitude":
        return float(_gradient_magnitude(image, slope, frame))
    return float(_mean_square(image, slope, frame, name == "variance"))


@lru_cache
def _compile_gram(size: int) -> Callable[..., None]:
    """gram(directions, weight, frame, step, out): sum over the pixels of weight b b^T, added to out[:size].

    b are the directions of a pixel, or for step > 0 of the inner pixels their central difference over +-step.
    weight: of each pixel, or empty for 1. out (size + 1, channels); its last row receives the sum of b.
    """
    channels = channels_of(size)
    memory = (size + 1) * channels

    @compiled
    def gram(directions: Any, weight: Any, frame: Any, step: int, out: Any) -> None:
        height, width, pad, stride = frame
        sums, border = scratch(directions, memory), 1 if step else 0
        for row in range(border, height - border):
            sums[:] = 0
            first = (row + pad) * stride + pad
            for i in range(first + border, first + width - border):
                b = load(directions, (i + step) * channels, channels)
                if step:
                    b = (b - load(directions, (i - step) * channels, channels)) * 0.5
                scaled = b * weight[i] if len(weight) else b
                for p in range(size):
                    add_to(sums, p * channels, scaled * lane(b, p))
                add_to(sums, size * channels, b)
            for k in range(memory):
                out[k // channels, k % channels] += sums[k]

    return gram


def curvature_of(name: str, image: np.ndarray, directions: np.ndarray, grid: Grid, size: int) -> np.ndarray:
    """D^T (d2L/dH2) D, (size, size) float64, for an image D with a channel per direction."""
    frame = (grid.height, grid.width, grid.pad, grid.stride)
    out, gram = np.zeros((size + 1, channels_of(size))), _compile_gram(size)
    number, weight = grid.height * grid.width, np.empty(0, image.dtype)
    if name == "gradient_magnitude":
        for step in (1, grid.stride):
            gram(directions, weight, frame, step, out)
        return out[:size, :size] * (2 / ((grid.height - 2) * (grid.width - 2)))
    if name == "log_likelihood":
        weight = np.zeros_like(image)
        _log_likelihood(image, weight, frame, True)
        gram(directions, weight, frame, 0, out)
        return out[:size, :size].copy()
    gram(directions, weight, frame, 0, out)
    square = out[:size, :size] * (2 / number)
    mean = out[size, :size] / number * (name == "variance")
    return np.asarray(square - 2 * np.outer(mean, mean))


def gauss_taps(sigma: float, dtype: np.dtype) -> np.ndarray:
    """Gaussian of sigma bins, cut at 4 sigma, sum 1."""
    reach = int(np.ceil(4 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.asarray(taps / taps.sum(), dtype)


@compiled
def _blur(source: Any, target: Any, taps: Any, frame: Any, channels: int) -> None:
    height, width, pad, stride = frame
    reach, size = len(taps) // 2, width * channels
    line = np.empty(size, source.dtype)
    for row in range(height):
        line[:] = 0
        for k in range(max(-reach, -row), min(reach, height - 1 - row) + 1):
            first = ((row + k + pad) * stride + pad) * channels
            _add_scaled(line, 0, source, first, size, taps[reach + k])
        first = ((row + pad) * stride + pad) * channels
        target[first : first + size] = 0
        for k in range(-min(reach, width - 1), min(reach, width - 1) + 1):
            start, count = max(0, -k) * channels, size - abs(k) * channels
            _add_scaled(target, first + start, line, start + k * channels, count, taps[reach + k])


def blur(source: np.ndarray, target: np.ndarray, taps: np.ndarray, grid: Grid, channels: int = 1) -> None:
    """Separable convolution of the pixels, zero beyond them: its own adjoint for symmetric taps. Not in place."""
    _blur(source, target, taps, (grid.height, grid.width, grid.pad, grid.stride), channels)
