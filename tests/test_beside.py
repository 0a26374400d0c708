"""Work in a thread is waited for, and its errors come out."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from evslam.beside import in_thread, made_ahead, two_at_a_time


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
    with pytest.raises(IndexError):
        two_at_a_time(lambda item: [][item], [1, 2])


def test_a_single_item_needs_no_thread() -> None:
    assert two_at_a_time(lambda _: threading.current_thread(), [1]) == [threading.current_thread()]
    assert two_at_a_time(lambda item: item, []) == []


def test_work_beside_may_have_work_beside() -> None:
    def twice(item: int) -> list[int]:
        return two_at_a_time(lambda other: item * other, range(3))

    expected = [[item * other for other in range(3)] for item in range(40)]
    assert two_at_a_time(twice, range(40)) == expected


def test_so_many_items_are_made_ahead() -> None:
    made, ready = [], threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(6):
            made.append(number)
            ready.release()
            yield number

    seen = []
    for item, is_last in made_ahead(items(), 2, lambda: False):
        assert not is_last
        for _ in range(3 if item == 0 else item < 4):
            assert ready.acquire(timeout=5)  # while this one is worked on
        assert made == list(range(min(item + 3, 6)))
        seen.append(item)
    assert seen == [0, 1, 2, 3, 4, 5]


def test_held_it_comes_to_rest_at_the_last_item_that_was_made() -> None:
    made, seen = list[int](), list[int]()

    def items() -> Iterator[int]:
        for number in range(8):
            made.append(number)
            yield number

    rests = []
    for item, is_last in made_ahead(items(), 3, lambda: len(rests) < 1 and len(seen) >= 2):
        seen.append(item)
        if is_last:
            assert made == seen
            rests.append(item)
    assert seen == list(range(8))
    assert rests == [4]


def test_nothing_is_made_ahead_when_held() -> None:
    made = []

    def items() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            yield number

    for item, is_last in made_ahead(items(), 2, lambda: True):
        assert is_last
        assert made == list(range(item + 1))


def test_an_error_in_making_an_item_comes_after_those_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ArithmeticError("broken")

    ahead = made_ahead(items(), 2, lambda: False)
    assert next(ahead)[0] == 1
    with pytest.raises(ArithmeticError, match="broken"):
        next(ahead)
