"""Compiled SIFT descriptors (Lowe, IJCV 2004), upright and all of one size, for many places in one image.

The gradients of the image are sorted by direction once; a descriptor then is a sum over rows and one over columns,
because upright windows are products of both.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numba import njit

JIT = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}
CELLS, DIRECTIONS = 4, 8  # along each side, and in each
_SIGMA = 1.6  # blur of the image, of which 0.5 is there already
_CELL = 1.5  # width over the size of a place
_CLIP, _UNIT = 0.2, 512.0  # largest share of the length, and the length


def sift_descriptors(image: np.ndarray, pixel: np.ndarray, size_px: float) -> np.ndarray:
    """What OpenCV's SIFT gives for key points of this size at angle 0: (N, 128) float32 of whole numbers.

    Args:
        image: (H, W) uint8.
        pixel: (N, 2) places, rounded to whole pixels.
        size_px: a cell is 1.5 times as wide, the patch four cells.
    """
    smooth = cv2.GaussianBlur(image.astype(np.float32), (0, 0), float(np.sqrt(_SIGMA**2 - 0.25)))
    right, up = np.zeros_like(smooth), np.zeros_like(smooth)
    right[:, 1:-1], up[1:-1] = smooth[:, 2:] - smooth[:, :-2], smooth[:-2] - smooth[2:]
    steep, angle_deg = cv2.cartToPolar(right, up, angleInDegrees=True)
    sums = np.zeros((len(pixel), CELLS, CELLS, DIRECTIONS), np.float32)
    gradients = _sorted_by_direction(steep, angle_deg).reshape(len(steep), -1)
    _describe(gradients, np.rint(pixel).astype(np.int64), _CELL * size_px, sums)
    found = sums.reshape(len(pixel), CELLS * CELLS * DIRECTIONS)
    found = np.minimum(found, _CLIP * np.linalg.norm(found, axis=1, keepdims=True))
    length = np.maximum(np.linalg.norm(found, axis=1, keepdims=True), np.finfo(np.float32).eps)
    return np.rint(found * (_UNIT / length)).clip(0, 255)


@njit(**JIT)
def _sorted_by_direction(steep: Any, angle_deg: Any) -> Any:
    """(H, W, 8): steepness, shared between the two directions next to that of the gradient; the rim stays zero."""
    height, width = steep.shape
    out = np.zeros((height, width, DIRECTIONS), np.float32)
    for row in range(1, height - 1):
        for column in range(1, width - 1):
            direction = angle_deg[row, column] * np.float32(DIRECTIONS / 360)
            first = int(direction)
            share = direction - np.float32(first)
            out[row, column, first % DIRECTIONS] += steep[row, column] * (np.float32(1) - share)
            out[row, column, (first + 1) % DIRECTIONS] += steep[row, column] * share
    return out


@njit(**JIT)
def _describe(gradients: Any, place: Any, cell: float, out: Any) -> None:
    """Adds the gradients (H, 8 W) around each place (N, 2) to its cells (N, 4, 4, 8)."""
    height, width = gradients.shape[0], gradients.shape[1] // DIRECTIONS
    reach = int(np.ceil(0.5 * (CELLS + 1) * cell)) - 1
    first, weight = _window(reach, cell)
    rows = np.zeros((CELLS + 2, (2 * reach + 1) * DIRECTIONS), np.float32)  # with a cell more on both sides
    for n in range(len(place)):
        left, right = max(place[n, 0] - reach, 0), min(place[n, 0] + reach + 1, width)
        rows[:] = 0.0
        for row in range(max(place[n, 1] - reach, 0), min(place[n, 1] + reach + 1, height)):
            k = row - place[n, 1] + reach
            line = gradients[row, left * DIRECTIONS : right * DIRECTIONS]
            _add_twice(line, weight[k, 0], weight[k, 1], rows[first[k] + 1], rows[first[k] + 2])
        for i in range(CELLS):
            for column in range(left, right):
                k = column - place[n, 0] + reach
                for side in range(2):
                    j = first[k] + side
                    if j >= 0 and j < CELLS:
                        for o in range(DIRECTIONS):
                            out[n, i, j, o] += weight[k, side] * rows[i + 1, (column - left) * DIRECTIONS + o]


@njit(inline="always", **JIT)
def _window(reach: int, cell: float) -> Any:
    """Cell before each offset from -reach to reach, and the weights of this cell and the next."""
    first = np.empty(2 * reach + 1, np.int64)
    weight = np.empty((2 * reach + 1, 2), np.float32)
    for k in range(2 * reach + 1):
        offset = (k - reach) / cell
        near = np.exp(-offset * offset / (0.5 * CELLS * CELLS))
        place = offset + 0.5 * CELLS - 0.5
        first[k] = int(np.floor(place))
        weight[k, 0], weight[k, 1] = near * (1 - (place - first[k])), near * (place - first[k])
    return first, weight


@njit(inline="always", **JIT)
def _add_twice(line: Any, one: Any, two: Any, first: Any, second: Any) -> None:
    """Adds a line to two others, with a weight each."""
    for k in range(len(line)):
        first[k] += one * line[k]
        second[k] += two * line[k]
