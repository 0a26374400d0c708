"""Numba kernels of the two binning primitives in one to three dimensions; twins of `evslam.ops.reference`.

The kernel is a table of piecewise polynomials (`evslam.ops.pieces`), so one scatter and one gather serve every kernel,
derivative, dimension and number of columns. Events are treated in blocks: positions and tap weights are computed for
the whole block in vector loops, then the votes are cast or read tap by tap. Missing dimensions are axes of one bin with
one tap of weight 1. Images carry a border of `taps` bins, so that no vote needs a test; an event that does not touch
the image reads and writes nothing. One thread, fixed order of summation: deterministic.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numba
import numpy as np

from evslam.errors import ConfigError
from evslam.ops.kernels import profile
from evslam.ops.pieces import tap_polynomials

__all__ = ["gather", "scatter", "tap_polynomials"]

_JIT = {"nogil": True, "fastmath": {"contract", "reassoc", "nsz"}, "error_model": "numpy"}
_BLOCK = 128
_OUTSIDE = -(2**30)  # base of an event that touches no bin; indices are 32-bit, so images must be smaller than this

Order = tuple[int, ...]  # derivatives per axis (x, y, t)


@numba.njit(forceinline=True, **_JIT)
def _locate(taps: int, extent: int, stride: int, s: Any, base: Any) -> None:
    """Coordinates s of one axis become positions in the span; base += stride * (first bin), extent with the border."""
    zero, one, half = s.dtype.type(0), s.dtype.type(1), s.dtype.type(0.5)
    turn, middle = (half, zero) if taps % 2 == 1 else (one + one, half)  # taps odd: beyond 1/2 the next bin is nearer
    offset = np.int32(taps - (taps - 1) // 2)
    low, high = s.dtype.type(-offset), s.dtype.type(extent - taps - offset)
    pace = np.int32(stride)
    for m in range(_BLOCK):
        floor = np.floor(s[m])
        rest = s[m] - floor
        step = one if rest >= turn else zero
        floor += step
        inside = (floor >= low) & (floor <= high)  # NaN is not
        first = np.int32(floor if inside else low) + offset
        s[m] = rest - step - middle if inside else zero
        base[m] = base[m] + first * pace if inside else np.int32(_OUTSIDE)


@numba.njit(forceinline=True, **_JIT)
def _weigh(table: Any, s: Any, weights: Any) -> None:
    """weights (orders, taps, block): every tap of every derivative at the positions s, by Horner's rule."""
    orders, taps, terms = table.shape
    for order in range(orders):
        for i in range(taps):
            row = weights[order, i]
            row[:] = table[order, i, terms - 1]
            for k in range(terms - 2, -1, -1):
                coefficient = table[order, i, k]
                for m in range(_BLOCK):
                    row[m] = row[m] * s[m] + coefficient


@numba.njit(forceinline=True, **_JIT)
def _scratch(table: Any, dtype: Any) -> Any:
    """Position, base index (block,) and tap weights (axis, orders, taps, block) of a block of events."""
    orders, taps, _ = table.shape
    return np.zeros(_BLOCK, dtype), np.zeros(_BLOCK, np.int32), np.ones((3, orders, taps, _BLOCK), dtype)


@numba.njit(forceinline=True, **_JIT)
def _place(coords: Any, start: int, size: int, table: Any, extent: Any, scratch: Any) -> None:
    """Fill the scratch of the block of events that begins at `start`."""
    s, base, weights = scratch
    stride = 1
    base[:] = 0
    for axis in range(coords.shape[1]):
        for m in range(size):
            s[m] = coords[start + m, axis]
        _locate(table.shape[1], extent[axis], stride, s, base)
        _weigh(table, s, weights[axis])
        stride *= extent[axis]


@numba.njit(forceinline=True, **_JIT)
def _rows(table: Any, extent: Any) -> Any:
    """Number of taps along y and t."""
    taps = table.shape[1]
    return taps if extent[1] > 1 else 1, taps if extent[2] > 1 else 1


@numba.njit(forceinline=True, **_JIT)
def _cast(flat: Any, base: Any, mass: Any, weights: Any, rows: Any, extent: Any, taps: int) -> None:
    """Votes of a block of events, mass (<= block,), with the tap weights of x, y and t, each (taps, block)."""
    wx, wy, wt = weights
    width, layer = extent[0], extent[0] * extent[1]
    for m in range(len(mass)):
        first = np.int64(base[m])
        if first >= 0:
            for k in range(rows[1]):
                heavy = mass[m] * wt[k, m]
                for j in range(rows[0]):
                    vote = heavy * wy[j, m]
                    at = np.uint64(first + width * j + layer * k)
                    for i in range(taps):
                        flat[at + np.uint64(i)] += vote * wx[i, m]


@numba.njit(cache=True, **_JIT)
def _scatter(coords: Any, columns: Any, offsets: Any, orders: Any, table: Any, extent: Any, out: Any) -> None:
    """out (packets, bins with border); extent (3,) bins of x, y, t with border; orders (columns, 3)."""
    taps, rows = table.shape[1], _rows(table, extent)
    scratch = _scratch(table, coords.dtype)
    _, base, weights = scratch
    for b in range(out.shape[0]):
        for start in range(offsets[b], offsets[b + 1], _BLOCK):
            stop = min(start + _BLOCK, offsets[b + 1])
            _place(coords, start, stop - start, table, extent, scratch)
            for c in range(columns.shape[1]):
                mass, (ox, oy, ot) = columns[start:stop, c], orders[c]
                column = (weights[0, ox], weights[1, oy], weights[2, ot])
                if taps == 1:  # the compiler unrolls known numbers of taps
                    _cast(out[b], base, mass, column, rows, extent, 1)
                elif taps == 2:
                    _cast(out[b], base, mass, column, rows, extent, 2)
                elif taps == 3:
                    _cast(out[b], base, mass, column, rows, extent, 3)
                elif taps == 4:
                    _cast(out[b], base, mass, column, rows, extent, 4)
                else:
                    _cast(out[b], base, mass, column, rows, extent, taps)


@numba.njit(forceinline=True, **_JIT)
def _read(flat: Any, base: Any, shift: int, wx: Any, bins: Any, row: Any) -> None:
    """row (derivatives along x, block): a row of taps of the image, weighted; bins (block,) is scratch."""
    row[:] = 0
    for i in range(wx.shape[1]):
        at = np.uint32(shift + i)
        for m in range(_BLOCK):
            bins[m] = flat[np.uint32(base[m]) + at]
        for order in range(wx.shape[0]):
            for m in range(_BLOCK):
                row[order, m] += bins[m] * wx[order, i, m]


@numba.njit(cache=True, **_JIT)
def _gather(image: Any, coords: Any, offsets: Any, orders: Any, table: Any, extent: Any, out: Any) -> None:
    """out (N, columns); image (packets, bins with border)."""
    rows, layers = _rows(table, extent)
    scratch = _scratch(table, coords.dtype)
    _, base, weights = scratch
    row, bins = np.zeros(weights.shape[1::2], coords.dtype), np.zeros(_BLOCK, coords.dtype)
    total = np.zeros((out.shape[1], _BLOCK), coords.dtype)
    for b in range(image.shape[0]):
        for start in range(offsets[b], offsets[b + 1], _BLOCK):
            size = min(_BLOCK, offsets[b + 1] - start)
            _place(coords, start, size, table, extent, scratch)
            base[:] = np.maximum(base, np.int32(0))  # an event outside reads the border, which is zero
            total[:] = 0
            for k in range(layers):
                for j in range(rows):
                    _read(image[b], base, extent[0] * (j + extent[1] * k), weights[0], bins, row)
                    for c in range(out.shape[1]):
                        ox, oy, ot = orders[c]
                        wy, wt = weights[1, oy, j], weights[2, ot, k]
                        for m in range(_BLOCK):
                            total[c, m] += row[ox, m] * wy[m] * wt[m]
            for c in range(out.shape[1]):
                for m in range(size):
                    out[start + m, c] = total[c, m]


def scatter(
    coords: np.ndarray,
    columns: np.ndarray,
    offsets: np.ndarray,
    shape: tuple[int, ...],
    name: str,
    orders: list[Order],
) -> np.ndarray:
    """H[b, j] = sum_i sum_c W[i, c] f_c(u_i - j) over the events i of packet b.

    Args:
        coords: (N, D) bins, (x, y, t). columns: (N, C) weights W. offsets: (B + 1,) int64. shape: (D,) of a packet.
        name: profile of the kernel. orders: derivatives per axis of f_c, one tuple for each column.

    Returns:
        (B, *shape) in the dtype of coords.
    """
    table, indices = _table(name, _highest(orders), coords.dtype), _indices(orders)
    border = table.shape[1]
    padded = _padded(shape, border)
    out = np.zeros((len(offsets) - 1, math.prod(padded)), coords.dtype)
    _scatter(coords, columns, offsets, indices, table, _extent(padded), out)
    inner = (slice(None), *(slice(border, border + size) for size in shape))
    return np.ascontiguousarray(out.reshape(-1, *padded)[inner])


def gather(image: np.ndarray, coords: np.ndarray, offsets: np.ndarray, name: str, orders: list[Order]) -> np.ndarray:
    """G[i, c] = sum_j v[b, j] f_c(u_i - j) for the events i of packet b.

    Args:
        image: (B, *shape) v. coords: (N, D) bins, (x, y, t). offsets: (B + 1,) int64.
        name: profile of the kernel. orders: derivatives per axis of f_c, one tuple for each column.

    Returns:
        (N, C) in the dtype of coords.
    """
    table, indices = _table(name, _highest(orders), coords.dtype), _indices(orders)
    border = table.shape[1]
    padded = _padded(image.shape[1:], border)
    bordered = np.zeros((len(image), *padded), coords.dtype)
    bordered[(slice(None), *(slice(border, border + size) for size in image.shape[1:]))] = image
    out = np.zeros((len(coords), len(orders)), coords.dtype)
    _gather(bordered.reshape(len(image), -1), coords, offsets, indices, table, _extent(padded), out)
    return out


@lru_cache(maxsize=256)
def _table(name: str, highest: int, dtype: np.dtype) -> np.ndarray:
    return profile(name).table(highest, dtype)


def _highest(orders: list[Order]) -> int:
    return max(max(order) for order in orders)


def _indices(orders: list[Order]) -> np.ndarray:
    return np.array([(*order, 0, 0)[:3] for order in orders])


def _padded(shape: tuple[int, ...], border: int) -> tuple[int, ...]:
    padded = tuple(size + 2 * border for size in shape)
    if math.prod(padded) >= -_OUTSIDE:
        raise ConfigError(f"histogram of shape {shape} has too many bins; split it or make it smaller than 2^30 bins")
    return padded


def _extent(padded: tuple[int, ...]) -> np.ndarray:
    return np.array((*reversed(padded), 1, 1)[:3])
