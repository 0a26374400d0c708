"""The two primitives of the binning layer on whichever backend holds the events, and their derivatives.

    scatter  S[f](u, W)_bj = sum_i sum_c W_ic f_c(u_i - j)      gather  G[f](v, u)_ic = sum_j v_bj f_c(u_i - j)

with i over the events of packet b. They are adjoint in W and v, and closed under differentiation: with f_ca the
function that stands for the derivative of f_c along axis a (`BinKernel.derivative`),

    VJP of S for v:  dW = G[f](v, u),   du_a = sum_c W_c G[f_ca](v, u)_c
    VJP of G for W:  dv = S[f](u, W),   du_a = sum_c W_c G[f_ca](v, u)_c
    JVP of S:  S[f](u, dW) + sum_a S[f_ca](u, W_c du_a)
    JVP of G:  G[f](dv, u) + sum_a du_a G[f_ca](v, u)

So derivatives of any order, forward and reverse, are scatters and gathers. Under `vmap` the batch is folded into the
packets: a batch of histograms is one scatter.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.forward_ad import _set_fwd_grad_enabled

from evslam.errors import ConfigError
from evslam.ops import backends
from evslam.ops.kernels import BinKernel

Kernels = tuple[BinKernel, ...]
Shape = tuple[int, ...]


class Scatter(torch.autograd.Function):
    """S[f]: coords (N, D), columns W (N, C), offsets (B + 1,), shape, kernels f (C) to a histogram (B, *shape)."""

    @staticmethod
    def forward(coords: Tensor, columns: Tensor, offsets: Tensor, shape: Shape, kernels: Kernels) -> Tensor:
        return backends.scatter(coords, columns, offsets, shape, kernels)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        coords, columns, offsets, ctx.shape, ctx.kernels = inputs
        ctx.save_for_backward(coords, columns, offsets)
        ctx.save_for_forward(coords, columns, offsets)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        coords, columns, offsets = ctx.saved_tensors
        grad_coords = grad_columns = None
        if ctx.needs_input_grad[0]:
            grad_coords = _slope(grads[0], coords, offsets, columns, ctx.kernels)
        if ctx.needs_input_grad[1]:
            grad_columns = Gather.apply(grads[0], coords, offsets, ctx.kernels)
        return grad_coords, grad_columns, None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        with _set_fwd_grad_enabled(True):
            coords, columns, offsets = _primals(ctx.saved_tensors)
            parts: list[Tensor] = []
            kernels: Kernels = ()
            if tangents[1] is not None:
                parts, kernels = [tangents[1]], ctx.kernels
            if tangents[0] is not None:
                parts.append((columns[:, :, None] * tangents[0][:, None, :]).flatten(1))
                kernels = kernels + _derivatives(ctx.kernels)
            return Scatter.apply(coords, torch.cat(parts, 1), offsets, ctx.shape, kernels)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        coords, columns, offsets, shape, kernels = inputs
        size = info.batch_size
        coords, columns = (_folded(each, dim, size) for each, dim in zip((coords, columns), in_dims[:2], strict=True))
        folded = Scatter.apply(coords, columns, _repeated(offsets, in_dims[2], size), shape, kernels)
        return folded.reshape(size, len(offsets) - 1, *shape), 0


class Gather(torch.autograd.Function):
    """G[f]: image v (B, *shape), coords (N, D), offsets (B + 1,), kernels f (C) to (N, C)."""

    @staticmethod
    def forward(image: Tensor, coords: Tensor, offsets: Tensor, kernels: Kernels) -> Tensor:
        return backends.gather(image, coords, offsets, kernels)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        image, coords, offsets, ctx.kernels = inputs
        ctx.save_for_backward(image, coords, offsets)
        ctx.save_for_forward(image, coords, offsets)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        image, coords, offsets = ctx.saved_tensors
        grad_image = grad_coords = None
        if ctx.needs_input_grad[0]:
            grad_image = Scatter.apply(coords, grads[0], offsets, tuple(image.shape[1:]), ctx.kernels)
        if ctx.needs_input_grad[1]:
            grad_coords = _slope(image, coords, offsets, grads[0], ctx.kernels)
        return grad_image, grad_coords, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        with _set_fwd_grad_enabled(True):
            image, coords, offsets = _primals(ctx.saved_tensors)
            if tangents[1] is None:
                return Gather.apply(tangents[0], coords, offsets, ctx.kernels)
            slopes = Gather.apply(image, coords, offsets, _derivatives(ctx.kernels)).unflatten(
                1, (len(ctx.kernels), -1)
            )
            change = (slopes * tangents[1][:, None, :]).sum(2)
            return change if tangents[0] is None else change + Gather.apply(tangents[0], coords, offsets, ctx.kernels)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Any) -> tuple[Tensor, int]:
        image, coords, offsets, kernels = inputs
        size = info.batch_size
        image, coords = (_folded(each, dim, size) for each, dim in zip((image, coords), in_dims[:2], strict=True))
        folded = Gather.apply(image, coords, _repeated(offsets, in_dims[2], size), kernels)
        return folded.reshape(size, len(coords) // size, len(kernels)), 0


def _primals(saved: tuple[Tensor, ...]) -> list[Tensor]:
    """Saved tensors without the tangents of this level of forward mode.

    PyTorch switches forward mode off inside `jvp`, for the enclosing levels too, and so loses their derivatives
    (jacfwd of jacfwd is wrong). With forward mode on and these tensors, enclosing levels see all of `jvp`.
    """
    return [forward_ad.unpack_dual(each).primal for each in saved]


def _slope(image: Tensor, coords: Tensor, offsets: Tensor, columns: Tensor, kernels: Kernels) -> Tensor:
    """du_a = sum_c W_c G[f_ca](v, u)_c, (N, D), in one gather."""
    slopes = Gather.apply(image, coords, offsets, _derivatives(kernels)).unflatten(1, (len(kernels), -1))
    return (columns[:, :, None] * slopes).sum(1)


def _derivatives(kernels: Kernels) -> Kernels:
    axes = range(len(kernels[0].order))
    return tuple(kernel.derivative(axis) for kernel, axis in itertools.product(kernels, axes))


def _folded(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """Batch and first dimension as one."""
    batched = tensor.expand(size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    return batched.flatten(0, 1)


def _repeated(offsets: Tensor, dim: int | None, size: int) -> Tensor:
    """Offsets of the folded batch."""
    if dim is not None:
        raise ConfigError("offsets are batched by vmap; let every element of the batch have the same packets")
    starts = offsets[-1] * torch.arange(size, device=offsets.device)[:, None]
    return torch.cat([(offsets[:-1] + starts).flatten(), offsets[-1:] * size])
