"""Read ahead: the next chunks are read in a thread while the last one is worked on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")

_DEPTH = 2  # chunks that wait, at most
_POLL_S = 0.1


def read_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items in the same order, taken from the iterator in a thread of its own; so are its errors.

    The thread ends with the iterator, or soon after the result is closed or dropped, or the program ends: one that was
    cut off while it reads would leave a file locked, and the program would wait for that forever.
    """
    waiting: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(_DEPTH)
    stop, main = threading.Event(), threading.main_thread()

    def is_wanted() -> bool:
        return main.is_alive() and not stop.is_set()

    def put(kind: str, item: T | BaseException | None) -> None:
        while is_wanted():
            try:
                waiting.put((kind, item), timeout=_POLL_S)
                return
            except queue.Full:
                continue

    def read() -> None:
        try:
            for item in items:
                put("item", item)
                if not is_wanted():
                    return
            put("end", None)
        except BaseException as error:  # handed on to whoever waits
            put("error", error)

    thread = threading.Thread(target=read, name="read ahead")
    thread.start()
    try:
        while True:
            kind, item = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(item, BaseException)
                raise item
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()
