"""Affine image flow: what it means, and that it is found among outliers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation

from evslam.tracking.image_flow import fit_flow, flow_at, flow_matrix, rotation_flow

FLOW = np.array([120.0, 0.8, -1.5, -60.0, 1.2, 0.4])
CENTRE = np.array([140.0, 105.0])


def test_flow_matrix_integrates_the_flow() -> None:
    start = np.array([[20.0, 30.0], [200.0, 160.0], CENTRE])
    matrix = flow_matrix(FLOW, CENTRE, 0.25)
    moved = start @ matrix[:2, :2].T + matrix[:2, 2]

    def velocity(_: float, place: np.ndarray) -> np.ndarray:
        return flow_at(FLOW, place.reshape(-1, 2), CENTRE).ravel()

    exact = solve_ivp(velocity, (0, 0.25), start.ravel(), rtol=1e-10, atol=1e-10).y[:, -1].reshape(-1, 2)
    assert np.abs(moved - exact).max() < 1e-6
    assert np.abs(moved - start).max() > 20


def test_flow_is_written_out_around_the_centre() -> None:
    du, dv = 10.0, -4.0
    found = flow_at(FLOW, CENTRE + np.array([[du, dv]]), CENTRE)
    assert found[0] == pytest.approx([120 + 0.8 * du - 1.5 * dv, -60 + 1.2 * du + 0.4 * dv])


def test_a_flow_that_would_tear_the_image_is_bounded() -> None:
    matrix = flow_matrix(np.array([0.0, 1e4, 0.0, 0.0, 0.0, 1e4]), CENTRE, 1.0)
    assert np.linalg.det(matrix[:2, :2]) == pytest.approx(np.exp(2.0))


@pytest.mark.parametrize("seed", range(5))
def test_affine_flow_is_found_with_three_outliers_in_ten(seed: int) -> None:
    rng = np.random.default_rng(seed)
    place = rng.uniform((0, 0), (280, 210), (200, 2))
    velocity = flow_at(FLOW, place, CENTRE) + rng.normal(0, 2.0, (200, 2))
    velocity[:60] = rng.uniform(-800, 800, (60, 2))
    found = fit_flow(place, velocity, CENTRE)
    corners = np.array([[0.0, 0.0], [280, 0], [0, 210], [280, 210]])
    assert np.abs(flow_at(found, corners, CENTRE) - flow_at(FLOW, corners, CENTRE)).max() < 5.0


def test_a_few_points_in_one_place_tell_no_linear_part() -> None:
    place = CENTRE + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = fit_flow(place, np.array([[100.0, 0.0], [103.0, 0.0], [97.0, 0.0]]), CENTRE)
    assert found[0] == pytest.approx(100, abs=0.5)
    assert np.abs(found[[1, 2, 4, 5]]).max() < 0.01


def test_rotation_flow_is_that_of_a_turning_camera() -> None:
    omega, focal, seconds = np.array([0.3, -0.5, 0.8]), 200.0, 1e-4
    bearing = np.array([[0.0, 0.0], [0.02, -0.01]])
    rays = np.column_stack([bearing, np.ones(2)])
    turned = Rotation.from_rotvec(-seconds * omega).apply(rays)
    exact = focal * (turned[:, :2] / turned[:, 2:] - bearing) / seconds
    found = flow_at(rotation_flow(omega, focal), focal * bearing, np.zeros(2))
    assert np.abs(found - exact).max() < 0.15  # the rest is quadratic in the bearing
    assert np.abs(exact).min() > 50
