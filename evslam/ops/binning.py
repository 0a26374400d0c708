"""Event binning with functional backpropagation (FBP, arXiv 2602.12590).

Everything is built from two adjoint primitives, closed under differentiation:

    scatter  S[f](w, u)_j = sum_i w_i f(u_i - j)        gather  G[f](v, u)_i = sum_j v_j f(u_i - j)

The vector-Jacobian product of S is a G, that of G an S and a G of one derivative more. Which function stands for
the derivative of f is the rule of `SplineKernel`; the forward values never depend on it.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor

from evslam.errors import ConfigError
from evslam.ops import cpu, reference
from evslam.ops.kernels import SplineKernel, spline_kernel

Shape = tuple[int, ...]


def bin_events(
    coords: Tensor,
    weights: Tensor | None,
    shape: Shape,
    *,
    kernel: str = "linear",
    gradient: str = "functional",
    reconstruction: str = "linear",
    offsets: Tensor | None = None,
) -> Tensor:
    """Histogram of events that can be differentiated to the events' coordinates and weights.

    Forward: H_j = sum_i w_i k(u_i - j), bin j centred on the integer j. Backward: dL/du_i = w_i sum_j dL/dH_j
    kappa'(u_i - j) with kappa = l * k (functional) or k (raw); dL/dw_i = sum_j dL/dH_j k(u_i - j), which is exact.

    Args:
        coords: (N, D) in bins, D = 1, 2, 3, order (x, y, t), float32 or float64.
        weights: (N,) or None for ones.
        shape: histogram shape in reversed order, e.g. (H, W) for coordinates (x, y).
        kernel: rect, linear, quadratic or cubic B-spline.
        gradient: functional or raw.
        reconstruction: linear.
        offsets: (B + 1,) int64, rising from 0 to N: packet b holds the events offsets[b] to offsets[b + 1].

    Returns:
        Tensor of `shape`, or (B, *shape) with offsets. Taps outside the shape and events with a non-finite
        coordinate contribute nothing and get no gradient; `count_dropped` counts the events.

    Raises:
        ConfigError: unknown names, or arguments whose shapes do not belong together.
    """
    _check(coords, weights, shape, offsets)
    spec = spline_kernel(kernel, gradient, reconstruction, coords.shape[1])
    if weights is None:
        weights = torch.ones_like(coords[:, 0])
    limits = offsets
    if limits is None:
        limits = torch.tensor([0, coords.shape[0]])
    histogram = _Scatter.apply(coords, weights, limits, tuple(shape), spec)
    return histogram if offsets is not None else histogram[0]


def count_dropped(coords: Tensor, shape: Shape) -> int:
    """Number of events outside the histogram's bins (centre more than half a bin beyond the border) or non-finite."""
    limit = torch.tensor(list(reversed(shape)), dtype=coords.dtype, device=coords.device) - 0.5
    inside = ((coords >= -0.5) & (coords < limit)).all(1)
    return int((~inside).sum())


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(coords: Tensor, weights: Tensor, offsets: Tensor, shape: Shape, spec: SplineKernel) -> Tensor:
        return _scatter(coords, weights, offsets, shape, spec)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        coords, weights, offsets, _, ctx.spec = inputs
        ctx.save_for_backward(coords, weights, offsets)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        coords, weights, offsets = ctx.saved_tensors
        grad_coords = grad_weights = None
        if ctx.needs_input_grad[0]:
            grad_coords = weights[:, None] * _gather_derivatives(grads[0], coords, offsets, ctx.spec)
        if ctx.needs_input_grad[1]:
            grad_weights = _Gather.apply(grads[0], coords, offsets, ctx.spec)
        return grad_coords, grad_weights, None, None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(image: Tensor, coords: Tensor, offsets: Tensor, spec: SplineKernel) -> Tensor:
        return _gather(image, coords, offsets, [spec])[:, 0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        image, coords, offsets, ctx.spec = inputs
        ctx.save_for_backward(image, coords, offsets)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        image, coords, offsets = ctx.saved_tensors
        grad_image = grad_coords = None
        if ctx.needs_input_grad[0]:
            grad_image = _Scatter.apply(coords, grads[0], offsets, tuple(image.shape[1:]), ctx.spec)
        if ctx.needs_input_grad[1]:
            grad_coords = grads[0][:, None] * _gather_derivatives(image, coords, offsets, ctx.spec)
        return grad_image, grad_coords, None, None


def _gather_derivatives(image: Tensor, coords: Tensor, offsets: Tensor, spec: SplineKernel) -> Tensor:
    """G[df/du_a] for every axis a, (N, D); in one pass unless the result is to be differentiated again."""
    specs = [spec.derivative(axis) for axis in range(coords.shape[1])]
    if torch.is_grad_enabled():
        return torch.stack([_Gather.apply(image, coords, offsets, each) for each in specs], 1)
    return _gather(image, coords, offsets, specs)


def _scatter(coords: Tensor, weights: Tensor, offsets: Tensor, shape: Shape, spec: SplineKernel) -> Tensor:
    if _compiled(coords):
        packets = (len(offsets) - 1, shape[0], shape[1])
        arrays = (_array(coords), _array(weights), _array(offsets))
        return torch.from_numpy(cpu.scatter(*arrays, packets, spec.degree, (spec.order[0], spec.order[1])))
    coords, weights = _finite(coords, weights)
    limits = offsets.tolist()
    parts = [reference.scatter(coords[a:b], weights[a:b], shape, spec) for a, b in itertools.pairwise(limits)]
    return torch.stack(parts)


def _gather(image: Tensor, coords: Tensor, offsets: Tensor, specs: list[SplineKernel]) -> Tensor:
    if _compiled(coords):
        first, last = ((spec.order[0], spec.order[1]) for spec in (specs[0], specs[-1]))
        arrays = (_array(image), _array(coords), _array(offsets))
        return torch.from_numpy(cpu.gather_pair(*arrays, specs[0].degree, (first, last)))
    coords, live = _finite(coords, torch.ones_like(coords[:, 0]))
    limits = offsets.tolist()
    rows = [
        torch.stack([reference.gather(image[packet], coords[a:b], spec) for spec in specs], 1)
        for packet, (a, b) in enumerate(itertools.pairwise(limits))
    ]
    return torch.cat(rows) * live[:, None]


def _compiled(coords: Tensor) -> bool:
    return coords.shape[1] == 2 and coords.is_cpu


def _array(tensor: Tensor) -> Any:
    return tensor.detach().contiguous().numpy()


def _finite(coords: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Replace non-finite coordinates by 0 with weight 0; far ones are clamped, outside the shape, to fit an integer."""
    live = torch.isfinite(coords).all(1)
    coords = torch.where(live[:, None], coords, torch.zeros_like(coords)).clamp(-1e6, 1e6)
    return coords, torch.where(live, weights, torch.zeros_like(weights))


def _check(coords: Tensor, weights: Tensor | None, shape: Shape, offsets: Tensor | None) -> None:
    if coords.ndim != 2 or coords.shape[1] != len(shape):
        raise ConfigError(
            f"coords has shape {tuple(coords.shape)}; for histogram shape {tuple(shape)} give (N, {len(shape)})"
        )
    if coords.dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"coords has dtype {coords.dtype}; give float32 or float64 bins")
    if weights is not None and weights.shape != coords.shape[:1]:
        raise ConfigError(f"weights has shape {tuple(weights.shape)}; give ({coords.shape[0]},) or None")
    if offsets is not None:
        bounds = offsets.tolist()
        if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != coords.shape[0] or bounds != sorted(bounds):
            raise ConfigError(
                f"offsets is {bounds}; give a rising sequence from 0 to the number of events {coords.shape[0]}"
            )
