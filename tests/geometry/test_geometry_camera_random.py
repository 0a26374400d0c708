"""Undistortion of random lenses: what is called valid is right, and nothing inside the fold is lost."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evslam.geometry.camera import Camera
from evslam.types import SensorSize

SIZE = SensorSize(height=180, width=240)

coefficient = st.floats(-0.6, 0.6, allow_nan=False)
tangential = st.floats(-5e-3, 5e-3, allow_nan=False)
lenses = st.one_of(
    st.tuples(st.just("radtan"), st.tuples(coefficient, coefficient, tangential, tangential, coefficient)),
    st.tuples(st.just("equidistant"), st.tuples(coefficient, coefficient, coefficient, coefficient)),
)


@settings(max_examples=120, deadline=None)
@given(lens=lenses, focal=st.floats(60.0, 600.0), seed=st.integers(0, 2**31))
def test_random_lenses(lens: tuple[Any, tuple[float, ...]], focal: float, seed: int) -> None:
    model, distortion = lens
    camera = Camera(focal, 1.02 * focal, 118.0, 92.0, SIZE, model, distortion)
    uniform = torch.rand(300, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pixels = uniform * torch.tensor([260.0, 200.0]) - 10
    bearing, valid = camera.undistort(pixels)
    assert torch.isfinite(bearing).all()
    assert valid[(pixels - torch.tensor([118.0, 92.0])).norm(dim=-1) < 0.05 * focal].all()
    error = (camera.distort(bearing) - pixels)[valid].abs()
    assert (error < 1e-6).all()
    assert (torch.linalg.det(camera.jacobian(bearing[valid])) > 0).all()
    assert (bearing.norm(dim=-1) < camera.max_radius).all()


@settings(max_examples=120, deadline=None)
@given(lens=lenses, seed=st.integers(0, 2**31))
def test_random_lenses_lose_no_bearing(lens: tuple[Any, tuple[float, ...]], seed: int) -> None:
    """Every bearing well inside the fold of a radial lens is found again from its pixel."""
    model, distortion = lens
    if model == "radtan":
        distortion = (*distortion[:2], 0.0, 0.0, distortion[4])
    camera = Camera(200.0, 204.0, 118.0, 92.0, SIZE, model, distortion)
    generator = torch.Generator().manual_seed(seed)
    direction = torch.nn.functional.normalize(torch.randn(200, 2, generator=generator, dtype=torch.float64), dim=-1)
    radius = min(0.97 * camera.max_radius, 3.0) * torch.rand(200, 1, generator=generator, dtype=torch.float64)
    expected = radius * direction
    bearing, valid = camera.undistort(camera.distort(expected))
    assert valid.all()
    torch.testing.assert_close(bearing, expected, rtol=1e-6, atol=1e-6)
