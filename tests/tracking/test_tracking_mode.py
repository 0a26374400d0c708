"""Mode `auto`: rotation or six degrees of freedom, from the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import torch
from moving_points import CAMERA, CONFIG, batch, noise, scene
from torch import Tensor

from evslam.geometry.lie import SE3
from evslam.tracking.mode import choose_mode
from evslam.types import EventBatch

DURATION_S = 0.03
INFINITY, ROOM = scene((1e6, 1e6)), scene((1.0, 4.0))


def recording(points: Tensor, twist: list[float], num: int = 4) -> Iterator[EventBatch]:
    """Successive batches of world points under a constant twist, from the identity."""
    motion = torch.tensor(twist, dtype=torch.float64)
    for i in range(num):
        in_camera = SE3.exp(-(i + 0.5) * DURATION_S * motion) * points
        yield batch(in_camera, motion, DURATION_S, 12_000, start_us=round(i * DURATION_S * 1e6), seed=i)


@pytest.mark.parametrize("omega", [[1.0, -2.0, 0.5], [0.0, 0.0, 2.0]])
def test_points_at_infinity_make_a_rotation(omega: list[float]) -> None:
    choice = choose_mode(recording(INFINITY, [0, 0, 0, *omega]), CAMERA, CONFIG)
    assert choice.mode == "rotation"
    assert "over the first 4 measured batches" in choice.reason
    assert "not above the limit of" in choice.reason


@pytest.mark.parametrize("twist", [[1.0, -0.5, 0.3, 0, 0, 0], [1.0, -0.5, 0.3, 0.3, 0.5, 0]])
def test_translation_in_front_of_varied_depth_makes_six_degrees_of_freedom(twist: list[float]) -> None:
    choice = choose_mode(recording(ROOM, twist), CAMERA, CONFIG)
    assert choice.mode == "6dof"
    assert ", above the limit of" in choice.reason


def test_no_more_batches_are_read_than_asked_for() -> None:
    stream = recording(INFINITY, [0, 0, 0, 1.0, -2.0, 0.5])
    short = dataclasses.replace(CONFIG, auto=dataclasses.replace(CONFIG.auto, num_batches=3))
    assert "over the first 3 measured batches" in choose_mode(stream, CAMERA, short).reason
    assert len(list(stream)) == 1


@pytest.mark.parametrize("batches", [[], [noise(10, 0.03), noise(0, 0.03)]], ids=["none", "sparse"])
def test_without_a_measured_batch_it_is_a_rotation(batches: list[EventBatch]) -> None:
    choice = choose_mode(batches, CAMERA, CONFIG)
    assert (choice.mode, choice.reason) == ("rotation", "0 measured batches are too few to tell (3 needed)")
