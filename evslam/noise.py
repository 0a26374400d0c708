"""Noise of the sensor, removed in explicit and counted steps between the reader and the batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from evslam.noise_kernels import NEVER, filter_events, find_hot
from evslam.settings import NoiseConfig
from evslam.types import Events, SensorSize

WINDOW_US = 500_000  # the mask of hot pixels is renewed at multiples of it
SLOT_US = 10_000  # over which a rate is measured
STATE = ("hot", "counts", "last", "rate")
SNAPSHOTS = 4  # windows that a run may be behind the events read ahead


@dataclass
class NoiseCounts:
    """What was met so far.

    Attributes:
        seen: events that went in.
        hot_pixels: pixels masked at the end.
        dropped_hot: events of hot pixels.
        dropped_background: events without a neighbour in space and time.
        dropped_rate: events above the largest rate.
    """

    seen: int = 0
    hot_pixels: int = 0
    dropped_hot: int = 0
    dropped_background: int = 0
    dropped_rate: int = 0


@dataclass(frozen=True)
class _Snapshot:
    """The state before the first event at or after `t_us`."""

    t_us: int
    counts: NoiseCounts
    arrays: dict[str, np.ndarray]


class NoiseFilter:
    """Removes hot pixels, background activity and bursts from a stream, in this order.

    - Hot pixels: a pixel is masked while its count since the start exceeds `hot_factor` times the median of its 5 x 5
      neighbourhood plus `hot_margin`, and `hot_factor` times the second largest count of its eight neighbours; without
      that a straight edge before a resting camera would be masked too. The mask is renewed every half second.
    - Background activity (off by default): an event is dropped unless one of the eight neighbours fired within
      `background_s` before it (Delbruck 2008, "Frame-free dynamic digital vision").
    - Rate (off by default): above `max_rate` only every n-th event passes, n from the rate of the current or the
      last 10 ms, so that the thinned events are spread evenly in space and time.

    The result depends on the events alone, not on how they are cut into chunks. Memory is bounded by the sensor's size.

    Args:
        config: which steps, and their thresholds.
        size: the sensor's resolution.
        start_us: time of the first event to expect.
    """

    def __init__(self, config: NoiseConfig, size: SensorSize, start_us: int) -> None:
        self.config, self.counts = config, NoiseCounts()
        shape = (size.height, size.width)
        self._arrays = {
            "hot": np.zeros(shape, bool),
            "counts": np.zeros(shape, np.int32),
            "last": np.full(shape if config.background_s else (1, 1), NEVER),
            "rate": np.zeros(4, np.int64),
        }
        slot_limit = round(config.max_rate * SLOT_US * 1e-6) if config.max_rate else 0
        background_us = round(config.background_s * 1e6) if config.background_s else 0
        self._settings = np.array([background_us, SLOT_US, slot_limit], np.int64)
        self._window: int | None = None
        self._snapshots: deque[_Snapshot] = deque([self._snapshot(start_us)], SNAPSHOTS)

    @property
    def resume_us(self) -> int:
        """Time from which events must be read on: the start, or that of the state that was loaded."""
        return self._snapshots[-1].t_us

    def clean(self, chunks: Iterable[Events], start_us: int) -> Iterator[Events]:
        """The events to use, from start_us on; those from `resume_us` to start_us only bring the state up to date.

        Args:
            chunks: events sorted by time, across chunks too, from `resume_us` on.
            start_us: the first time of interest.
        """
        for chunk in chunks:
            for piece in _pieces(chunk):
                kept = self._filter(piece)
                first = int(np.searchsorted(kept.t, start_us))
                if first < len(kept):
                    yield kept[first:]

    def watch(self, chunks: Iterable[Events]) -> Iterator[Events]:
        """Passes all events on, and takes them into account; the pixels that are hot at the end are marked."""
        for chunk in chunks:
            for piece in _pieces(chunk):
                self._filter(piece)
            yield chunk
        find_hot(self._arrays["counts"], self.config.hot_factor, self.config.hot_margin, self._arrays["hot"])

    @property
    def event_counts(self) -> np.ndarray:
        """(H, W) int32, events of every pixel so far."""
        return self._arrays["counts"]

    @property
    def hot(self) -> np.ndarray:
        """(H, W) bool, the pixels that are masked now."""
        return self._arrays["hot"]

    def state_dict(self, next_us: int) -> dict[str, Any]:
        """What a resumed run needs to go on with events from next_us: the latest state that is not newer."""
        old_enough = [each for each in self._snapshots if each.t_us <= next_us] or [self._snapshots[0]]
        snapshot = old_enough[-1]
        arrays = {name: torch.from_numpy(values) for name, values in snapshot.arrays.items()}
        return {"t_us": snapshot.t_us, "counts": asdict(snapshot.counts), "arrays": arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of an earlier run."""
        self.counts = NoiseCounts(**state["counts"])
        self._arrays = {name: values.numpy().copy() for name, values in state["arrays"].items()}
        self._window = None
        self._snapshots = deque([self._snapshot(state["t_us"])], SNAPSHOTS)

    def _filter(self, piece: Events) -> Events:
        window = int(piece.t[0]) // WINDOW_US
        if self._window is not None and window != self._window:
            self._renew(window)
        self._window = window
        keep, state = np.empty(len(piece), bool), tuple(self._arrays[name] for name in STATE)
        hot, background, rate = filter_events(piece.t, piece.x, piece.y, state, self._settings, keep)
        self.counts.seen += len(piece)
        self.counts.dropped_hot += hot
        self.counts.dropped_background += background
        self.counts.dropped_rate += rate
        if hot + background + rate == 0:
            return piece
        return Events(piece.t[keep], piece.x[keep], piece.y[keep], piece.p[keep])

    def _renew(self, window: int) -> None:
        """Renew the mask from the counts of all earlier windows, and remember the state."""
        if self.config.hot_pixels:
            arrays, config = self._arrays, self.config
            self.counts.hot_pixels = find_hot(arrays["counts"], config.hot_factor, config.hot_margin, arrays["hot"])
        self._snapshots.append(self._snapshot(window * WINDOW_US))

    def _snapshot(self, t_us: int) -> _Snapshot:
        return _Snapshot(t_us, replace(self.counts), {name: values.copy() for name, values in self._arrays.items()})


def load_kernels(config: NoiseConfig) -> None:
    """Run the filter on one event: the first compiled function of a process takes numba a quarter of a second to load,
    which may pass beside other work."""
    event = Events(np.zeros(1, np.int64), np.zeros(1, np.uint16), np.zeros(1, np.uint16), np.zeros(1, bool))
    list(NoiseFilter(config, SensorSize(1, 1), 0).watch([event]))


def _pieces(chunk: Events) -> Iterator[Events]:
    """Cuts a chunk where a window begins."""
    if not len(chunk):
        return
    first, last = int(chunk.t[0]) // WINDOW_US, int(chunk.t[-1]) // WINDOW_US
    edges = np.searchsorted(chunk.t, np.arange(first + 1, last + 1) * WINDOW_US) if last - first < len(chunk) else None
    if edges is None:  # more windows than events: cut where the window changes
        edges = np.flatnonzero(np.diff(chunk.t // WINDOW_US)) + 1
    bounds = [0, *np.unique(edges).tolist(), len(chunk)]
    for start, stop in pairwise(bounds):
        if stop > start:
            yield chunk[start:stop]
