"""Functions with a removable singularity at zero, smooth in torch to any order of derivative.

No function branches on values: each side of a `torch.where` only ever sees inputs that are safe for it, so values and
derivatives are right at zero, where a plain sin(theta) / theta or the gradient of a norm is NaN.
"""

from __future__ import annotations

from math import factorial

import torch
from torch import Tensor

_STUMPFF_TERMS = 8  # enough for 1e-17 below an angle of 1/2
_ARCTAN_TERMS = 12  # the same for a tangent below 1/4
_EXPONENTIAL_TERMS = 18  # the same below an exponent of 1


def polynomial(x: Tensor, coefficients: list[float]) -> Tensor:
    """Evaluate sum_k coefficients[k] x^k by Horner's rule; result has the shape of x."""
    result = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result


def stumpff(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Stumpff functions c_k(x) = sum_n (-x)^n / (2 n + k)! for k = 0..3, smooth in the squared angle x >= 0.

    With x = theta^2 they are cos(theta), sin(theta) / theta, (1 - cos(theta)) / theta^2 and
    (theta - sin(theta)) / theta^3.
    """
    small = x < 1 / 4
    x_small, x_large = torch.where(small, x, 0.0), torch.where(small, 1.0, x)
    theta = torch.sqrt(x_large)
    series = [[(-1.0) ** n / factorial(2 * n + k) for n in range(_STUMPFF_TERMS)] for k in (2, 3)]
    c2 = torch.where(small, polynomial(x_small, series[0]), (1 - torch.cos(theta)) / x_large)
    c3 = torch.where(small, polynomial(x_small, series[1]), (theta - torch.sin(theta)) / (x_large * theta))
    return 1 - x * c2, 1 - x * c3, c2, c3


def arctan_ratio(x: Tensor) -> Tensor:
    """arctan(r) / r as a smooth function of the squared tangent x = r^2 >= 0."""
    small = x < 1 / 16
    r = torch.sqrt(torch.where(small, 1.0, x))
    series = polynomial(torch.where(small, x, 0.0), [(-1.0) ** k / (2 * k + 1) for k in range(_ARCTAN_TERMS)])
    return torch.where(small, series, torch.atan(r) / r)


def arctan_ratio_slope(x: Tensor) -> Tensor:
    """Derivative of `arctan_ratio` with respect to x."""
    small = x < 1 / 16
    far = torch.where(small, 1.0, x)
    series = [(-1.0) ** k * k / (2 * k + 1) for k in range(1, _ARCTAN_TERMS + 1)]
    near = polynomial(torch.where(small, x, 0.0), series)
    return torch.where(small, near, (1 / (1 + far) - arctan_ratio(far)) / (2 * far))


def squared_norm(vector: Tensor) -> Tensor:
    """(..., D) -> (..., 1): squared Euclidean norm; unlike the norm it is smooth at zero."""
    return (vector * vector).sum(-1, keepdim=True)


def exponential_ratio(sigma: Tensor) -> Tensor:
    """f(sigma) = (exp(sigma) - 1) / sigma, smooth at zero."""
    small = sigma.abs() < 1
    series = [1 / factorial(k + 1) for k in range(_EXPONENTIAL_TERMS)]
    far = torch.where(small, 1.0, sigma)
    return torch.where(small, polynomial(torch.where(small, sigma, 0.0), series), torch.expm1(far) / far)
