"""Mode `auto`: rotation or six degrees of freedom, from the data."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import pytest
import torch
from moving_points import CAMERA, CONFIG, batch, noise, scene
from torch import Tensor

from evslam.geometry.lie import SE3
from evslam.tracking.mode import ModeChoice, ModeWatch, choose_mode
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


TURN, GO = [0, 0, 0, 1.0, -2.0, 0.5], [1.0, -0.5, 0.3, 0.3, 0.5, 0]
QUICK = dataclasses.replace(CONFIG, auto=dataclasses.replace(CONFIG.auto, interval_s=0.12, look_batches=4, looks=2))


def watched(watch: ModeWatch, batches: Iterator[EventBatch], fit: float) -> list[ModeChoice | None]:
    return [watch.add(each, fit) for each in batches]


def test_a_rotation_is_left_when_the_camera_moves_and_the_panorama_disagrees() -> None:
    choices = watched(ModeWatch(CAMERA, QUICK, "rotation"), recording(ROOM, GO, 8), fit=0.05)
    assert [choice is None for choice in choices] == [True] * 7 + [False]  # after the second look
    assert choices[-1] is not None
    assert choices[-1].mode == "6dof"
    assert "the panorama agrees by 0.05 only" in choices[-1].reason


@pytest.mark.parametrize(("points", "twist", "fit"), [(ROOM, GO, 0.3), (INFINITY, TURN, 0.05)])
def test_a_rotation_stays_while_the_panorama_agrees_or_nothing_is_gained(
    points: Tensor, twist: list[float], fit: float
) -> None:
    assert not any(watched(ModeWatch(CAMERA, QUICK, "rotation"), recording(points, twist, 12), fit))


def test_six_degrees_are_left_when_the_camera_only_turns_and_there_was_no_start() -> None:
    """Batches are short in this mode: three are joined."""
    slow = dataclasses.replace(QUICK, auto=dataclasses.replace(QUICK.auto, interval_s=0.3))
    turning = list(recording(INFINITY, [0, 0, 0, 0.2, -0.6, 0.2], 20))
    choices = watched(ModeWatch(CAMERA, slow, "6dof"), iter(turning), fit=0.0)
    assert [choice is None for choice in choices] == [True] * 19 + [False]
    assert choices[-1] is not None
    assert choices[-1].mode == "rotation"
    assert "no start was found" in choices[-1].reason
    assert not any(watched(ModeWatch(CAMERA, slow, "6dof"), iter(turning), fit=1.0))
    assert not any(watched(ModeWatch(CAMERA, slow, "6dof"), recording(ROOM, [0.5, -0.2, 0, 0, 0, 0], 20), fit=0.0))


def test_a_watch_goes_on_from_its_state_and_looks_from_its_time_on() -> None:
    whole = watched(ModeWatch(CAMERA, QUICK, "rotation", from_us=60_000), recording(ROOM, GO, 12), fit=0.0)
    assert [k for k, choice in enumerate(whole) if choice is not None] == [9]
    stream = recording(ROOM, GO, 12)
    first, second = (ModeWatch(CAMERA, QUICK, "rotation", from_us=60_000), ModeWatch(CAMERA, QUICK, "rotation"))
    before = watched(first, itertools.islice(stream, 7), fit=0.0)
    second.load_state_dict(first.state_dict())
    assert before + watched(second, stream, fit=0.0) == whole
