"""Which frames structure and motion are told from."""

from __future__ import annotations

import numpy as np
import pytest

from evslam.tracking.start import evenly
from evslam.types import PointFrame

TIMES = [0, 10, 20, 30, 40, 100]
FRAMES = [PointFrame(t_us, np.zeros(0, np.int64), np.zeros((0, 2))) for t_us in TIMES]


@pytest.mark.parametrize(
    ("position", "number", "chosen"),
    [
        (TIMES, 3, [0, 40, 100]),
        (TIMES, 6, [0, 20, 40, 100]),  # the middle of the gap is nearest to its ends
        (range(6), 6, TIMES),
        (range(6), 4, [0, 20, 30, 100]),
        (range(6), 20, TIMES),
    ],
)
def test_frames_are_spread_evenly_by_time_or_by_number(
    position: list[int] | range, number: int, chosen: list[int]
) -> None:
    found = evenly(FRAMES, np.array(position), number)
    assert [frame.t_us for frame in found] == chosen


def test_one_frame_is_all_there_is() -> None:
    assert evenly(FRAMES[:1], np.array([7]), 8) == FRAMES[:1]
