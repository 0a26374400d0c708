"""Work beside the caller, in a thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def in_thread(work: Callable[..., None], *arguments: Any) -> Callable[[], None]:
    """Starts work(*arguments) in a thread; what it returns waits for the end and raises what the work raised."""
    pool = ThreadPoolExecutor(1, "evslam beside")
    future = pool.submit(work, *arguments)
    pool.shutdown(wait=False)
    return future.result
