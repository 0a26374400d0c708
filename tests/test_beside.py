"""Work in a thread is waited for, and its errors come out."""

from __future__ import annotations

import threading

import pytest

from evslam.beside import in_thread


def test_work_runs_beside_and_is_waited_for() -> None:
    go, seen = threading.Event(), []

    def work(value: int) -> None:
        assert go.wait(5)
        seen.append((value, threading.current_thread() is threading.main_thread()))

    wait = in_thread(work, 3)
    assert seen == []
    go.set()
    wait()
    wait()
    assert seen == [(3, False)]


def test_an_error_in_the_thread_is_raised_by_who_waits() -> None:
    def fail() -> None:
        raise ArithmeticError("broken")

    with pytest.raises(ArithmeticError, match="broken"):
        in_thread(fail)()
