"""B-spline ladder: kappa against the convolution that defines it, taps, names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from spline_oracle import KERNELS, midpoint_convolution, spline

from evslam.errors import ConfigError
from evslam.ops.cpu import tap_polynomials
from evslam.ops.kernels import GRADIENTS, BinKernel, bin_kernel, profile
from evslam.ops.reference import bspline

# multiples of 1 / 1024: knots are hit exactly, never missed by a rounding error
positions = st.integers(-3584, 3584).map(lambda n: n / 1024)
fractions = st.integers(0, 1023).map(lambda n: n / 1024)


@given(positions, st.integers(0, 5), st.integers(0, 3))
def test_spline_equals_truncated_powers(x: float, degree: int, order: int) -> None:
    value = float(bspline(torch.tensor(x, dtype=torch.float64), degree, order))
    assert value == pytest.approx(spline(x, degree, order), abs=1e-11)


def test_closed_forms_of_the_low_degrees() -> None:
    x = torch.tensor([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0], dtype=torch.float64)
    assert bspline(x, 0).tolist() == [0, 1, 1, 1, 0, 0]  # [-1/2, 1/2)
    assert bspline(x, 1).tolist() == [0, 0.5, 1, 0.75, 0.5, 0]
    assert bspline(x, 2).tolist() == pytest.approx([0.125, 0.5, 0.75, 0.6875, 0.5, 0.125])
    assert bspline(x, 3).tolist()[2] == pytest.approx(2 / 3)


@pytest.mark.parametrize("degree", KERNELS.values(), ids=KERNELS)
def test_kappa_is_the_numerical_convolution_of_reconstruction_and_kernel(degree: int) -> None:
    # on multiples of the cell size the jumps of the integrand fall on cell edges: midpoint error h^2 / 24 |f''|
    x = torch.arange(-3000, 3001, 125, dtype=torch.float64) / 1000
    kappa = bspline(x, degree + 2)
    assert float((kappa - midpoint_convolution(degree, x, samples=4000)).abs().max()) < 1e-7


@pytest.mark.parametrize("degree", KERNELS.values(), ids=KERNELS)
def test_kappa_is_the_convolution_by_adaptive_quadrature(degree: int) -> None:
    for x in (-1.3, -0.5, 0.0, 0.21, 0.7, 1.9):
        breaks = [x - (degree + 1) / 2 + k for k in range(degree + 2)]
        inside = [0.0, *(b for b in breaks if -1 < b < 1)]
        integral, _ = quad(lambda s, x=x: (1 - abs(s)) * spline(x - s, degree), -1, 1, points=inside)
        assert float(bspline(torch.tensor(x, dtype=torch.float64), degree + 2)) == pytest.approx(integral, abs=1e-8)


@given(fractions, st.integers(0, 5))
def test_taps_sum_to_one_and_their_derivatives_to_zero(s: float, degree: int) -> None:
    powers = s ** np.arange(degree + 1)
    assert (tap_polynomials(degree, 0) @ powers).sum() == pytest.approx(1, abs=1e-13)
    for order in range(1, degree + 2):
        assert (tap_polynomials(degree, order) @ powers).sum() == pytest.approx(0, abs=1e-11)
    u = torch.tensor(s, dtype=torch.float64) - torch.arange(-4, 6)
    assert float(bspline(u, degree).sum()) == pytest.approx(1, abs=1e-12)
    assert float(bspline(u, degree, 1).sum()) == pytest.approx(0, abs=1e-12)


@given(fractions, st.integers(0, 5), st.integers(0, 3))
def test_tap_polynomials_are_the_spline_in_its_knot_spans(s: float, degree: int, order: int) -> None:
    """Tap i sees the spline at s + (degree - 1) / 2 - i, whichever way the knots lie."""
    taps = tap_polynomials(degree, order) @ s ** np.arange(degree + 1)
    x = s + (degree - 1) / 2 - torch.arange(degree + 1, dtype=torch.float64)
    assert taps == pytest.approx(bspline(x, degree, order).numpy(), abs=1e-11)


@given(positions, st.integers(2, 5))
def test_derivative_is_the_limit_of_differences(x: float, degree: int) -> None:
    h = 1e-6
    ends = bspline(torch.tensor([x - h, x + h], dtype=torch.float64), degree)
    slope = float(bspline(torch.tensor(x, dtype=torch.float64), degree, 1))
    assert slope == pytest.approx(float(ends[1] - ends[0]) / (2 * h), abs=5e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_the_gradient_kernel_stands_in_as_soon_as_one_axis_is_differentiated(kernel: str, gradient: str) -> None:
    value = bin_kernel(kernel, gradient, "cubic", 2)
    slope = value.derivative(1)
    stand_in = {
        "functional": f"cubic*{kernel}",
        "raw": kernel,
        "straight_through": "linear",
        "sigmoid": "sigmoid",
    }[gradient]
    assert (value.profile, value.order) == (kernel, (0, 0))
    assert (slope.profile, slope.order) == (stand_in, (0, 1))
    assert slope.derivative(0) == BinKernel(kernel, stand_in, (1, 1))


@pytest.mark.parametrize("kernel", KERNELS)
def test_ladder_of_degrees(kernel: str) -> None:
    """With linear reconstruction the gradient kernel is the B-spline two degrees up."""
    x = np.linspace(-3.1, 3.1, 63)
    for gradient, rise in {"functional": 2, "raw": 0}.items():
        pieces = profile(bin_kernel(kernel, gradient, "linear", 1).derivative(0).profile)
        assert pieces.taps == KERNELS[kernel] + rise + 1
        assert pieces(x) == pytest.approx(np.array([spline(each, KERNELS[kernel] + rise) for each in x]), abs=1e-13)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("box", "raw", "linear", 2), "bin kernel 'box' does not exist; choose one of rect, linear, quadratic, cubic"),
        (("rect", "fbp", "linear", 2), "gradient estimator 'fbp' does not exist; choose one of functional, raw"),
        (("rect", "raw", "sinc", 2), "reconstruction kernel 'sinc' does not exist"),
        (("rect", "raw", "linear", 4), "coordinates have 4 dimensions; bin_events takes 1, 2 or 3"),
    ],
)
def test_unknown_names_are_errors(arguments: tuple[str, str, str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bin_kernel(*arguments)
