"""How far the events of a batch move in the image per unit of motion: the metric in which motion is optimised."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numba
import numpy as np

from evslam.ops.fused_bins import CHUNK, compiled
from evslam.ops.fused_simd import LINE, add_to, load_line, scratch, store, total

_PAIRS = 21  # of six parameters a <= b


@numba.njit(inline="always")
def _put_rows(work: Any, tx: Any, ty: Any, x: Any, y: Any, rho: Any) -> None:
    """Derivative of the bins to the twist at rest: the rows of `evslam.warp.interaction_matrix`, times t and focal."""
    count = LINE // work.itemsize
    store(work, 0, tx * rho)
    store(work, 1 * count, 0 * tx)
    store(work, 2 * count, -x * rho * tx)
    store(work, 3 * count, -x * y * tx)
    store(work, 4 * count, (1 + x * x) * tx)
    store(work, 5 * count, -y * tx)
    store(work, 6 * count, 0 * ty)
    store(work, 7 * count, ty * rho)
    store(work, 8 * count, -y * rho * ty)
    store(work, 9 * count, (-1 - y * y) * ty)
    store(work, 10 * count, x * y * ty)
    store(work, 11 * count, x * ty)


@lru_cache
def _compile(dtype: np.dtype) -> Any:
    count = LINE // dtype.itemsize
    memory, columns = _PAIRS * count, 12 * count

    @compiled
    def gram(events: Any, focal: Any, out: Any) -> None:
        n, moving = events.shape[1], events.shape[0] > 3
        partial, work = scratch(events, memory), scratch(events, columns)
        for chunk in range(0, n, CHUNK * count):
            partial[:] = 0
            for i in range(chunk, min(chunk + CHUNK * count, n), count):
                x, y, t = load_line(events, i), load_line(events, n + i), load_line(events, 2 * n + i)
                rho = load_line(events, 3 * n + i) if moving else 0 * t
                _put_rows(work, t * focal[0], t * focal[1], x, y, rho)
                k = 0
                for a in range(6):
                    first, second = load_line(work, a * count), load_line(work, (6 + a) * count)
                    for b in range(a, 6):
                        value = first * load_line(work, b * count) + second * load_line(work, (6 + b) * count)
                        add_to(partial, k * count, value)
                        k += 1
            for k in range(_PAIRS):
                out[k] += total(load_line(partial, k * count))

    return gram


def gram(events: np.ndarray, focal: tuple[float, float]) -> np.ndarray:
    """Sum over the events of J^T J (6, 6) float64, J the derivative of the bins to the twist at zero twist.

    Args:
        events: (3 or 4, N), x, y, t and inverse depth (zero when left out), N whole vectors, all finite.
        focal: (x, y) in bins.
    """
    pairs = np.zeros(_PAIRS)
    _compile(events.dtype)(events, np.asarray(focal, events.dtype), pairs)
    out = np.zeros((6, 6))
    upper = np.triu_indices(6)
    out[upper] = pairs
    out.T[upper] = pairs
    return out
