"""A start that lets wait for it long enough is taken without confirmation, once for every time without a map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from point_scenes import FOCAL, Motion, room, tracks

from evslam.config import load_config
from evslam.starting import Starting
from evslam.types import PointFrame

CONFIG = replace(load_config().bootstrap, confirm_s=1e3)
ASIDE = Motion((0.5, 0.1, 0.05), (0.05, -0.2, 0.1))


@pytest.fixture(autouse=True)
def _unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evslam.tracking.bootstrap._is_sure", lambda *_: False)


def moving() -> list[PointFrame]:
    rng = np.random.default_rng(7)
    return tracks(room(rng), ASIDE, rng, seconds=2.0)


def first_us(starting: Starting, frames: list[PointFrame]) -> int | None:
    """When a start is found."""
    return next((frame.t_us for frame in frames if starting.look(frame) is not None), None)


def test_it_waits_for_as_long_as_it_should() -> None:
    frames = moving()
    assert first_us(Starting(replace(CONFIG, patience_s=99.0), FOCAL, None), frames) is None
    for patience_s in (0.6, 1.2):
        found_us = first_us(Starting(replace(CONFIG, patience_s=patience_s), FOCAL, None), frames)
        assert found_us is not None
        assert patience_s < 1e-6 * found_us < patience_s + 0.2


def test_after_a_start_it_begins_to_wait_anew() -> None:
    starting, frames = Starting(replace(CONFIG, patience_s=0.6), FOCAL, None), moving()
    found = next(start for frame in frames if (start := starting.look(frame)) is not None)
    starting.begin(found, found.T_cam_world)
    assert starting.since_us is None
    starting.anew()
    later = [replace(frame, t_us=frame.t_us + 5_000_000) for frame in frames]
    found_us = first_us(starting, later)
    assert found_us is not None
    assert 5.6 < 1e-6 * found_us < 5.8


def test_a_camera_that_was_found_in_a_map_waits_for_nothing() -> None:
    starting, frames = Starting(replace(CONFIG, patience_s=0.6), FOCAL, None), moving()
    assert first_us(starting, frames[:50]) is None
    starting.settle()
    found_us = first_us(starting, frames[50:])
    assert found_us is not None
    assert 1.1 < 1e-6 * found_us < 1.3


def test_looking_for_objects_anew_does_not_make_it_wait_longer() -> None:
    starting, frames = Starting(replace(CONFIG, patience_s=0.6), FOCAL, None), moving()
    assert first_us(starting, frames[:50]) is None
    starting.anew(frames[10:50])
    found_us = first_us(starting, frames[50:])
    assert found_us is not None
    assert 0.6 < 1e-6 * found_us < 0.8
