"""Plain torch twins of the binning kernels: slow, obviously right, used by tests and for 1 and 3 dimensions.

Both primitives sum the kernel over the taps of every event. Differentiable by the rule of `SplineKernel`
through `evslam.ops.binning`, never by autograd of this file.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from evslam.ops.kernels import SplineKernel


def bspline(x: Tensor, degree: int, order: int = 0) -> Tensor:
    """Centred uniform B-spline of a degree, or its `order`-th derivative, evaluated anywhere.

    Cox-de Boor on centred splines: B_p(x) = ((c + x) B_{p-1}(x + 1/2) + (c - x) B_{p-1}(x - 1/2)) / p with
    c = (p + 1) / 2, and B_p' = B_{p-1}(x + 1/2) - B_{p-1}(x - 1/2). B_0 is 1 on [-1/2, 1/2).
    """
    if order > degree:
        return torch.zeros_like(x)
    if order > 0:
        return bspline(x + 0.5, degree - 1, order - 1) - bspline(x - 0.5, degree - 1, order - 1)
    if degree == 0:
        return ((x >= -0.5) & (x < 0.5)).to(x.dtype)
    centre = (degree + 1) / 2
    left, right = bspline(x + 0.5, degree - 1), bspline(x - 0.5, degree - 1)
    return ((centre + x) * left + (centre - x) * right) / degree


def _taps(coords: Tensor, shape: tuple[int, ...], kernel: SplineKernel) -> tuple[Tensor, Tensor]:
    """Flat bin index and kernel value of every event and tap, both (N, taps); taps outside `shape` have value 0."""
    reach = kernel.degree // 2 + 1
    centre = torch.floor(coords + 0.5)
    index = torch.zeros(coords.shape[0], 1, dtype=torch.long, device=coords.device)
    value = torch.ones(coords.shape[0], 1, dtype=coords.dtype, device=coords.device)
    offsets = torch.arange(-reach, reach + 1, device=coords.device)
    for axis in reversed(range(coords.shape[1])):
        size = shape[-1 - axis]
        bins = centre[:, axis, None].long() + offsets
        weight = bspline(coords[:, axis, None] - bins, kernel.degree, kernel.order[axis])
        weight = torch.where((bins >= 0) & (bins < size), weight, torch.zeros_like(weight))
        bins = bins.clamp(0, size - 1)
        index = (index[:, :, None] * size + bins[:, None, :]).flatten(1)
        value = (value[:, :, None] * weight[:, None, :]).flatten(1)
    return index, value


def scatter(coords: Tensor, weights: Tensor, shape: tuple[int, ...], kernel: SplineKernel) -> Tensor:
    """H_j = sum_i w_i f(u_i - j). coords (N, D) in bins, order (x, y, t); weights (N,); shape reversed order."""
    index, value = _taps(coords, shape, kernel)
    flat = torch.zeros(torch.Size(shape).numel(), dtype=coords.dtype, device=coords.device)
    return flat.index_add(0, index.flatten(), (value * weights[:, None]).flatten()).reshape(shape)


def gather(image: Tensor, coords: Tensor, kernel: SplineKernel) -> Tensor:
    """g_i = sum_j v_j f(u_i - j), the adjoint of `scatter`. image has the histogram's shape; returns (N,)."""
    index, value = _taps(coords, tuple(image.shape), kernel)
    return (image.flatten()[index] * value).sum(1)


def convolve_numerically(value_degree: int, x: Tensor, samples: int = 4001) -> Tensor:
    """kappa(x) = (l * k)(x) by the midpoint rule with l the linear kernel: the definition, for tests."""
    s = (torch.arange(samples, dtype=x.dtype, device=x.device) + 0.5) * (2 / samples) - 1
    integrand = bspline(s, 1) * bspline(x[..., None] - s, value_degree)
    return integrand.sum(-1) * (2 / samples)


def all_orders(ndim: int, highest: int) -> list[tuple[int, ...]]:
    """Every derivative multi-index up to a total order: what tests loop over."""
    return [order for order in itertools.product(range(highest + 1), repeat=ndim) if sum(order) <= highest]
