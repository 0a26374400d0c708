"""Smooth functions against exact series in rational arithmetic, and their derivatives across the change of branch."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from torch.autograd import gradcheck

from evslam.geometry.smooth import arctan_ratio, arctan_ratio_slope, exponential_ratio, stumpff

SQUARED_ANGLES = [0.0, 1e-300, 1e-16, 1e-8, 1e-3, 0.2499, 0.25, 0.2501, 0.999, 1.0, 4.0, 9.8696, 30.0]


@pytest.mark.parametrize("x", SQUARED_ANGLES)
def test_stumpff_functions(x: float) -> None:
    for k, value in enumerate(stumpff(torch.tensor(x, dtype=torch.float64))):
        exact = sum((-Fraction(x)) ** n / math.factorial(2 * n + k) for n in range(40))
        assert value.item() == pytest.approx(float(exact), rel=1e-14, abs=2e-15)


@pytest.mark.parametrize("x", [0.0, 1e-300, 1e-12, 1e-4, 0.0624, 0.0625, 0.0626, 1.0, 1e6])
def test_arctan_ratio(x: float) -> None:
    r = math.sqrt(x)
    expected = math.atan(r) / r if x > 1e-20 else 1.0
    argument = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    value = arctan_ratio(argument)
    assert value.item() == pytest.approx(expected, rel=1e-15)
    (slope,) = torch.autograd.grad(value, argument)
    assert arctan_ratio_slope(argument).item() == pytest.approx(slope.item(), rel=1e-13)
    if x < 1e-3:
        assert slope.item() == pytest.approx(-1 / 3 + 2 * x / 5, rel=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 1e-300, -1e-12, 1e-6, -0.9999, 0.9999, 1.0001, -3.0, 20.0])
def test_exponential_ratio(sigma: float) -> None:
    expected = math.expm1(sigma) / sigma if sigma else 1.0
    assert exponential_ratio(torch.tensor(sigma, dtype=torch.float64)).item() == pytest.approx(expected, rel=1e-15)


def test_derivatives_on_both_sides_of_the_change_of_branch() -> None:
    for function, places in (
        (stumpff, [1e-3, 0.2495, 0.2505, 2.0]),
        (arctan_ratio, [1e-3, 0.062, 0.063, 2.0]),
        (arctan_ratio_slope, [1e-3, 0.062, 0.063, 2.0]),
        (exponential_ratio, [0.0, 0.99, 1.01, -2.0]),
    ):
        for place in places:
            assert gradcheck(function, (torch.tensor(place, dtype=torch.float64, requires_grad=True),), atol=1e-8)


def test_extreme_arguments_do_not_poison_the_gradient() -> None:
    x = torch.tensor([0.0, 1e300], dtype=torch.float64, requires_grad=True)
    total = sum(value.sum() for value in stumpff(x)[2:]) + arctan_ratio(x).sum()
    (gradient,) = torch.autograd.grad(total, x)
    assert torch.isfinite(gradient).all()
    assert gradient[0].item() == pytest.approx(-1 / 24 - 1 / 120 - 1 / 3, rel=1e-14)
