"""Work beside the caller, in a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Worker = Callable[..., Callable[[], None]]  # starts work, and returns what waits for its end
_MOST = 16  # threads; each works for one that waits for it


def at_once(work: Callable[..., None], *arguments: Any) -> Callable[[], None]:
    """A worker that works at once; what it returns waits for nothing."""
    work(*arguments)
    return lambda: None


def in_thread(work: Callable[..., None], *arguments: Any) -> Callable[[], None]:
    """Starts work(*arguments) in a thread; what it returns waits for the end and raises what the work raised."""
    return _threads().submit(work, *arguments).result


def two_at_a_time(work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Results of the work on each item, in their order; the work on one must not touch what another's looks at.

    The caller works, too, and leaves to a thread what it does not come to.
    """
    waiting = deque(enumerate(items))
    results: list[Any] = [None] * len(waiting)

    def work_off() -> None:
        while waiting:
            try:
                number, item = waiting.popleft()
            except IndexError:  # the other one was faster
                return
            results[number] = work(item)

    other = _threads().submit(work_off) if len(waiting) > 1 else None
    try:
        work_off()
    finally:
        waiting.clear()
        if other is not None and not other.cancel():
            other.result()
    return results


@cache
def _threads() -> ThreadPoolExecutor:
    """Threads that wait for work: to start one, while others compute, takes as long as a step of tracking."""
    return ThreadPoolExecutor(_MOST, "evslam beside")


def made_ahead(items: Iterator[Item], most: int, hold: Callable[[], bool]) -> Iterator[tuple[Item, bool]]:
    """The same items; the next ones are made in a thread while the last one is worked on.

    Args:
        items: are made one at a time.
        most: that are made ahead.
        hold: asked before an item comes out; while it is true, no more are made than have been asked for.

    Yields:
        Each item, and whether it is the last that was made so far.
    """
    end: Any = object()
    pool = ThreadPoolExecutor(1, "evslam ahead")
    coming = deque([pool.submit(next, items, end)])
    try:
        while (item := coming.popleft().result()) is not end:
            if not hold():
                coming.extend(pool.submit(next, items, end) for _ in range(most - len(coming)))
            yield item, not coming
            if not coming:
                coming.append(pool.submit(next, items, end))
    finally:
        pool.shutdown(cancel_futures=True)
