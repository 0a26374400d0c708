"""Plain torch twins of the binning kernels: slow, obviously right; for tests and where no compiled kernel runs.

Both primitives sum the kernel over the taps of every event, and every kernel is evaluated from its formula: nothing
here knows the piecewise polynomials of `evslam.ops.pieces`. Differentiable by the rule of `BinKernel` through
`evslam.ops.bin_events`, never by autograd of this file.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from evslam.errors import ConfigError
from evslam.ops.kernels import DEGREE, TEMPERATURE, BinKernel

_NODES = 24  # of Gauss-Legendre quadrature on half a span or less


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


def gauss(x: Tensor) -> Tensor:
    """Density of the standard normal distribution."""
    return torch.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)


def sigmoid_bin(x: Tensor) -> Tensor:
    """Rect bin with its steps replaced by sigmoids of temperature `TEMPERATURE`."""
    return torch.sigmoid((x + 0.5) / TEMPERATURE) - torch.sigmoid((x - 0.5) / TEMPERATURE)


def keys(x: Tensor) -> Tensor:
    """Cubic convolution kernel, a = -1/2 (Keys, 1981)."""
    x = x.abs()
    return torch.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2)


def lanczos(x: Tensor) -> Tensor:
    """Lanczos kernel, a = 2, divided by the sum of its taps."""

    def window(x: Tensor) -> Tensor:
        return torch.where(x.abs() < 2, torch.sinc(x) * torch.sinc(x / 2), torch.zeros_like(x))

    rest = x - torch.floor(x.detach())
    return window(x) / torch.stack([window(rest + m) for m in range(-2, 2)]).sum(0)


_SMOOTH: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {  # formula, half the support
    "gauss": (gauss, 4.0),
    "gauss_cut": (gauss, 1.5),
    "sigmoid": (sigmoid_bin, 4.5),
    "keys": (keys, 2.0),
    "lanczos": (lanczos, 2.0),
}
_RECONSTRUCTION = {"linear": "linear", "cubic": "keys", "lanczos": "lanczos"}


def reach(name: str) -> float:
    """Half the support of a profile, in bins."""
    if "*" in name:
        reconstruction, kernel = name.split("*")
        return reach(_RECONSTRUCTION[reconstruction]) + reach(kernel)
    return _SMOOTH[name][1] if name in _SMOOTH else (DEGREE[name] + 1) / 2


def value(name: str, x: Tensor, order: int = 0) -> Tensor:
    """Derivative `order` of a profile (`evslam.ops.kernels.profile`) at any x.

    Raises:
        ConfigError: third derivative of a convolution.
    """
    if "*" in name:
        reconstruction, kernel = name.split("*")
        if reconstruction == "linear" and kernel in DEGREE:
            return bspline(x, DEGREE[kernel] + 2, order)
        return _convolution(_RECONSTRUCTION[reconstruction], kernel, x, order)
    if name in DEGREE:
        return bspline(x, DEGREE[name], order)
    formula, half = _SMOOTH[name]
    inside = (x >= -half) & (x < half)
    return torch.where(inside, _differentiated(formula, x, order), torch.zeros_like(x))


def _differentiated(formula: Callable[[Tensor], Tensor], x: Tensor, order: int) -> Tensor:
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        result = formula(x)
        for _ in range(order):
            (result,) = torch.autograd.grad(result.sum(), x, create_graph=True)
    return result.detach()


def _convolution(reconstruction: str, kernel: str, x: Tensor, order: int) -> Tensor:
    """(l * k)^(order) = l^(order) * k + sum over the jumps of l^(order - 1), by quadrature between all knots.

    The knots of l lie at integers t; between two of them x - t passes one knot of k, at a distance `cut` from the
    lower. Only the linear l has a derivative with jumps: 1, -2, 1 at -1, 0, 1.
    """
    if order > 2:
        raise ConfigError(f"derivative {order} of {reconstruction} * {kernel} is not available here; take 0, 1 or 2")
    nodes, weights = (torch.as_tensor(each, dtype=x.dtype, device=x.device) for each in leggauss(_NODES))
    cut = (x - reach(kernel)) - torch.floor(x - reach(kernel))
    total = torch.zeros_like(x)
    for knot in range(-int(reach(reconstruction)), int(reach(reconstruction))):
        for low, length in ((knot + torch.zeros_like(x), cut), (knot + cut, 1 - cut)):
            t = low[..., None] + length[..., None] * (nodes + 1) / 2
            integrand = value(reconstruction, t, order) * value(kernel, x[..., None] - t)
            total = total + length / 2 * (integrand * weights).sum(-1)
    if order == 2 and reconstruction == "linear":
        total = total + value(kernel, x + 1) - 2 * value(kernel, x) + value(kernel, x - 1)
    return total


def _taps(coords: Tensor, shape: tuple[int, ...], kernel: BinKernel) -> tuple[Tensor, Tensor]:
    """Flat bin index and kernel value of every event and tap, both (N, taps); taps outside `shape` have value 0."""
    far = math.ceil(reach(kernel.profile) + 0.5)
    centre = torch.floor(coords + 0.5)
    index = torch.zeros(coords.shape[0], 1, dtype=torch.long, device=coords.device)
    weight = torch.ones(coords.shape[0], 1, dtype=coords.dtype, device=coords.device)
    offsets = torch.arange(-far, far + 1, device=coords.device)
    for axis in reversed(range(coords.shape[1])):
        size = shape[-1 - axis]
        bins = centre[:, axis, None].long() + offsets
        factor = value(kernel.profile, coords[:, axis, None] - bins, kernel.order[axis])
        factor = torch.where((bins >= 0) & (bins < size), factor, torch.zeros_like(factor))
        bins = bins.clamp(0, size - 1)
        index = (index[:, :, None] * size + bins[:, None, :]).flatten(1)
        weight = (weight[:, :, None] * factor[:, None, :]).flatten(1)
    return index, weight


def scatter(coords: Tensor, weights: Tensor, shape: tuple[int, ...], kernel: BinKernel) -> Tensor:
    """H_j = sum_i w_i f(u_i - j). coords (N, D) in bins, order (x, y, t); weights (N,); shape reversed order."""
    coords, weights = _finite(coords, weights)
    index, weight = _taps(coords, shape, kernel)
    flat = torch.zeros(math.prod(shape), dtype=coords.dtype, device=coords.device)
    return flat.index_add(0, index.flatten(), (weight * weights[:, None]).flatten()).reshape(shape)


def gather(image: Tensor, coords: Tensor, kernel: BinKernel) -> Tensor:
    """g_i = sum_j v_j f(u_i - j), the adjoint of `scatter`. image has the histogram's shape; returns (N,)."""
    coords, live = _finite(coords, torch.ones_like(coords[:, 0]))
    index, weight = _taps(coords, tuple(image.shape), kernel)
    return (image.flatten()[index] * weight).sum(1) * live


def _finite(coords: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Replace non-finite coordinates by 0 with weight 0; far ones are clamped, outside the shape, to fit an integer."""
    live = torch.isfinite(coords).all(1)
    coords = torch.where(live[:, None], coords, torch.zeros_like(coords)).clamp(-1e6, 1e6)
    return coords, torch.where(live, weights, torch.zeros_like(weights))


def all_orders(ndim: int, highest: int) -> list[tuple[int, ...]]:
    """Every derivative multi-index up to a total order: what tests loop over."""
    return [order for order in itertools.product(range(highest + 1), repeat=ndim) if sum(order) <= highest]
