"""The one streaming check that the events of every reader pass through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from evslam.errors import DataError
from evslam.types import Events, SensorSize

HOLDBACK_US = 10_000  # an event may be this much older than the newest event before it
HOLDBACK_EVENTS = 1 << 22  # but at most this many events are held back for it
MAX_T_US = 10**17  # the year 5138: a later time is in another unit
MAX_SHARE_OUTSIDE = 0.01
MIN_READ_FOR_SHARE = 10_000
MERGED_EVENTS = 1 << 14
LARGEST_SENSOR = SensorSize(height=1 << 16, width=1 << 16)


@dataclass
class ReadCounts:
    """What one pass over a recording met and mended.

    Attributes:
        read: events that were decoded.
        dropped_outside: events left out because they lie outside the sensor.
        reordered: events that came after a newer one and were sorted in.
        negative_polarity: events whose polarity -1 was read as 0.
        truncated_bytes: bytes at the end of the file that are no whole event.
        damaged_bytes: bytes inside the file that could not be decoded and were skipped.
        untimed: events left out because they come before the first time stamp.
    """

    read: int = 0
    dropped_outside: int = 0
    reordered: int = 0
    negative_polarity: int = 0
    truncated_bytes: int = 0
    damaged_bytes: int = 0
    untimed: int = 0

    def problems(self) -> list[str]:
        """What was met, in words; empty when nothing was."""
        facts = (
            (self.dropped_outside, "events outside the sensor are dropped"),
            (self.reordered, "events out of order are sorted in"),
            (self.negative_polarity, "polarities -1 are read as 0"),
            (self.truncated_bytes, "bytes at the end are no whole event"),
            (self.damaged_bytes, "bytes cannot be decoded and are skipped"),
            (self.untimed, "events before the first time stamp are dropped"),
        )
        return [f"{count} {fact}" for count, fact in facts if count]


@dataclass(frozen=True)
class RawEvents:
    """A chunk of events as decoded, before any check; a reader decodes the format and nothing else.

    Attributes:
        t: (N,) int64, microseconds.
        x, y: (N,) any integer type, column and row in pixels.
        p: (N,) any integer or bool type, polarity as stored.
        place: says for messages where event i of the chunk stands, such as "events.txt, line 12".
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray
    place: Callable[[int], str]


def merged(chunks: Iterable[RawEvents], least: int = MERGED_EVENTS) -> Iterator[RawEvents]:
    """Joins chunks to such of at least `least` events (the last may be smaller): a small one costs as much to check."""
    parts: list[RawEvents] = []
    for raw in chunks:
        parts.append(raw)
        if sum(len(part.t) for part in parts) >= least:
            yield _joined(parts)
            parts = []
    if parts:
        yield _joined(parts)


def _joined(parts: list[RawEvents]) -> RawEvents:
    if len(parts) == 1:
        return parts[0]
    stops = np.cumsum([len(part.t) for part in parts])

    def place(index: int) -> str:
        number = int(np.searchsorted(stops, index, "right"))
        return parts[number].place(index - (int(stops[number - 1]) if number else 0))

    columns = (np.concatenate([getattr(part, name) for part in parts]) for name in "txyp")
    t, x, y, p = columns
    return RawEvents(t, x, y, p, place)


def validated(
    chunks: Iterable[RawEvents], size: SensorSize, counts: ReadCounts, source: str = "the recording"
) -> Iterator[Events]:
    """Turns decoded chunks into chunks of events that are sorted, inside the sensor and of polarity 0 or 1.

    Rules. Polarity -1 becomes 0 and is counted; anything but -1, 0, 1 is an error. Times are 0 or later. An event up
    to 10 ms older than the newest before it is sorted in and counted; an older one is an error. Events outside the
    sensor are dropped and counted; they are an error once more than 1 % of at least 10 000 events are outside.

    Args:
        chunks: decoded events; memory stays bounded by one chunk and 10 ms of events (at most 4 million).
        size: the sensor's resolution.
        counts: is kept up to date while reading.
        source: the file, for messages.

    Raises:
        DataError: a rule above is broken, or there are no events.
    """
    held, newest, released = Events.empty(), 0, 0
    largest = (0, 0)
    for raw in chunks:
        if len(raw.t) == 0:
            continue
        counts.read += len(raw.t)
        _check_times(raw)
        counts.reordered += _count_late(raw, newest, released)
        newest = max(newest, int(raw.t.max()))
        largest = max(largest[0], int(raw.x.max())), max(largest[1], int(raw.y.max()))
        events = _inside(raw, _polarity(raw, counts), size, counts)
        if counts.read >= MIN_READ_FOR_SHARE and counts.dropped_outside > MAX_SHARE_OUTSIDE * counts.read:
            raise _outside_error(source, counts, size, largest)
        held = _sorted(Events.concatenate([held, events]))
        cut = max(int(np.searchsorted(held.t, newest - HOLDBACK_US, "right")), len(held) - HOLDBACK_EVENTS)
        if cut > 0:
            released = int(held.t[cut - 1])
            yield held[:cut]
            held = held[cut:]
    if counts.read == 0:
        raise DataError(f"{source} holds no events; check that it was written completely")
    if counts.dropped_outside == counts.read:
        raise _outside_error(source, counts, size, largest)
    if len(held):
        yield held


def windowed(events: Iterable[Events], start_us: int | None, stop_us: int | None, chunk: int) -> Iterator[Events]:
    """Cuts sorted chunks to start_us <= t < stop_us and to `chunk` events each (the last may be shorter)."""
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, not {chunk}")
    waiting: list[Events] = []
    num_waiting = 0
    for part in events:
        first = 0 if start_us is None else int(np.searchsorted(part.t, start_us))
        stop = len(part) if stop_us is None else int(np.searchsorted(part.t, stop_us))
        waiting.append(part[first:stop])
        num_waiting += max(stop - first, 0)
        if num_waiting >= chunk:
            whole = Events.concatenate(waiting)
            cut = num_waiting - num_waiting % chunk
            yield from (whole[index : index + chunk] for index in range(0, cut, chunk))
            waiting, num_waiting = [whole[cut:]], num_waiting - cut
        if stop < len(part):
            break
    if num_waiting:
        yield Events.concatenate(waiting)


def _check_times(raw: RawEvents) -> None:
    for wrong, fact, remedy in (
        (raw.t < 0, "is negative", "shift the recording so that no time is negative"),
        (raw.t > MAX_T_US, "lies after the year 5000", "convert the times to the unit that the format expects"),
    ):
        if wrong.any():
            index = int(np.argmax(wrong))
            raise DataError(f"{raw.place(index)}: time {raw.t[index]} us {fact}; {remedy}")


def _count_late(raw: RawEvents, newest: int, released: int) -> int:
    """Number of events older than one before them; refuses those that come too late to be sorted in."""
    if raw.t[0] >= newest and (raw.t[1:] >= raw.t[:-1]).all():
        return 0
    before = np.maximum.accumulate(np.concatenate([[newest], raw.t]))[:-1]
    too_late = (before - raw.t > HOLDBACK_US) | (raw.t < released)
    if too_late.any():
        index = int(np.argmax(too_late))
        raise DataError(
            f"{raw.place(index)}: time goes back from {before[index]} us to {raw.t[index]} us, more than the "
            f"{HOLDBACK_US // 1000} ms that are mended; sort the recording by time"
        )
    return int(np.count_nonzero(raw.t < before))


def _polarity(raw: RawEvents, counts: ReadCounts) -> np.ndarray:
    if raw.p.dtype == bool:
        return raw.p
    wrong = (raw.p > 1) | (raw.p < -1)
    if wrong.any():
        index = int(np.argmax(wrong))
        raise DataError(f"{raw.place(index)}: polarity {raw.p[index]} is not 0, 1 or -1; map it to 0 (down) and 1 (up)")
    counts.negative_polarity += int(np.count_nonzero(raw.p < 0))
    return raw.p > 0


def _inside(raw: RawEvents, polarity: np.ndarray, size: SensorSize, counts: ReadCounts) -> Events:
    inside = (raw.x >= 0) & (raw.x < size.width) & (raw.y >= 0) & (raw.y < size.height)
    num_outside = len(raw.t) - int(np.count_nonzero(inside))
    counts.dropped_outside += num_outside
    keep = inside if num_outside else slice(None)
    return Events(raw.t[keep], raw.x[keep].astype(np.uint16), raw.y[keep].astype(np.uint16), polarity[keep])


def _sorted(events: Events) -> Events:
    if (events.t[1:] >= events.t[:-1]).all():
        return events
    order = np.argsort(events.t, kind="stable")
    return Events(events.t[order], events.x[order], events.y[order], events.p[order])


def _outside_error(source: str, counts: ReadCounts, size: SensorSize, largest: tuple[int, int]) -> DataError:
    x, y = largest
    return DataError(
        f"{source}: {counts.dropped_outside} of {counts.read} events lie outside the {size.width}x{size.height} sensor "
        f"(largest x {x}, y {y}); give the resolution: --set sensor.width={x + 1} --set sensor.height={y + 1}"
    )
