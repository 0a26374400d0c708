"""Piecewise polynomials against formulas, adaptive quadrature and closed forms that know nothing of them."""

from __future__ import annotations

from math import erf, exp, floor, pi, sin, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from spline_oracle import KERNELS as SPLINES
from spline_oracle import spline

from evslam.ops.kernels import KERNELS, RECONSTRUCTIONS, profile
from evslam.ops.pieces import bspline, convolve, fit, tap_polynomials

CUT = {"gauss": 4.0, "gauss_cut": 1.5}
CONVOLUTIONS = [f"{each}*{kernel}" for each in RECONSTRUCTIONS for kernel in KERNELS]


def bin_value(name: str, x: float) -> float:
    if name in CUT:
        return exp(-0.5 * x * x) / sqrt(2 * pi) if -CUT[name] <= x < CUT[name] else 0.0
    return spline(x, SPLINES[name])


def sinc(x: float) -> float:
    return sin(pi * x) / (pi * x) if x else 1.0


def reconstruction_value(name: str, x: float) -> float:
    d = abs(x)
    if name == "linear":
        return max(0.0, 1 - d)
    if d >= 2:
        return 0.0
    if name == "cubic":  # Keys, 1981
        return 1.5 * d**3 - 2.5 * d**2 + 1 if d < 1 else -0.5 * d**3 + 2.5 * d**2 - 4 * d + 2
    total = sum(sinc(x - floor(x) + m) * sinc((x - floor(x) + m) / 2) for m in range(-2, 2))
    return sinc(x) * sinc(x / 2) / total


def reach(name: str) -> float:
    return CUT[name] if name in CUT else (SPLINES[name] + 1) / 2


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_kappa_is_the_convolution_by_adaptive_quadrature(reconstruction: str, kernel: str) -> None:
    kappa = profile(f"{reconstruction}*{kernel}")
    for x in (-4.2, -1.3, 0.0, 0.21, 1.9):
        knots = [x - reach(kernel) + n for n in range(int(2 * reach(kernel)) + 1)]
        breaks = sorted({-1.0, 0.0, 1.0, *(knot for knot in knots if -2 < knot < 2)})
        integral, _ = quad(
            lambda t, x=x: reconstruction_value(reconstruction, t) * bin_value(kernel, x - t),
            -2,
            2,
            points=breaks,
            epsabs=1e-11,
            limit=200,
        )
        assert float(kappa(np.array(x))) == pytest.approx(integral, abs=1e-9)


@pytest.mark.parametrize("kernel", CUT)
def test_kappa_of_gauss_is_the_closed_form_in_erf(kernel: str) -> None:
    """l * k is the second difference of the second antiderivative of k."""
    cut = CUT[kernel]

    def antiderivative(x: float) -> float:  # integral of (x - t) k(t) up to x
        y = min(max(x, -cut), cut)
        mass = (erf(y / sqrt(2)) + erf(cut / sqrt(2))) / 2
        return x * mass + (exp(-0.5 * y * y) - exp(-0.5 * cut * cut)) / sqrt(2 * pi)

    x = np.linspace(-5.5, 5.5, 221)
    closed = np.array([antiderivative(a + 1) - 2 * antiderivative(a) + antiderivative(a - 1) for a in x])
    assert profile(f"linear*{kernel}")(x) == pytest.approx(closed, abs=1e-14)


@pytest.mark.parametrize("name", [*KERNELS, "sigmoid"])
def test_kernels_are_their_formulas(name: str) -> None:
    pieces = profile(name)
    x = np.arange(-6, 6, 1 / 64) + 1 / 256
    if name == "sigmoid":
        steps = [1 / (1 + np.exp(-(x + side) / 0.25)) for side in (0.5, -0.5)]
        expected = np.where(np.abs(x) < 4.5, steps[0] - steps[1], 0)
    else:
        expected = np.array([bin_value(name, each) for each in x])
    assert pieces(x) == pytest.approx(expected, abs=2e-15)
    assert pieces.taps == len(np.unique(np.round(x[pieces(x) != 0] - 1 / 256 - pieces.taps / 2, 9) // 1))


@pytest.mark.parametrize("name", CONVOLUTIONS)
@given(s=st.floats(-0.5, 0.5, exclude_max=True))
def test_taps_of_kappa_sum_to_the_mass_of_the_kernel_and_of_its_derivatives_to_zero(name: str, s: float) -> None:
    """1 for B-splines; erf(4 / sqrt 2) = 0.99994 and erf(1.5 / sqrt 2) = 0.86639 for gauss and gauss_cut."""
    kernel = name.split("*")[1]
    mass = erf(CUT[kernel] / sqrt(2)) if kernel in CUT else 1.0
    for order, (expected, tolerance) in enumerate([(mass, 1e-14), (0.0, 2e-12), (0.0, 3e-10)]):
        coefficients = profile(name).derivative(order).coefficients
        total = float((coefficients @ s ** np.arange(coefficients.shape[1])).sum())
        assert total == pytest.approx(expected, abs=tolerance)


@given(s=st.floats(-0.5, 0.5, exclude_max=True))
def test_taps_of_gauss_itself_sum_to_one_only_roughly(s: float) -> None:
    """At 4 sigma within 2e-4 (the cut); at 1.5 sigma between 0.82 and 0.88 (three taps): honest figures."""
    sums = {}
    for name in CUT:
        coefficients = profile(name).coefficients
        sums[name] = float((coefficients @ s ** np.arange(coefficients.shape[1])).sum())
    assert sums["gauss"] == pytest.approx(1, abs=2e-4)
    assert 0.82 < sums["gauss_cut"] < 0.89


@pytest.mark.parametrize("name", ["linear*gauss", "lanczos*gauss", "cubic*rect", "lanczos*rect", "sigmoid"])
def test_derivatives_are_limits_of_differences(name: str) -> None:
    pieces, h = profile(name), 1e-4
    x = np.arange(-4, 4, 0.13) + 0.0317
    for order in (0, 1):
        below, above = (pieces.derivative(order)(x + sign * h) for sign in (-1, 1))
        assert pieces.derivative(order + 1)(x) == pytest.approx((above - below) / (2 * h), abs=2e-5)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 1), (1, 3), (2, 2)])
def test_convolution_of_splines_is_a_spline(a: int, b: int) -> None:
    both, x = convolve(bspline(a), bspline(b)), np.linspace(-4, 4, 131)
    assert both.taps == a + b + 2
    assert both(x) == pytest.approx(bspline(a + b + 1)(x), abs=1e-15)
    assert both.mass == pytest.approx(1, abs=1e-15)


@given(s=st.floats(0, 1, exclude_max=True), degree=st.integers(0, 5))
def test_spans_are_those_of_the_tap_polynomials(s: float, degree: int) -> None:
    coefficients = bspline(degree).coefficients
    taps = tap_polynomials(degree, 0) @ s ** np.arange(degree + 1)
    assert coefficients @ (s - 0.5) ** np.arange(degree + 1) == pytest.approx(taps, abs=1e-14)


def test_a_fit_is_as_short_as_its_function_allows() -> None:
    cubic = fit(lambda x: x**3 - x, 2)
    assert cubic.coefficients.shape == (2, 4)
    assert cubic(np.array([-0.3, 0.7])) == pytest.approx([-0.027 + 0.3, 0.343 - 0.7], abs=1e-14)


@pytest.mark.parametrize("name", [*KERNELS, "sigmoid", *CONVOLUTIONS])
def test_single_precision_tables_are_shorter_and_as_good(name: str) -> None:
    long, short = (profile(name).table(2, np.dtype(each)) for each in ("f8", "f4"))
    assert short.dtype == np.float32
    assert short.shape[2] <= min(long.shape[2], 20)
    powers = np.linspace(-0.5, 0.5, 21)[:, None] ** np.arange(long.shape[2])
    values = [(each.astype(float) @ powers[:, : each.shape[2]].T) for each in (long, short)]
    scale = np.abs(values[0]).max(axis=(1, 2), keepdims=True) + 1e-3
    assert np.abs((values[1] - values[0]) / scale).max() < 1e-6
