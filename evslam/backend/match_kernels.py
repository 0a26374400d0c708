"""Compiled nearest neighbours among descriptors, all or near a place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

JIT = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**JIT)
def clear_matches(alike: Any, ratio: float) -> Any:
    """Rows (M, 2) int64 of pairs that are each other's most alike, the second being clearly less so.

    Args:
        alike: (N, K) float32 products of unit vectors; the square of a distance is 2 - 2 alike.
        ratio: of the distance to the most alike column over that to the second, at most.
    """
    count, others = alike.shape
    best_row = np.full(others, -1)
    best_of_column = np.full(others, -np.float32(np.inf))
    best_column = np.empty(count, np.int64)
    is_clear = np.empty(count, np.bool_)
    for i in range(count):
        first, second, column = -np.float32(np.inf), -np.float32(np.inf), 0
        for j in range(others):
            value = alike[i, j]
            if value > first:
                first, second, column = value, first, j
            elif value > second:
                second = value
            if value > best_of_column[j]:
                best_of_column[j], best_row[j] = value, i
        best_column[i] = column
        is_clear[i] = 1.0 - first < ratio * ratio * (1.0 - second)
    return _mutual(best_column, best_row, is_clear)


@njit(**JIT)
def near_matches(alike: Any, place: Any, new_place: Any, radius: float, least: float) -> Any:
    """Rows (M, 2) int64 of pairs that are each other's most alike among those near each other.

    Args:
        alike: (N, K) float32 products of unit vectors.
        place: (N, 2), NaN where there is none. new_place: (K, 2).
        radius: pairs further apart do not count.
        least: product that a pair needs.
    """
    count, others = alike.shape
    best_row = np.full(others, -1)
    best_of_column = np.full(others, np.float32(least))
    best_column = np.full(count, -1)
    for i in range(count):
        first = np.float32(least)
        x, y = place[i]
        for j in range(others):
            dx, dy = new_place[j, 0] - x, new_place[j, 1] - y
            if not dx * dx + dy * dy < radius * radius:
                continue
            value = alike[i, j]
            if value > first:
                first, best_column[i] = value, j
            if value > best_of_column[j]:
                best_of_column[j], best_row[j] = value, i
    return _mutual(best_column, best_row, best_column >= 0)


@njit(**JIT)
def _mutual(best_column: Any, best_row: Any, counts: Any) -> Any:
    rows = np.empty((len(best_column), 2), np.int64)
    found = 0
    for i in range(len(best_column)):
        if counts[i] and best_row[best_column[i]] == i:
            rows[found, 0], rows[found, 1] = i, best_column[i]
            found += 1
    return rows[:found]
