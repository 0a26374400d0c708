"""Event binning with functional backpropagation (FBP, arXiv 2602.12590): the public functions."""

from __future__ import annotations

import torch
from torch import Tensor

from evslam.errors import ConfigError
from evslam.ops.kernels import bin_kernel
from evslam.ops.primitives import Scatter

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

    Forward, the plain histogram whatever the gradient estimator; bin j is centred on the integer j:

        H_j = sum_i w_i k(u_i - j)

    Backward, with g the gradient kernel of the estimator (g = l * k for functional; `evslam.ops.kernels` defines all)
    and products over the axes:

        dL/du_i = w_i sum_j dL/dH_j grad g(u_i - j)        dL/dw_i = sum_j dL/dH_j k(u_i - j), exact

    Differentiable any number of times (second derivatives use those of g), in reverse and forward mode, and under
    `torch.func` (grad, vjp, jvp, jacrev, jacfwd, hessian, vmap). Deterministic on the CPU; on a GPU the order of
    atomic additions, and with it the last digits, varies.

    Under autocast, half and bfloat16 arguments are computed in float32, as by `torch.amp.custom_fwd(cast_inputs=
    torch.float32)`, and the histogram is float32; elsewhere they are refused, because half a mantissa cannot hold
    a position in a large image.

    Args:
        coords: (N, D) in bins, D = 1, 2, 3, order (x, y, t), float32 or float64.
        weights: (N,) or None for ones; converted to the dtype of coords.
        shape: histogram shape in reversed order, e.g. (H, W) for coordinates (x, y), (T, H, W) for (x, y, t).
        kernel: bin kernel k: rect, linear, quadratic or cubic B-spline, gauss (sigma 1 bin, cut at 4 sigma) or
            gauss_cut (cut at 1.5 sigma).
        gradient: estimator: functional, raw (formal derivative of k), straight_through (that of linear) or sigmoid.
        reconstruction: l of the functional estimator: linear, cubic (Keys, a = -1/2) or lanczos (a = 2, normalised).
        offsets: (B + 1,) int64, rising from 0 to N: packet b holds the events offsets[b] to offsets[b + 1].

    Returns:
        Tensor of `shape`, or (B, *shape) with offsets, in the dtype and on the device of coords. Taps outside the
        shape and events with a non-finite coordinate contribute nothing and get no gradient, nothing is clamped onto
        the border; `count_dropped` counts the events.

    Raises:
        ConfigError: unknown names, or arguments whose shapes, types or devices do not belong together.

    Example:
        >>> coords = torch.tensor([[1.25, 2.5]], requires_grad=True)
        >>> bin_events(coords, None, (4, 3))[2:].tolist()
        [[0.0, 0.375, 0.125], [0.0, 0.375, 0.125]]
    """
    if torch.is_autocast_enabled(coords.device.type):
        coords = _widened(coords)
    _check(coords, weights, shape, offsets)
    spec = bin_kernel(kernel, gradient, reconstruction, coords.shape[1])
    weights = torch.ones_like(coords[:, 0]) if weights is None else weights.to(coords.dtype)
    limits = torch.tensor([0, coords.shape[0]], device=coords.device) if offsets is None else offsets
    histogram = Scatter.apply(coords, weights[:, None], limits, tuple(shape), (spec,))
    return histogram if offsets is not None else histogram[0]


def count_dropped(coords: Tensor, shape: Shape) -> int:
    """Number of events outside the histogram's bins (centre more than half a bin beyond the border) or non-finite.

    Args:
        coords: (N, D) in bins, order (x, y, t). shape: of the histogram, reversed order.
    """
    limit = torch.tensor(list(reversed(shape)), dtype=coords.dtype, device=coords.device) - 0.5
    inside = ((coords >= -0.5) & (coords < limit)).all(1)
    return int((~inside).sum())


def _widened(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _check(coords: Tensor, weights: Tensor | None, shape: Shape, offsets: Tensor | None) -> None:
    if coords.ndim != 2 or coords.shape[1] != len(shape):
        raise ConfigError(
            f"coords has shape {tuple(coords.shape)}; for histogram shape {tuple(shape)} give (N, {len(shape)})"
        )
    if coords.dtype not in (torch.float32, torch.float64):
        raise ConfigError(f"coords has dtype {coords.dtype}; give float32 or float64 bins")
    if min(shape) < 1:
        raise ConfigError(f"shape is {tuple(shape)}; give at least one bin per axis")
    if weights is not None and weights.shape != coords.shape[:1]:
        raise ConfigError(f"weights has shape {tuple(weights.shape)}; give ({coords.shape[0]},) or None")
    if weights is not None and weights.device != coords.device:
        raise ConfigError(f"weights are on {weights.device}, coords on {coords.device}; move them to one device")
    if offsets is not None:
        _check_offsets(offsets, coords)


def _check_offsets(offsets: Tensor, coords: Tensor) -> None:
    if offsets.device != coords.device:
        raise ConfigError(f"offsets are on {offsets.device}, coords on {coords.device}; move them to one device")
    if offsets.dtype not in (torch.int64, torch.int32):
        raise ConfigError(f"offsets has dtype {offsets.dtype}; give int64")
    bounds = offsets.tolist()
    if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != coords.shape[0] or bounds != sorted(bounds):
        raise ConfigError(
            f"offsets is {bounds}; give a rising sequence from 0 to the number of events {coords.shape[0]}"
        )
