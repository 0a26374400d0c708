"""Independent B-splines and histograms for the tests of the binning layer: truncated powers and plain loops."""

from __future__ import annotations

from functools import reduce
from math import comb, factorial

import numpy as np
import torch
from torch import Tensor

from evslam.ops.reference import bspline

KERNELS = {"rect": 0, "linear": 1, "quadratic": 2, "cubic": 3}
SHAPES: dict[int, tuple[int, ...]] = {1: (9,), 2: (7, 9), 3: (5, 7, 6)}


def spline(x: float, degree: int, order: int = 0) -> float:
    """Derivative `order` of the centred B-spline: sum_k (-1)^k C(p + 1, k) (x + (p + 1) / 2 - k)_+^(p - order)."""
    power = degree - order
    half = (degree + 1) / 2
    if power < 0 or not -half <= x < half:
        return 0.0
    knots = [x + half - k for k in range(degree + 2)]
    return sum((-1) ** k * comb(degree + 1, k) * y**power for k, y in enumerate(knots) if y >= 0) / factorial(power)


def midpoint_convolution(degree: int, x: Tensor, samples: int) -> Tensor:
    """(l * k)(x) by the midpoint rule with l the linear kernel and k the B-spline of a degree: the definition."""
    s = (torch.arange(samples, dtype=x.dtype) + 0.5) * (2 / samples) - 1
    integrand = bspline(s, 1) * bspline(x[..., None] - s, degree)
    return integrand.sum(-1) * (2 / samples)


def taps(u: np.ndarray, shape: tuple[int, ...], degree: int, orders: tuple[int, ...]) -> np.ndarray:
    """f(u - j) of one event u (x, y, t) for every bin j: the product over the axes, in the shape (t, y, x)."""
    axes = [
        np.array([spline(float(c) - j, degree, n) for j in range(size)])
        for c, size, n in zip(u, reversed(shape), orders, strict=True)
    ]
    return reduce(np.multiply.outer, reversed(axes))


def loop_histogram(coords: Tensor, weights: Tensor, shape: tuple[int, ...], degree: int) -> np.ndarray:
    """H_j = sum_i w_i k(u_i - j), one event at a time."""
    orders = (0,) * len(shape)
    votes = [w * taps(u, shape, degree, orders) for u, w in zip(coords.numpy(), weights.numpy(), strict=True)]
    return np.sum(votes, axis=0)


def loop_gather(image: Tensor, coords: Tensor, degree: int, orders: tuple[int, ...]) -> np.ndarray:
    """g_i = sum_j v_j f(u_i - j), one event at a time."""
    return np.array([(image.numpy() * taps(u, tuple(image.shape), degree, orders)).sum() for u in coords.numpy()])


def events(num: int, shape: tuple[int, ...], *, border: float = 0.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random coordinates (num, D) up to `border` bins outside the shape, and weights in [-1, 1); float64."""
    generator = torch.Generator().manual_seed(seed)
    size = torch.tensor(shape[::-1], dtype=torch.float64)
    uniform = torch.rand(num, len(shape), generator=generator, dtype=torch.float64)
    weights = 2 * torch.rand(num, generator=generator, dtype=torch.float64) - 1
    return uniform * (size + 2 * border) - 0.5 - border, weights


def image(shape: tuple[int, ...], seed: int = 1) -> Tensor:
    """A random upstream gradient."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(actual: Tensor, expected: Tensor | np.ndarray, tolerance: float) -> None:
    """Elementwise within tolerance, and no direction or sign hidden in it: cosine 1, mean error zero."""
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    assert actual.shape == expected.shape
    error = actual - expected
    assert float(error.abs().max()) <= tolerance
    scale = float(expected.square().mean().sqrt())
    if scale > 10 * tolerance:  # numbers within the tolerance have no direction
        cosine = torch.nn.functional.cosine_similarity(actual.flatten(), expected.flatten(), 0)
        assert float(cosine) > 1 - 1e-6
        assert abs(float(error.mean())) <= tolerance * scale
