"""The steps of a run: batches through a SLAM system, on two cores where it lets them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from evslam.beside import made_ahead
from evslam.slam import MOST_AHEAD, RotationSlam, Seen, SpatialSlam
from evslam.types import EventBatch, TrackResult


@dataclass(frozen=True)
class Step:
    """A batch, what came out of it, and the seconds that took; whether it is the last that the system has seen."""

    batch: EventBatch
    result: TrackResult
    seconds: float
    is_last: bool


def steps(slam: RotationSlam | SpatialSlam, batches: Iterable[EventBatch], hold: Callable[[], bool]) -> Iterator[Step]:
    """Process batches one after the other. In mode `6dof` the next ones are seen in a thread while the last is placed.

    Args:
        slam: processes them.
        batches: follow each other.
        hold: asked before each step; while it is true, no more batches are seen, so that the system may be saved soon.
    """
    if isinstance(slam, SpatialSlam):
        for (batch, seen, seconds), is_last in made_ahead(_seen(slam, batches), MOST_AHEAD, hold):
            begin = time.perf_counter()
            result = slam.place(batch, seen)
            yield Step(batch, result, seconds + time.perf_counter() - begin, is_last)
    else:
        for batch in batches:
            begin = time.perf_counter()
            result = slam.process(batch)
            yield Step(batch, result, time.perf_counter() - begin, is_last=True)


def _seen(slam: SpatialSlam, batches: Iterable[EventBatch]) -> Iterator[tuple[EventBatch, Seen, float]]:
    for batch in batches:
        begin = time.perf_counter()
        seen = slam.see(batch)
        yield batch, seen, time.perf_counter() - begin
