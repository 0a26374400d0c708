"""Reading ahead changes nothing but the time it takes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from evslam.errors import DataError
from evslam.prefetch import read_ahead


def test_same_items_in_order() -> None:
    assert list(read_ahead(iter(range(100)))) == list(range(100))
    assert list(read_ahead(iter([]))) == []


def test_an_error_comes_after_what_was_read_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise DataError("cut off")

    ahead = read_ahead(broken())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(DataError, match="cut off"):
        next(ahead)


def test_reads_ahead_but_not_without_limit() -> None:
    taken = []

    def endless() -> Iterator[int]:
        for k in range(1000):
            taken.append(k)
            yield k

    ahead = read_ahead(endless())
    assert next(ahead) == 0
    deadline = time.monotonic() + 5
    while len(taken) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert 3 <= len(taken) <= 5
    ahead.close()  # type: ignore[attr-defined]
    assert "read ahead" not in [thread.name for thread in threading.enumerate()]


def test_the_program_does_not_end_in_the_midst_of_reading() -> None:
    """A file that is locked by a thread which was cut off keeps the program from ending at all."""
    program = """
import time
from evslam.prefetch import read_ahead
def items():
    yield 1
    time.sleep(0.5)
    print("read", flush=True)
    while True:
        yield 2
ahead = read_ahead(items())
next(ahead)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "read\n"
