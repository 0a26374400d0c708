"""Panoramic map: where a direction lands, and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from evslam.mapping.panorama import Panorama, brightest_points
from evslam.ops.sphere import SphereGrid, sphere_events

WIDTH, HEIGHT = 64, 32
NODES = np.array([0.0, 1.0])


def seen(bearing: list[list[float]], omega: tuple[float, float, float] = (0, 0, 0), degree: int = 1) -> Panorama:
    """Panorama of events with given bearings (N, 2), from a camera at rest with rotation exp(omega)."""
    panorama = Panorama(SphereGrid(WIDTH, degree))
    events = sphere_events(np.full(len(bearing), 0.5), np.array(bearing, np.float32), NODES)
    panorama.add(events, np.tile(Rotation.from_rotvec(omega).as_matrix(), (2, 1, 1)))
    return panorama


def direction(column: float, row: float) -> np.ndarray:
    """World direction of a panorama pixel: longitude and latitude of its centre."""
    longitude, latitude = ((column + 0.5) / WIDTH - 0.5) * math.tau, ((row + 0.5) / HEIGHT - 0.5) * math.pi
    flat = math.cos(latitude)
    return np.array([math.sin(longitude) * flat, math.sin(latitude), math.cos(longitude) * flat])


def test_the_first_view_is_in_the_middle() -> None:
    image = seen([[0, 0]]).image
    assert image[15:17, 31:33].ravel().tolist() == pytest.approx([0.25] * 4, abs=1e-5)
    assert float(image.sum()) == pytest.approx(1)


def test_right_is_right_and_down_is_down() -> None:
    pixel = 2 * math.pi / WIDTH
    image = seen([[math.tan(5.5 * pixel), 0], [0, math.tan(3.5 * pixel)]]).image
    assert image[15:17, 37].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
    assert image[19, 31:33].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)


@pytest.mark.parametrize(
    ("omega", "column", "row"),
    [((0, math.pi / 2, 0), 48, 16), ((0, -math.pi / 2, 0), 16, 16), ((-math.pi / 4, 0, 0), 32, 24)],
    ids=["right", "left", "down"],
)
def test_the_optical_axis_of_a_turned_camera(omega: tuple[float, float, float], column: int, row: int) -> None:
    image = seen([[0, 0]], omega).image
    assert image[row - 1 : row + 1, column - 1 : column + 1].sum() == pytest.approx(1, abs=1e-4)


@given(column=st.integers(0, WIDTH - 1), row=st.integers(2, HEIGHT - 3))
@settings(max_examples=30, deadline=None)
def test_a_pixel_and_its_point_are_the_same_direction(column: int, row: int) -> None:
    axis = direction(column, row)
    turn, _ = Rotation.align_vectors(axis[None], np.array([[0.0, 0.0, 1.0]]))
    panorama = seen([[0, 0]], tuple(turn.as_rotvec()))
    assert np.unravel_index(panorama.image.argmax(), (HEIGHT, WIDTH)) == (row, column)
    points = brightest_points(panorama.image, 1)
    assert float(points.points[0] @ axis) == pytest.approx(1, abs=1e-6)


def test_votes_add_up_and_mass_is_conserved_across_the_seam() -> None:
    panorama = Panorama(SphereGrid(WIDTH, 2))
    bearing = np.random.default_rng(0).uniform(-0.5, 0.5, (300, 2)).astype(np.float32)
    for yaw in (0.0, 3.0):
        events = sphere_events(np.full(300, 0.5), bearing, NODES)
        panorama.add(events, np.tile(Rotation.from_euler("y", yaw).as_matrix(), (2, 1, 1)))
    assert panorama.image.sum() == pytest.approx(600, rel=1e-5)


def test_brightest_points_are_limited_and_ranked() -> None:
    image = np.zeros((HEIGHT, WIDTH), np.float32)
    image[10, 20], image[11, 21], image[12, 22] = 5, 9, 1
    points = brightest_points(image, 2)
    assert len(points.points) == 2
    assert points.points[0] == pytest.approx(direction(21, 11), abs=1e-6)
    assert points.confidence[0] >= points.confidence[1] > 0
    assert len(brightest_points(image, 100).points) == 3
    assert len(brightest_points(np.zeros_like(image), 100).points) == 0


def test_state_round_trip_does_not_share_memory() -> None:
    first, again = seen([[0.1, 0.2]]), Panorama(SphereGrid(WIDTH, 1))
    again.load_state_dict(first.state_dict())
    first.flat[:] = 0
    assert again.image.sum() == pytest.approx(1)
