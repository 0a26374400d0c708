"""Work in a thread is waited for, and its errors come out."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from evslam.beside import in_thread, one_ahead, two_at_a_time


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


def test_results_come_in_the_order_of_the_items() -> None:
    both = threading.Barrier(2)

    def work(item: int) -> int:
        both.wait(5)  # two are under way at once
        return item * item

    assert two_at_a_time(work, range(6)) == [0, 1, 4, 9, 16, 25]


def test_an_error_of_one_item_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        two_at_a_time(lambda item: 1 / item, [1, 0, 2])


def test_one_item_is_made_ahead_but_not_two() -> None:
    made, both = [], threading.Barrier(2)

    def items() -> Iterator[int]:
        for number in range(3):
            if number:
                both.wait(5)  # while the last one is worked on
            made.append(number)
            yield number

    seen = []
    for item, is_last in one_ahead(items(), lambda: False):
        assert not is_last
        if item < 2:
            assert made == list(range(item + 1))
            both.wait(5)
        seen.append(item)
    assert seen == [0, 1, 2]


def test_nothing_is_made_ahead_when_held() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    for item, is_last in one_ahead(items(), lambda: True):
        assert is_last
        assert made == list(range(item + 1))


def test_an_error_in_making_an_item_comes_after_those_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ArithmeticError("broken")

    ahead = one_ahead(items(), lambda: False)
    assert next(ahead)[0] == 1
    with pytest.raises(ArithmeticError, match="broken"):
        next(ahead)
