"""Panoramic map: where a direction lands, and back."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from evslam.config import load_config
from evslam.geometry.lie import SE3, SO3
from evslam.mapping.panorama import Panorama
from evslam.types import EventBatch

WIDTH, HEIGHT = 64, 32
REST = torch.zeros(6)
MAP = dataclasses.replace(load_config().map, panorama_width=WIDTH)


def panorama(max_points: int = 1000) -> Panorama:
    return Panorama(dataclasses.replace(MAP, max_points=max_points), REST.device)


def batch(bearing: Tensor, t: float = 0.0) -> EventBatch:
    num = len(bearing)
    return EventBatch(0, -10_000, 10_000, torch.full((num,), t), bearing.float(), torch.ones(num, dtype=torch.bool))


def pose(omega: list[float], translation: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Tensor:
    """T_world_cam (7,) with rotation exp(omega)."""
    rotation = SO3.exp(torch.tensor(omega, dtype=torch.float64)).data
    return torch.cat([torch.tensor(translation, dtype=torch.float64), rotation])


def direction(column: float, row: float) -> Tensor:
    """World direction of a panorama pixel: longitude and latitude of its centre."""
    longitude, latitude = ((column + 0.5) / WIDTH - 0.5) * math.tau, ((row + 0.5) / HEIGHT - 0.5) * math.pi
    flat = math.cos(latitude)
    parts = (math.sin(longitude) * flat, math.sin(latitude), math.cos(longitude) * flat)
    return torch.tensor(parts, dtype=torch.float64)


def bearing_of(column: float, row: float, T_world_cam: Tensor) -> Tensor:
    """(1, 2) bearing under which a camera sees a panorama pixel at infinity."""
    x, y, z = (SE3.InitFromVec(T_world_cam).matrix()[:3, :3].T @ direction(column, row)).tolist()
    assert z > 0
    return torch.tensor([[x / z, y / z]], dtype=torch.float64)


def test_the_first_view_is_in_the_middle() -> None:
    view = panorama()
    view.add(batch(torch.zeros(1, 2)), REST, pose([0, 0, 0]))
    assert view.image[15:17, 31:33].flatten().tolist() == pytest.approx([0.25] * 4, abs=1e-5)
    assert float(view.image.sum()) == pytest.approx(1)


def test_right_is_right_and_down_is_down() -> None:
    view = panorama()
    one_pixel = 2 * math.pi / WIDTH
    bearing = torch.tensor([[math.tan(5.5 * one_pixel), 0.0], [0.0, math.tan(3.5 * one_pixel)]])
    view.add(batch(bearing), REST, pose([0, 0, 0]))
    assert view.image[15:17, 37].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    assert view.image[19, 31:33].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)


@pytest.mark.parametrize(
    ("omega", "column", "row"),
    [([0, math.pi / 2, 0], 48, 16), ([0, -math.pi / 2, 0], 16, 16), ([-math.pi / 4, 0, 0], 32, 24)],
    ids=["right", "left", "down"],
)
def test_the_optical_axis_of_a_turned_camera(omega: list[float], column: int, row: int) -> None:
    view = panorama()
    view.add(batch(torch.zeros(1, 2)), REST, pose(omega))
    assert float(view.image[row - 1 : row + 1, column - 1 : column + 1].sum()) == pytest.approx(1, abs=1e-4)


@settings(max_examples=60)
@given(
    st.lists(st.floats(-3, 3), min_size=3, max_size=3),
    st.floats(-0.6, 0.6),
    st.floats(-0.6, 0.6),
    st.floats(-0.02, 0.02),
)
def test_a_bearing_lands_on_its_direction_whatever_the_rotation(
    omega: list[float], x: float, y: float, t: float
) -> None:
    """At time t the camera stands at T_world_cam exp(t twist); the vote's centre is the direction of R (x, y, 1)."""
    turn = torch.tensor([0.4, -0.3, 0.2, 2.0, -1.0, 1.5], dtype=torch.float64)
    ray = torch.tensor([x, y, 1], dtype=torch.float64)
    rotation = SO3.exp(torch.tensor(omega, dtype=torch.float64)) * SO3.exp(t * turn[3:])
    expected = (rotation * ray) / ray.norm()
    view = panorama()
    view.add(batch(torch.tensor([[x, y]]), t), turn.float(), pose(omega, (5.0, -3.0, 2.0)))
    assert float(view.image.sum()) == pytest.approx(1, abs=1e-4) or abs(float(expected[1])) > 0.99
    row, column = divmod(int(view.image.argmax()), WIDTH)
    angle = torch.arccos((direction(column, row) @ expected).clamp(-1, 1))
    assert float(angle) < 0.75 * math.tau / WIDTH  # half the diagonal of a pixel


@pytest.mark.parametrize(("column", "row"), [(0, 10), (13, 3), (32, 16), (47, 27), (63, 20)])
def test_a_pixel_s_own_direction_lands_on_it_alone(column: int, row: int) -> None:
    toward = [0.1, ((column + 0.5) / WIDTH - 0.5) * math.tau, 0.0]
    view = panorama()
    view.add(batch(bearing_of(column, row, pose(toward))), REST, pose(toward))
    assert float(view.image[row, column]) == pytest.approx(1, abs=1e-4)


def test_votes_behind_the_first_view_are_shared_across_the_seam() -> None:
    view = panorama()
    view.add(batch(torch.zeros(1, 2)), REST, pose([0, math.pi, 0]))
    assert view.image[15:17][:, [0, -1]].flatten().tolist() == pytest.approx([0.25] * 4, abs=1e-4)


def test_votes_add_up() -> None:
    bearing = torch.rand(500, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    view = panorama()
    for turn in (0.0, 0.3, 3.0):
        view.add(batch(bearing), REST, pose([0.1, turn, 0]))
    assert float(view.image.sum()) == pytest.approx(1500, rel=1e-5)


def test_events_that_leave_the_image_plane_do_not_count() -> None:
    view = panorama()
    quick = torch.tensor([0, 0, 0, 0, 100.0, 0])
    view.add(batch(torch.zeros(3, 2), t=0.02), quick, pose([0, 0, 0]))  # turned by 2 rad: behind
    assert float(view.image.sum()) == 0


@pytest.mark.parametrize(("column", "row"), [(0, 0), (5, 9), (32, 16), (63, 31)])
def test_points_are_the_directions_of_pixels(column: int, row: int) -> None:
    view = panorama()
    view.image[row, column] = 3
    found = view.points()
    assert found.points[0] == pytest.approx(direction(column, row).numpy(), abs=1e-6)
    assert found.confidence.tolist() == [1]


def test_points_are_unit_bearings_and_as_many_as_pixels_were_hit() -> None:
    view = panorama()
    view.add(batch(torch.rand(80, 2, generator=torch.Generator().manual_seed(0)) - 0.5), REST, pose([0.2, 0.4, 1.0]))
    found = view.points()
    assert len(found.points) == len(found.confidence) == int((view.image > 0).sum())
    assert np.linalg.norm(found.points, axis=1) == pytest.approx(1, abs=1e-6)
    assert found.confidence.max() == 1
    assert found.confidence.min() > 0


def test_the_brightest_points_are_kept() -> None:
    view = panorama(max_points=2)
    for count, column in ((1, 10), (4, 20), (2, 30)):
        view.image[7, column] = count
    found = view.points()
    expected = torch.stack([direction(20, 7), direction(30, 7)]).numpy()
    assert found.points == pytest.approx(expected, abs=1e-6)
    assert found.confidence[1] == pytest.approx(2 / 3.9)  # over the 95 % quantile of 2 and 4


def test_an_empty_map_has_no_points() -> None:
    found = panorama().points()
    assert (found.points.shape, found.confidence.shape) == ((0, 3), (0,))


def test_state_goes_on_where_it_stopped() -> None:
    first, second = panorama(), panorama()
    first.add(batch(torch.full((4, 2), 0.1)), REST, pose([0, 0, 0]))
    second.load_state_dict(first.state_dict())
    second.add(batch(torch.full((4, 2), 0.1)), REST, pose([0, 0, 0]))
    assert torch.equal(second.image, 2 * panorama_of_four())


def panorama_of_four() -> Tensor:
    view = panorama()
    view.add(batch(torch.full((4, 2), 0.1)), REST, pose([0, 0, 0]))
    return view.image
