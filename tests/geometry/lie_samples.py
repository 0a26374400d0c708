"""Sample tangent vectors that the tests of the Lie groups share."""

from __future__ import annotations

import torch
from torch import Tensor

from evslam.geometry.lie import SE3, SO3, LieGroup, Sim3

GROUPS = [SO3, SE3, Sim3]


def tangent(group: type[LieGroup], *shape: int, size: float = 1.0, seed: int = 0) -> Tensor:
    """Random tangent vectors, none with a rotation beyond pi."""
    generator = torch.Generator().manual_seed(seed)
    return size * (2 * torch.rand(*shape, group.manifold_dim, generator=generator, dtype=torch.float64) - 1)


def with_angle(group: type[LieGroup], angle: float) -> Tensor:
    """A generic tangent vector whose rotation vector has the given length."""
    a = tangent(group, seed=7)
    omega = a[..., rotation_columns(group)]
    a[..., rotation_columns(group)] = angle * omega / omega.norm()
    return a


def rotation_columns(group: type[LieGroup]) -> slice:
    return slice(0, 3) if group is SO3 else slice(3, 6)
