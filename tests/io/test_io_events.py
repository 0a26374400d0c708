"""The one streaming check that every reader's events pass through."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from evslam.errors import DataError
from evslam.io.events import HOLDBACK_US, RawEvents, ReadCounts, merged, validated, windowed
from evslam.types import Events, SensorSize

SIZE = SensorSize(height=180, width=240)


def raw(t: list[int], x: ArrayLike = 0, y: ArrayLike = 0, p: ArrayLike = 1, first: int = 0) -> RawEvents:
    x, y, p = (np.broadcast_to(np.asarray(column, np.int32), len(t)) for column in (x, y, p))
    return RawEvents(np.array(t, np.int64), x, y, p, lambda index: f"file, event {first + index}")


def check(*chunks: RawEvents, size: SensorSize = SIZE) -> tuple[Events, ReadCounts]:
    counts = ReadCounts()
    return Events.concatenate(list(validated(iter(chunks), size, counts))), counts


def test_plain_events_pass_unchanged() -> None:
    events, counts = check(raw([1, 2, 2], [0, 239, 5], [179, 0, 7], [0, 1, 1]))
    assert events.t.tolist() == [1, 2, 2]
    assert events.x.tolist() == [0, 239, 5]
    assert events.y.tolist() == [179, 0, 7]
    assert events.p.tolist() == [False, True, True]
    assert [getattr(events, name).dtype.name for name in "txyp"] == ["int64", "uint16", "uint16", "bool"]
    assert counts == ReadCounts(read=3)


def test_polarity_minus_one_is_zero_and_counted() -> None:
    events, counts = check(raw([1, 2, 3], p=[-1, 0, 1]))
    assert events.p.tolist() == [False, False, True]
    assert counts.negative_polarity == 1


@pytest.mark.parametrize("value", [2, -2, 255])
def test_other_polarity_is_refused(value: int) -> None:
    with pytest.raises(DataError, match=rf"file, event 7: polarity {value} is not 0, 1 or -1; map it"):
        check(raw([1, 2], first=4), raw([3, 4], p=[1, value], first=6))


def test_negative_time_is_refused() -> None:
    with pytest.raises(DataError, match=r"file, event 1: time -5 us is negative; shift the recording"):
        check(raw([0, -5]))


def test_time_in_another_unit_is_refused() -> None:
    with pytest.raises(DataError, match=r"event 0: time 1700000000000000000 us .*year 5000; convert"):
        check(raw([1_700_000_000_000_000_000]))


@pytest.mark.parametrize("chunks", [[[100, 10_100, 100, 10_100]], [[100, 10_100], [100, 10_100]]])
def test_ten_milliseconds_back_are_sorted_in(chunks: list[list[int]]) -> None:
    events, counts = check(*(raw(t) for t in chunks))
    assert events.t.tolist() == [100, 100, 10_100, 10_100]
    assert counts.reordered == 1


@pytest.mark.parametrize("split", [1, 2, 3])
def test_more_than_ten_milliseconds_back_are_refused(split: int) -> None:
    t = [100, 10_101, 100]
    with pytest.raises(DataError, match=r"event 2: time goes back from 10101 us to 100 us, .*10 ms.*; sort"):
        check(raw(t[:split]), raw(t[split:], first=split))


@given(st.lists(st.tuples(st.integers(0, 3_000), st.integers(-HOLDBACK_US, 0)), min_size=1), st.integers(1, 7))
def test_jitter_up_to_the_holdback_sorts_stably(steps: list[tuple[int, int]], chunk: int) -> None:
    newest, t = 0, []
    for step, back in steps:
        newest += step
        t.append(max(newest + back, 0))
    newest_before = np.maximum.accumulate([0, *t])[:-1]
    x = np.arange(len(t)) % 240
    parts = [raw(t[i : i + chunk], x[i : i + chunk], first=i) for i in range(0, len(t), chunk)]
    events, counts = check(*parts)
    order = np.argsort(t, kind="stable")
    assert events.t.tolist() == np.array(t)[order].tolist()
    assert events.x.tolist() == x[order].tolist()
    assert counts.reordered == int((np.array(t) < newest_before).sum())


def test_memory_is_bounded_by_the_holdback() -> None:
    given_out, most_held = 0, 0

    def stream() -> Iterator[RawEvents]:
        nonlocal most_held
        for start in range(0, 1_000_000, 1_000):
            most_held = max(most_held, start - given_out)
            yield raw(list(range(start, start + 1_000)))

    for events in validated(stream(), SIZE, ReadCounts()):
        given_out += len(events)
    assert given_out == 1_000_000
    assert most_held <= HOLDBACK_US + 1_000


def test_holdback_gives_out_events_of_equal_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evslam.io.events.HOLDBACK_EVENTS", 100)
    parts = list(validated(iter([raw([7] * 300), raw([7] * 50)]), SIZE, ReadCounts()))
    assert [len(part) for part in parts] == [200, 50, 100]
    with pytest.raises(DataError, match="time goes back from 7 us to 6 us"):
        list(validated(iter([raw([7] * 300), raw([6])]), SIZE, ReadCounts()))


def test_events_outside_are_dropped_and_counted() -> None:
    events, counts = check(raw([1, 2, 3, 4, 5], [0, 240, 0, -1, 9], [0, 0, 180, 0, 9]))
    assert events.t.tolist() == [1, 5]
    assert (counts.read, counts.dropped_outside) == (5, 3)


def test_one_percent_outside_is_accepted_and_more_is_not() -> None:
    x = np.zeros(20_000, int)
    x[:200] = 345
    events, counts = check(raw(list(range(20_000)), x))
    assert (len(events), counts.dropped_outside) == (19_800, 200)
    x[200] = 300
    with pytest.raises(DataError) as caught:
        check(raw(list(range(20_000)), x, 259))
    assert "of 20000 events lie outside the 240x180 sensor (largest x 345, y 259)" in str(caught.value)
    assert "--set sensor.width=346 --set sensor.height=260" in str(caught.value)


def test_share_outside_is_judged_from_ten_thousand_events_on() -> None:
    _, counts = check(raw(list(range(9_999)), [300] * 5_000 + [0] * 4_999))
    assert counts.dropped_outside == 5_000


def test_all_events_outside_are_refused() -> None:
    with pytest.raises(DataError, match=r"2 of 2 events lie outside .*sensor.width=301"):
        check(raw([1, 2], 300))


def test_no_events_are_refused() -> None:
    with pytest.raises(DataError, match="holds no events"):
        check()


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=5), max_size=5),
    st.none() | st.integers(-1, 42),
    st.none() | st.integers(-1, 42),
    st.integers(1, 4),
)
def test_windowed_equals_slicing(parts: list[list[int]], start: int | None, stop: int | None, chunk: int) -> None:
    t = np.sort(np.array([value for part in parts for value in part], np.int64))
    zeros = np.zeros(len(t), np.uint16)
    whole = Events(t, np.arange(len(t), dtype=np.uint16), zeros, zeros > 0)
    edges = np.cumsum([0, *map(len, parts)])
    stream = (whole[first:last] for first, last in pairwise(edges))
    pieces = list(windowed(stream, start, stop, chunk))
    expected = np.flatnonzero((t >= (-1 if start is None else start)) & (t < (99 if stop is None else stop)))
    assert Events.concatenate(pieces).x.tolist() == expected.tolist()
    assert all(len(piece) == chunk for piece in pieces[:-1])
    assert all(0 < len(piece) <= chunk for piece in pieces)


def test_windowed_stops_reading_after_the_window() -> None:
    def stream() -> Iterator[Events]:
        yield Events(np.array([1, 2, 3]), np.zeros(3, np.uint16), np.zeros(3, np.uint16), np.zeros(3, bool))
        raise AssertionError("read beyond the window")

    assert [part.t.tolist() for part in windowed(stream(), 2, 3, 10)] == [[2]]


@pytest.mark.parametrize("least", [1, 2, 3, 5, 100])
def test_merged_chunks_hold_the_same_events_at_the_same_places(least: int) -> None:
    parts = [raw([1, 2], first=0), raw([3], first=2), raw([4, 5, 6], first=3)]
    joined = list(merged(iter(parts), least))
    assert np.concatenate([part.t for part in joined]).tolist() == [1, 2, 3, 4, 5, 6]
    assert [part.place(i) for part in joined for i in range(len(part.t))] == [f"file, event {i}" for i in range(6)]
    assert all(len(part.t) >= least for part in joined[:-1])
