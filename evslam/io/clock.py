"""Clocks of few bits that overflow while a recording goes on."""

from __future__ import annotations

import numpy as np


def unwrapped(ticks: np.ndarray, bits: int, start: int | None = None) -> np.ndarray:
    """Ticks of an overflowing counter as continuous time.

    Args:
        ticks: (N,) unsigned values of the counter; neighbours are less than half of its range apart.
        bits: width of the counter.
        start: continuous time of the first tick; by default the first tick itself.

    Returns:
        (N,) int64, equal to the ticks modulo 2**bits.
    """
    values = ticks.astype(np.int64)
    if len(values) == 0:
        return values
    half, whole = 1 << (bits - 1), 1 << bits
    step = np.diff(values)
    if start is None or start == values[0]:
        if (np.abs(step) < half).all():
            return values
        start = int(values[0])
    return start + np.concatenate([[0], np.cumsum((step + half) % whole - half)])
