"""From a stream of raw events to batches that one motion estimate can explain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from evslam.settings import BatchConfig
from evslam.types import EventBatch, Events


@dataclass(frozen=True)
class Packet:
    """Raw events of the half-open interval [start_us, stop_us); `whole` unless the end of the recording cut it off."""

    start_us: int
    stop_us: int
    events: Events
    whole: bool = True


def packets(
    chunks: Iterable[Events],
    config: BatchConfig,
    start_us: int | None = None,
    pace: Callable[[], float] = lambda: 0.0,
) -> Iterator[Packet]:
    """Cut a stream into contiguous packets, limited by count, by duration and by image motion.

    A packet ends before the event that would exceed `num_events`, or after `max_duration_s`, whichever comes first.
    With more than `min_events` it ends as soon as the image has moved by `max_displacement_px`, too. Events with equal
    time stamps stay together. An interval without events becomes one empty packet that ends at the next event. The
    last packet holds what is left, so every event is processed.

    Args:
        chunks: events sorted by time, across chunks too.
        config: the limits.
        start_us: begin of the first packet; None for the first event.
        pace: speed of the image in pixels per second, asked for each packet.

    Yields:
        Packets whose intervals follow each other without gap. At most one chunk and one packet are held in memory.
    """
    longest = round(config.max_duration_s * 1e6)
    held = Events.empty()
    for chunk in chunks:
        held = Events.concatenate([held, chunk])
        if start_us is None and len(held):
            start_us = int(held.t[0])
        while start_us is not None and (stop_us := _cut(held.t, start_us, longest, config, pace)) is not None:
            count = int(np.searchsorted(held.t, stop_us))
            yield Packet(start_us, stop_us, held[:count])
            held, start_us = held[count:], stop_us
    if start_us is not None and len(held):
        yield Packet(start_us, int(held.t[-1]) + 1, held, whole=False)


def _cut(t: np.ndarray, start_us: int, longest: int, config: BatchConfig, pace: Callable[[], float]) -> int | None:
    """End of the packet that begins at start_us, or None while the events at hand cannot tell."""
    if not len(t):
        return None
    limit, num_events = start_us + longest, config.num_events
    if t[0] >= limit:
        return int(t[0])
    moved = start_us + max(round(min(config.max_displacement_px / max(pace(), 1e-9), config.max_duration_s) * 1e6), 1)
    enough = int(t[config.min_events]) if len(t) > config.min_events else limit
    limit = min(limit, max(moved, enough))
    if len(t) > num_events and t[num_events] < limit:
        stop = int(t[num_events])
        return stop if stop > t[0] else _after_burst(t, stop, limit)
    return limit if t[-1] >= limit else None


def _after_burst(t: np.ndarray, time: int, limit: int) -> int | None:
    """First event after `time`, at most `limit`: a burst of more than num_events equal stamps cannot be split."""
    index = int(np.searchsorted(t, time, side="right"))
    return min(int(t[index]), limit) if index < len(t) else None


@dataclass(frozen=True)
class BearingTable:
    """Undistorted bearing (H, W, 2) of every pixel, and whether it has one (H, W)."""

    bearing: Tensor
    valid: Tensor

    def batch(self, packet: Packet) -> EventBatch:
        """Undistort the events of a packet; time becomes seconds relative to the middle of its interval."""
        events, width = packet.events, self.valid.shape[1]
        t_ref_us = (packet.start_us + packet.stop_us) // 2
        pixel = events.y.astype(np.int64) * width + events.x
        kept = None if self._all_valid else np.flatnonzero(self._valid.take(pixel))
        t, p = events.t - t_ref_us, events.p
        if kept is not None:
            pixel, t, p = pixel[kept], t[kept], p[kept]
        device = self.bearing.device
        columns = (
            (t * 1e-6).astype(np.float32),
            self._bearing.take(pixel, 0),
            np.ascontiguousarray(p),
            pixel.astype(np.int32),
        )
        seconds, bearing, polarity, place = (torch.from_numpy(each).to(device) for each in columns)
        return EventBatch(
            t_ref_us=t_ref_us,
            start_us=packet.start_us,
            stop_us=packet.stop_us,
            t=seconds,
            bearing=bearing,
            polarity=polarity,
            num_dropped=len(events) - len(pixel),
            whole=packet.whole,
            pixel=place,
        )

    @cached_property
    def _valid(self) -> np.ndarray:
        return self.valid.cpu().numpy().ravel()

    @cached_property
    def _all_valid(self) -> bool:
        return bool(self._valid.all())

    @cached_property
    def _bearing(self) -> np.ndarray:
        return self.bearing.cpu().numpy().reshape(-1, 2)
