"""Compiled loops of `evslam.noise` over events and pixels; the tests hold them equal to plain twins."""

from __future__ import annotations

import numpy as np
from numba import njit

NEVER = -(1 << 60)  # time of a pixel that has not fired
MARGIN_RADIUS = 2  # of the neighbourhood whose median is the local level: 5 x 5 pixels
HALVED_AT = 1 << 30  # counts are halved before they overflow


@njit(cache=True)
def filter_events(
    t: np.ndarray, x: np.ndarray, y: np.ndarray, state: tuple[np.ndarray, ...], settings: np.ndarray, keep: np.ndarray
) -> tuple[int, int, int]:
    """Decides event by event; the order of the steps is hot pixels, background activity, rate.

    Args:
        t: (N,) int64 microseconds, sorted. x, y: (N,) uint16 pixels.
        state: is brought up to date:
            hot (H, W) bool mask; counts (H, W) int32 events so far;
            last (H, W) int64 time of each pixel's latest event that was not hot, used only if settings[0] > 0;
            rate (4,) int64 of the rate limit: slot, events in it, events in the slot before, remainder.
        settings: (3,) int64: background window in us or 0, slot in us, most events in a slot or 0.
        keep: (N,) bool, is written.

    Returns:
        Events dropped as hot, as background activity and by the rate limit.
    """
    hot, counts, last, rate = state
    window, slot_us, most = settings[0], settings[1], settings[2]
    num_hot = num_background = num_limited = 0
    for i in range(t.shape[0]):
        column, row, time = int(x[i]), int(y[i]), t[i]
        counts[row, column] += 1
        keep[i] = False
        if hot[row, column]:
            num_hot += 1
            continue
        if window > 0:
            newest = _newest_neighbour(last, row, column)
            last[row, column] = time
            if time - newest > window:
                num_background += 1
                continue
        if most > 0 and not _within_rate(rate, time // slot_us, most):
            num_limited += 1
            continue
        keep[i] = True
    return num_hot, num_background, num_limited


@njit(cache=True)
def _newest_neighbour(last: np.ndarray, row: int, column: int) -> int:
    """Time at which one of the eight neighbours fired last; the pixel's own time is overwritten."""
    height, width = last.shape
    newest = last[row, column] = NEVER
    for r in range(max(row - 1, 0), min(row + 2, height)):
        for c in range(max(column - 1, 0), min(column + 2, width)):
            newest = max(newest, last[r, c])
    return newest


@njit(cache=True)
def _within_rate(rate: np.ndarray, slot: int, most: int) -> bool:
    """Counts an event; above `most` in this slot or the one before, every n-th passes (error diffusion)."""
    if slot != rate[0]:
        rate[2] = rate[1] if slot == rate[0] + 1 else 0
        rate[0], rate[1] = slot, 0
    rate[1] += 1
    expected = max(rate[1], rate[2])
    if expected <= most:
        return True
    rate[3] += most
    if rate[3] < expected:
        return False
    rate[3] -= expected
    return True


@njit(cache=True)
def find_hot(counts: np.ndarray, factor: float, margin: int, hot: np.ndarray) -> int:
    """Marks pixels that fire far more than their neighbourhood; see `evslam.noise.NoiseFilter`.

    Args:
        counts: (H, W) int32 events so far; halved in place before they overflow.
        factor, margin: of the threshold over the local median.
        hot: (H, W) bool, is written.

    Returns:
        The number of hot pixels.
    """
    height, width = counts.shape
    num_hot, largest = 0, 0
    values = np.empty((2 * MARGIN_RADIUS + 1) ** 2, np.int32)
    for row in range(height):
        for column in range(width):
            count = counts[row, column]
            largest = max(largest, count)
            hot[row, column] = False
            if count <= margin or _second_neighbour(counts, row, column) * factor >= count:
                continue
            size = 0
            for r in range(max(row - MARGIN_RADIUS, 0), min(row + MARGIN_RADIUS + 1, height)):
                for c in range(max(column - MARGIN_RADIUS, 0), min(column + MARGIN_RADIUS + 1, width)):
                    values[size] = counts[r, c]
                    size += 1
            if count > factor * np.median(values[:size]) + margin:
                hot[row, column] = True
                num_hot += 1
    if largest >= HALVED_AT:
        counts //= 2
    return num_hot


@njit(cache=True)
def _second_neighbour(counts: np.ndarray, row: int, column: int) -> int:
    """Second largest count of the eight neighbours: along an edge two of them fire as much as the pixel itself.

    On the border, where an edge may end, the largest.
    """
    height, width = counts.shape
    first = second = 0
    for r in range(max(row - 1, 0), min(row + 2, height)):
        for c in range(max(column - 1, 0), min(column + 2, width)):
            if r == row and c == column:
                continue
            value = counts[r, c]
            if value > first:
                first, second = value, first
            elif value > second:
                second = value
    inside = 0 < row < height - 1 and 0 < column < width - 1
    return second if inside else first
