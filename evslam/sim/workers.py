"""Row-parallel work: kernels that release the interpreter lock run on bands of image rows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import TracebackType
from typing import TypeVar

import numba

from evslam.sim.raycast import TILE

Result = TypeVar("Result")
ROWS_PER_BAND = 2 * TILE


class RowWorkers:
    """A thread pool over fixed bands of rows; the bands don't depend on the number of threads."""

    def __init__(self, height: int, threads: int | None = None) -> None:
        """Arguments: height: image rows; threads: None for what numba may use (NUMBA_NUM_THREADS)."""
        edges = [*range(0, height, ROWS_PER_BAND), height]
        self._bands = list(pairwise(edges))
        self._pool = ThreadPoolExecutor(threads or numba.config.NUMBA_NUM_THREADS)

    def map(self, job: Callable[[int, int], Result]) -> list[Result]:
        """Call job(first_row, end_row) for all bands; returns the results from top to bottom."""
        return list(self._pool.map(lambda band: job(*band), self._bands))

    def __enter__(self) -> RowWorkers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
