"""Cutting a stream into packets, and undistorting a packet to a batch."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from evslam.batching import BearingTable, Packet, packets
from evslam.geometry.camera import Camera
from evslam.settings import BatchConfig
from evslam.types import EventBatch, Events, SensorSize

LIMITS = BatchConfig(num_events=4, max_duration_s=100e-6, max_displacement_px=10.0, min_events=1, min_share=0.0)
gaps = st.lists(st.sampled_from([0, 0, 0, 1, 7, 30, 99, 100, 101, 250]), max_size=40)
sizes = st.lists(st.integers(0, 9), max_size=60)


def stream(times: list[int]) -> Events:
    """Events with a running number as x, so that each can be told from every other."""
    number = np.arange(len(times), dtype=np.uint16)
    return Events(np.array(times, np.int64), number, number // 3, number % 2 == 0)


def chunked(events: Events, sizes: list[int]) -> list[Events]:
    """Cut after every size in turn; the rest is the last chunk."""
    cuts = [0, *np.minimum(np.cumsum(sizes, dtype=int), len(events)).tolist(), len(events)]
    return [events[a:b] for a, b in itertools.pairwise(cuts)]


def spans(found: list[Packet]) -> list[tuple[int, int, list[int]]]:
    return [(packet.start_us, packet.stop_us, packet.events.t.tolist()) for packet in found]


def cut(times: list[int], start_us: int | None = None) -> list[tuple[int, int, list[int]]]:
    return spans(list(packets([stream(times)], LIMITS, start_us)))


def test_count_limit() -> None:
    assert cut([0, 1, 2, 3, 4, 5]) == [(0, 4, [0, 1, 2, 3]), (4, 6, [4, 5])]


def test_exactly_the_count_is_one_packet() -> None:
    assert cut([10, 11, 12, 13]) == [(10, 14, [10, 11, 12, 13])]


def test_duration_limit_is_half_open() -> None:
    assert cut([0, 99, 100, 150]) == [(0, 100, [0, 99]), (100, 151, [100, 150])]


def test_equal_stamps_stay_together() -> None:
    assert cut([0, 1, 5, 5, 5, 6]) == [(0, 5, [0, 1]), (5, 7, [5, 5, 5, 6])]


def test_burst_beyond_the_count_is_one_packet() -> None:
    assert cut([3] * 9 + [8, 9]) == [(3, 8, [3] * 9), (8, 10, [8, 9])]


def test_burst_keeps_the_duration_limit() -> None:
    assert cut([3] * 9 + [500]) == [(3, 103, [3] * 9), (103, 500, []), (500, 501, [500])]


def test_burst_at_the_end() -> None:
    assert cut([1, 2, *[3] * 9]) == [(1, 3, [1, 2]), (3, 4, [3] * 9)]


def test_gap_becomes_one_empty_packet() -> None:
    assert cut([0, 1000]) == [(0, 100, [0]), (100, 1000, []), (1000, 1001, [1000])]


def test_start_before_the_first_event() -> None:
    assert cut([60, 120], start_us=50) == [(50, 121, [60, 120])]
    assert cut([500], start_us=50) == [(50, 500, []), (500, 501, [500])]


def test_nothing_comes_of_nothing() -> None:
    assert cut([]) == []
    assert list(packets([Events.empty(), Events.empty()], LIMITS)) == []


@given(gaps, st.integers(0, 2_000_000_000_000))
def test_packets_partition_the_stream(steps: list[int], origin: int) -> None:
    times = (origin + np.cumsum([0, *steps])).tolist()
    found = list(packets([stream(times)], LIMITS))
    assert (found[0].start_us, found[-1].stop_us) == (origin, times[-1] + 1)
    for before, after in itertools.pairwise(found):
        assert before.stop_us == after.start_us
    for packet in found:
        t = packet.events.t
        assert packet.start_us < packet.stop_us
        assert ((packet.start_us <= t) & (t < packet.stop_us)).all()
        if len(t):
            assert packet.stop_us - packet.start_us <= 100
            assert len(t) <= 4 or t[0] == t[-1]
    together = Events.concatenate([packet.events for packet in found])
    assert together.x.tolist() == list(range(len(times)))
    assert together.t.tolist() == times


@given(gaps, sizes)
@example([0] * 12 + [250], [3, 3, 3, 3])
def test_packets_do_not_depend_on_the_chunks(steps: list[int], sizes: list[int]) -> None:
    events = stream(np.cumsum([0, *steps]).tolist())
    whole, parts = list(packets([events], LIMITS)), list(packets(chunked(events, sizes), LIMITS))
    assert spans(parts) == spans(whole)
    assert [packet.events.x.tolist() for packet in parts] == [packet.events.x.tolist() for packet in whole]


def test_packets_come_as_soon_as_their_end_is_known() -> None:
    """A live stream must not wait for the end: the first packet needs one event beyond it."""
    seen: list[int] = []

    def source() -> itertools.chain[Events]:
        return itertools.chain.from_iterable([read(time)] for time in (0, 10, 150, 300))

    def read(time: int) -> Events:
        seen.append(time)
        return stream([time])

    first = next(iter(packets(source(), LIMITS)))
    assert (spans([first]), seen) == ([(0, 100, [0, 10])], [0, 10, 150])


def table(valid: torch.Tensor | None = None) -> BearingTable:
    """A 4x6 sensor whose bearing (10 x, 100 y) names its pixel."""
    y, x = torch.meshgrid(torch.arange(4.0), torch.arange(6.0), indexing="ij")
    return BearingTable(
        torch.stack([10 * x, 100 * y], 2), torch.ones(4, 6, dtype=torch.bool) if valid is None else valid
    )


def packet(t: list[int], x: list[int], y: list[int], start_us: int, stop_us: int) -> Packet:
    events = Events(np.array(t), np.array(x, np.uint16), np.array(y, np.uint16), np.arange(len(t)) % 2 == 0)
    return Packet(start_us, stop_us, events)


def test_batch_looks_bearings_up_by_row_and_column() -> None:
    batch = table().batch(packet([5, 6, 7], [5, 0, 2], [0, 3, 1], 5, 8))
    assert batch.bearing.tolist() == [[50, 0], [0, 300], [20, 100]]
    assert batch.polarity.tolist() == [True, False, True]
    assert (batch.num_events, batch.num_dropped) == (3, 0)


def test_batch_time_is_seconds_relative_to_the_middle_of_the_interval() -> None:
    day = 86_400_000_000  # float32 seconds would be off by 4 ms here
    batch = table().batch(packet([day, day + 1, day + 100], [0, 0, 0], [0, 0, 0], day, day + 101))
    assert (batch.t_ref_us, batch.start_us, batch.stop_us) == (day + 50, day, day + 101)
    assert batch.t.dtype == torch.float32
    assert batch.t.tolist() == pytest.approx([-50e-6, -49e-6, 50e-6], rel=1e-6)


def test_batch_drops_and_counts_pixels_without_bearing() -> None:
    valid = torch.ones(4, 6, dtype=torch.bool)
    valid[1, 2] = valid[3, 0] = False
    batch = table(valid).batch(packet([5, 6, 7, 8], [5, 0, 2, 2], [0, 3, 1, 2], 5, 9))
    assert batch.bearing.tolist() == [[50, 0], [20, 200]]
    assert batch.t.tolist() == pytest.approx([-2e-6, 1e-6], rel=1e-6)
    assert batch.polarity.tolist() == [True, False]
    assert (batch.num_events, batch.num_dropped) == (2, 2)


def test_batch_of_an_empty_packet() -> None:
    batch = table().batch(packet([], [], [], 100, 1000))
    assert (batch.t_ref_us, batch.num_events, batch.num_dropped) == (550, 0, 0)
    assert batch.bearing.shape == (0, 2)


def test_batch_undistorts_with_the_camera() -> None:
    camera = Camera(5.0, 4.0, 2.5, 1.5, SensorSize(4, 6))
    batch = BearingTable(*camera.bearing_table()).batch(packet([1], [5], [3], 0, 2))
    assert batch.bearing[0].tolist() == pytest.approx([2.5 / 5, 1.5 / 4])


def test_image_motion_ends_a_packet_that_has_enough_events() -> None:
    events, limits = stream(list(range(0, 100, 10))), dataclasses.replace(LIMITS, num_events=100, min_events=2)

    def sizes(min_events: int, pixels_per_us: float) -> list[int]:
        config = dataclasses.replace(limits, min_events=min_events)
        return [len(packet.events) for packet in packets([events], config, 0, lambda: 1e6 * pixels_per_us)]

    assert sizes(2, 0) == [10]
    assert sizes(2, 10 / 45) == [5, 4, 1]  # 45 us a packet
    assert sizes(2, 10 / 40) == [4, 4, 2]
    assert sizes(6, 10 / 15) == [6, 4]  # waits for its events


def test_only_the_last_packet_may_be_cut_off() -> None:
    assert [packet.whole for packet in packets([stream([0, 10, 20, 30, 40, 50])], LIMITS, 0)] == [True, False]


def test_successive_batches_are_joined_about_the_middle() -> None:
    camera = Camera(4.0, 4.0, 4.0, 4.0, SensorSize(9, 9))
    table = BearingTable(*camera.bearing_table())
    events = Events(
        np.arange(100, 160, 10), np.arange(6, dtype=np.uint16), np.arange(6, dtype=np.uint16), np.ones(6, bool)
    )
    whole = table.batch(Packet(100, 160, events))
    parts = [table.batch(Packet(100, 130, events[:3])), table.batch(Packet(130, 160, events[3:]))]
    found = EventBatch.joined(parts)
    assert (found.start_us, found.stop_us, found.t_ref_us) == (100, 160, whole.t_ref_us)
    assert torch.allclose(found.t, whole.t, atol=1e-9)
    for name in ("bearing", "polarity", "pixel"):
        assert torch.equal(getattr(found, name), getattr(whole, name))
    assert EventBatch.joined([whole]) is whole
