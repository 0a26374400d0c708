"""Projection, distortion and its inverse: hand formulae, round trips, folds and bad pixels."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from evslam.errors import CalibrationError
from evslam.geometry.camera import Camera
from evslam.types import SensorSize

SIZE = SensorSize(height=180, width=240)
DAVIS = Camera(
    199.092366542,
    198.82882047,
    132.192071378,
    110.712660011,
    SIZE,
    "radtan",
    (-0.368436311798, 0.150947243557, -0.000296130534385, -0.000759431726241, 0.0),
)
FISHEYE = Camera(120.0, 122.0, 119.5, 89.5, SIZE, "equidistant", (-0.02, 0.011, -0.006, 0.001))
PINHOLE = Camera(200.0, 210.0, 120.0, 90.0, SIZE)
FOLDING = Camera(100.0, 100.0, 119.5, 89.5, SIZE, "radtan", (-0.5, 0.0, 0.0, 0.0, 0.0))  # folds at radius sqrt(2 / 3)
CAMERAS = [PINHOLE, DAVIS, FISHEYE, FOLDING]


def float64(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pixel_grid(size: SensorSize) -> Tensor:
    y, x = torch.meshgrid(torch.arange(size.height), torch.arange(size.width), indexing="ij")
    return torch.stack([x, y], -1).double()


def bearings_inside(camera: Camera, count: int = 200, share: float = 0.95) -> Tensor:
    """Random bearings up to a share of the fold, at most 1.5 long."""
    generator = torch.Generator().manual_seed(0)
    radius = min(share * camera.max_radius, 1.5) * torch.rand(count, 1, generator=generator, dtype=torch.float64)
    angle = 2 * math.pi * torch.rand(count, 1, generator=generator, dtype=torch.float64)
    return torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], -1)


# Forward


def test_pinhole_by_hand() -> None:
    pixels, valid = PINHOLE.project(float64([[1.0, -2.0, 4.0], [0.0, 0.0, 1e-3], [1.0, 1.0, -4.0]]))
    assert torch.equal(pixels[:2], float64([[170.0, -15.0], [120.0, 90.0]]))
    assert valid.tolist() == [True, True, False]
    assert PINHOLE.contains(pixels).tolist() == [False, True, True]


def test_radtan_by_hand() -> None:
    """OpenCV's formula, term by term."""
    k1, k2, p1, p2, k3 = coefficients = (-0.3, 0.1, 0.002, -0.003, 0.05)
    camera = Camera(200.0, 210.0, 120.0, 90.0, SIZE, "radtan", coefficients)
    for x, y in bearings_inside(camera, 20).tolist():
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        xd = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        yd = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        expected = float64([200.0 * xd + 120.0, 210.0 * yd + 90.0])
        torch.testing.assert_close(camera.distort(float64([x, y])), expected, rtol=1e-14, atol=1e-13)


def test_equidistant_by_hand() -> None:
    k1, k2, k3, k4 = FISHEYE.distortion
    for degrees, azimuth in [(0.0, 0.0), (1e-6, 1.0), (10.0, 2.0), (45.0, -1.0), (80.0, 0.5), (89.0, 3.0)]:
        theta = math.radians(degrees)
        radius = theta * (1 + k1 * theta**2 + k2 * theta**4 + k3 * theta**6 + k4 * theta**8)
        direction = float64([math.cos(azimuth), math.sin(azimuth)])
        point = torch.cat([math.sin(theta) * direction, float64([math.cos(theta)])])
        pixel, valid = FISHEYE.project(point)
        expected = radius * direction * float64([120.0, 122.0]) + float64([119.5, 89.5])
        assert valid
        torch.testing.assert_close(pixel, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("camera", CAMERAS)
def test_jacobian_is_the_derivative(camera: Camera) -> None:
    bearing = torch.cat([float64([[0.0, 0.0], [1e-9, 0.0], [0.25, 0.0]]), bearings_inside(camera, 30)])
    automatic = torch.func.vmap(torch.func.jacrev(camera.distort))(bearing)
    torch.testing.assert_close(camera.jacobian(bearing), automatic, rtol=1e-11, atol=1e-9)
    assert (torch.linalg.det(automatic) > 0).all()


@pytest.mark.parametrize("camera", CAMERAS)
def test_projection_has_the_right_gradient(camera: Camera) -> None:
    points = float64([[0.0, 0.0, 1.0], [1e-9, 0.0, 2.0], [0.3, -0.2, 1.5], [0.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    assert gradcheck(lambda p: camera.project(p)[0], (points[:3].requires_grad_(),), atol=1e-4)
    points = points.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(camera.project(points)[0].sum(), points)
    assert torch.isfinite(gradient).all()
    assert torch.equal(gradient[3:], torch.zeros_like(gradient[3:]))


@pytest.mark.parametrize("camera", CAMERAS)
def test_points_that_cannot_be_seen(camera: Camera) -> None:
    nan, inf = math.nan, math.inf
    points = [[0, 0, 0], [1, 1, 0], [0, 0, -1], [1, 0, 1e-9], [nan, 0, 1], [0, 0, nan], [inf, 0, 1], [0, 0, inf]]
    pixels, valid = camera.project(float64(points))
    assert not valid.any()
    assert torch.equal(pixels, float64([[camera.cx, camera.cy]]).expand(8, 2))


def test_projection_keeps_shape_and_dtype() -> None:
    pixels, valid = DAVIS.project(torch.ones(2, 0, 5, 3))
    assert (pixels.shape, valid.shape, pixels.dtype) == ((2, 0, 5, 2), (2, 0, 5), torch.float32)


# Inverse


@pytest.mark.parametrize("camera", CAMERAS)
def test_round_trip_of_every_pixel(camera: Camera) -> None:
    pixels = pixel_grid(camera.size)
    bearing, valid = camera.undistort(pixels)
    assert valid.all() or camera is FOLDING
    assert valid.any()
    assert (camera.distort(bearing) - pixels)[valid].abs().max() < 1e-7
    assert torch.equal(bearing[~valid], torch.zeros_like(bearing[~valid]))


@pytest.mark.parametrize("camera", CAMERAS)
def test_round_trip_from_bearings(camera: Camera) -> None:
    expected = bearings_inside(camera)
    bearing, valid = camera.undistort(camera.distort(expected))
    assert valid.all()
    torch.testing.assert_close(bearing, expected, rtol=1e-8, atol=1e-9)


def test_bearing_table_is_indexed_by_row_and_column() -> None:
    table, valid = DAVIS.bearing_table(torch.float64)
    assert table.shape == (180, 240, 2)
    assert valid.all()
    bearing, _ = DAVIS.undistort(float64([[17.0, 150.0]]))
    torch.testing.assert_close(table[150, 17], bearing[0], rtol=0, atol=1e-11)
    single, _ = DAVIS.bearing_table()
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, table.float(), rtol=0, atol=0)


def test_table_of_the_pinhole() -> None:
    table, valid = PINHOLE.bearing_table(torch.float64)
    expected = (pixel_grid(SIZE) - float64([120.0, 90.0])) / float64([200.0, 210.0])
    assert valid.all()
    torch.testing.assert_close(table, expected, rtol=0, atol=1e-15)


def test_integer_and_float32_pixels() -> None:
    exact, _ = DAVIS.undistort(float64([[10.0, 20.0]]))
    from_integers, _ = DAVIS.undistort(torch.tensor([[10, 20]]))
    from_single, _ = DAVIS.undistort(torch.tensor([[10.0, 20.0]]))
    assert torch.equal(from_integers, exact)
    assert torch.equal(from_single, exact.float())
    empty, valid = DAVIS.undistort(torch.zeros(0, 2))
    assert (empty.shape, valid.shape) == ((0, 2), (0,))


def test_the_fold_of_a_radial_lens_is_reported() -> None:
    """r (1 - r^2 / 2) grows up to r = sqrt(2 / 3), where it is 100 sqrt(2 / 3) 2 / 3 = 54.433 pixels."""
    assert FOLDING.max_radius == pytest.approx(math.sqrt(2 / 3), rel=1e-12)
    rim = 100 * math.sqrt(2 / 3) * 2 / 3
    distance = float64([0.0, 54.0, rim - 1e-3, rim + 1e-3, 60.0, 100.0])
    pixels = torch.stack([119.5 + distance, torch.full_like(distance, 89.5)], -1)
    bearing, valid = FOLDING.undistort(pixels)
    assert valid.tolist() == [True, True, True, False, False, False]
    assert bearing[2, 0] < FOLDING.max_radius
    share = FOLDING.bearing_table()[1].double().mean().item()
    assert share == pytest.approx(math.pi * rim**2 / (180 * 240), rel=0.01)


def test_points_beyond_the_fold_do_not_project() -> None:
    """At radius 1.2 the folding lens shows the point at a pixel that belongs to another bearing."""
    _, valid = FOLDING.project(float64([[0.8, 0.0, 1.0], [0.83, 0.0, 1.0], [1.2, 0.0, 1.0]]))
    assert valid.tolist() == [True, False, False]
    assert torch.linalg.det(FOLDING.jacobian(float64([[0.8, 0.0], [0.83, 0.0]]))).sign().tolist() == [1.0, -1.0]


def test_a_second_growing_branch_does_not_count() -> None:
    """1 - 3 u + 1.5 u^2 falls to negative values and grows again: beyond the fold the determinant is positive again."""
    folding = Camera(100.0, 100.0, 119.5, 89.5, SIZE, "radtan", (-1.0, 0.3, 0.0, 0.0, 0.0))
    u = (3 - math.sqrt(9 - 6)) / 3
    assert folding.max_radius == pytest.approx(math.sqrt(u), rel=1e-12)
    beyond = float64([1.5, 0.0])
    assert torch.linalg.det(folding.jacobian(beyond)) > 0
    assert not folding.project(float64([1.5, 0.0, 1.0]))[1]


def test_fisheye_ends_at_ninety_degrees() -> None:
    camera = Camera(80.0, 80.0, 119.5, 89.5, SIZE, "equidistant", (0.0, 0.0, 0.0, 0.0))
    degrees = float64([0.0, 45.0, 89.9, 90.0, 90.1, 120.0])
    pixels = torch.stack([119.5 + 80.0 * torch.deg2rad(degrees), torch.full_like(degrees, 89.5)], -1)
    bearing, valid = camera.undistort(pixels)
    assert valid.tolist() == [True, True, True, False, False, False]
    torch.testing.assert_close(bearing[:3, 0], torch.tan(torch.deg2rad(degrees[:3])), rtol=1e-7, atol=1e-12)


def test_vanishing_coefficients_do_not_hide_the_fold() -> None:
    """1 - 2.5 u^2 has its root at sqrt(0.4), whatever dust stands in the highest coefficient."""
    for dust in (0.0, 1e-313, 1e-103, -1e-30):
        camera = Camera(100.0, 100.0, 119.5, 89.5, SIZE, "radtan", (0.0, -0.5, 0.0, 0.0, dust))
        assert camera.max_radius == pytest.approx(0.4**0.25, rel=1e-12)
    assert PINHOLE.max_radius == DAVIS.max_radius == 1e6


def test_the_fold_of_a_fisheye_is_reported() -> None:
    """theta (1 - theta^2 / 3) grows up to theta = 1."""
    camera = Camera(80.0, 80.0, 119.5, 89.5, SIZE, "equidistant", (-1 / 3, 0.0, 0.0, 0.0))
    assert camera.max_radius == pytest.approx(math.tan(1.0), rel=1e-9)
    _, valid = camera.undistort(float64([[119.5 + 80 * 0.66, 89.5], [119.5 + 80 * 0.67, 89.5]]))
    assert valid.tolist() == [True, False]


@pytest.mark.parametrize("camera", CAMERAS)
def test_pixels_that_are_no_numbers(camera: Camera) -> None:
    nan, inf = math.nan, math.inf
    bearing, valid = camera.undistort(float64([[nan, 0], [0, inf], [-inf, nan], [camera.cx, camera.cy]]))
    assert valid.tolist() == [False, False, False, True]
    assert torch.equal(bearing, torch.zeros(4, 2, dtype=torch.float64))
    far, valid = camera.undistort(float64([[1e200, 0.0]]))
    assert not valid.any()
    assert torch.equal(far, torch.zeros(1, 2, dtype=torch.float64))


# Validation


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fx": 0.0}, "fx = 0.0: give a positive"),
        ({"fy": -200.0}, "fy = -200.0"),
        ({"fx": math.nan}, "fx = nan"),
        ({"fy": math.inf}, "fy = inf"),
        ({"cx": 300.0}, r"cx = 300.0 is outside the image \(0 to 239\): check"),
        ({"cy": -5.0}, "cy = -5.0"),
        ({"cx": math.nan}, "cx = nan"),
        ({"size": SensorSize(0, 240)}, "positive height and width"),
        ({"model": "fov"}, "'fov' is unknown: use none, radtan, equidistant"),
        ({"distortion": (0.1, 0.2)}, r"2 distortion coefficients \(0.1, 0.2\): radtan takes 5 \(k1 k2 p1 p2 k3\)"),
        ({"model": "none", "distortion": (0.1,)}, "none takes none"),
        ({"distortion": (0.0, math.nan, 0.0, 0.0, 0.0)}, "k2 = nan: give a finite"),
    ],
)
def test_bad_calibrations_are_refused(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "fx": 200.0,
        "fy": 200.0,
        "cx": 120.0,
        "cy": 90.0,
        "size": SIZE,
        "model": "radtan",
        "distortion": (0.0,) * 5,
    }
    Camera(**good)
    with pytest.raises(CalibrationError, match=message) as error:
        Camera(**{**good, **change})
    assert "\n" not in str(error.value)
