"""Lie groups SO3, SE3 and Sim3 in torch, with the names and the data layout of Princeton's lietorch.

| group | `.data` | tangent |
|---|---|---|
| SO3 | quaternion (x, y, z, w) | omega |
| SE3 | translation, quaternion | (v, omega) |
| Sim3 | translation, quaternion, scale | (v, omega, sigma), scale = exp(sigma) |

An element acts on points as X * p = s R p + t. Batch shapes are arbitrary and broadcast like those of tensors. All
operations are differentiable to any order, also at the identity, and work under `torch.func`. If Princeton's lietorch
is installed it does the arithmetic (see `lie_backend`); `backend()` tells which code runs.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from evslam.geometry.lie_backend import backend
from evslam.geometry.lie_group import LieGroup
from evslam.geometry.lie_maths import (
    AxisMatrix,
    conjugate,
    cross,
    quaternion_exp,
    quaternion_log,
    quaternion_multiply,
    rotate,
    rotation_jacobian,
    similarity_jacobian,
)
from evslam.geometry.smooth import squared_norm

__all__ = ["SE3", "SO3", "LieGroup", "Sim3", "backend"]


class SO3(LieGroup):
    """Rotations."""

    manifold_dim = 3
    embedded_dim = 4
    identity = (0.0, 0.0, 0.0, 1.0)
    quaternion = slice(0, 4)

    def translation(self) -> Tensor:
        """(..., 3) zeros: a rotation leaves the origin where it is."""
        return torch.zeros_like(self.data[..., :3])

    @classmethod
    def _exp(cls, a: Tensor) -> Tensor:
        return quaternion_exp(a)

    @classmethod
    def _log(cls, data: Tensor) -> Tensor:
        return quaternion_log(data)

    @classmethod
    def _inv(cls, data: Tensor) -> Tensor:
        return conjugate(data)

    @classmethod
    def _mul(cls, first: Tensor, second: Tensor) -> Tensor:
        return quaternion_multiply(first, second)

    @classmethod
    def _act(cls, data: Tensor, points: Tensor) -> Tensor:
        return rotate(data, points)

    @classmethod
    def _adj(cls, data: Tensor, a: Tensor) -> Tensor:
        return rotate(data, a)

    @classmethod
    def _adjT(cls, data: Tensor, a: Tensor) -> Tensor:
        return rotate(conjugate(data), a)


class _WithTranslation(LieGroup):
    """SE3 and Sim3: p -> s R p + t.

    `tail` below are the columns of data after the quaternion, and of a tangent after omega: the scale and its logarithm
    for Sim3, no column for SE3.
    """

    quaternion = slice(3, 7)

    @classmethod
    @abstractmethod
    def _jacobian(cls, theta2: Tensor, tail: Tensor) -> AxisMatrix:
        """The matrix that takes v of a tangent to the translation of its exponential; tail is the tangent's."""

    @classmethod
    def _exp(cls, a: Tensor) -> Tensor:
        v, omega, tail = a[..., :3], a[..., 3:6], a[..., 6:]
        t = cls._jacobian(squared_norm(omega), tail).apply(omega, v)
        return torch.cat([t, quaternion_exp(omega), torch.exp(tail)], -1)

    @classmethod
    def _log(cls, data: Tensor) -> Tensor:
        t, omega, tail = data[..., :3], quaternion_log(data[..., 3:7]), torch.log(data[..., 7:])
        theta2 = squared_norm(omega)
        return torch.cat([cls._jacobian(theta2, tail).inverse(theta2).apply(omega, t), omega, tail], -1)

    @classmethod
    def _inv(cls, data: Tensor) -> Tensor:
        q = conjugate(data[..., 3:7])
        return torch.cat([-rotate(q, data[..., :3]) / cls._scale(data), q, 1 / data[..., 7:]], -1)

    @classmethod
    def _mul(cls, first: Tensor, second: Tensor) -> Tensor:
        t = cls._act(first, second[..., :3])
        q = quaternion_multiply(first[..., 3:7], second[..., 3:7])
        return torch.cat([t, q, first[..., 7:] * second[..., 7:]], -1)

    @classmethod
    def _act(cls, data: Tensor, points: Tensor) -> Tensor:
        return cls._scale(data) * rotate(data[..., 3:7], points) + data[..., :3]

    @classmethod
    def _adj(cls, data: Tensor, a: Tensor) -> Tensor:
        t, q = data[..., :3], data[..., 3:7]
        omega = rotate(q, a[..., 3:6])
        return torch.cat([cls._scale(data) * rotate(q, a[..., :3]) + cross(t, omega), omega], -1)

    @classmethod
    def _adjT(cls, data: Tensor, a: Tensor) -> Tensor:
        t, q, v = data[..., :3], conjugate(data[..., 3:7]), a[..., :3]
        omega = rotate(q, a[..., 3:6] - cross(t, v))
        return torch.cat([cls._scale(data) * rotate(q, v), omega], -1)


class SE3(_WithTranslation):
    """Rigid motions."""

    manifold_dim = 6
    embedded_dim = 7
    identity = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)

    @classmethod
    def _jacobian(cls, theta2: Tensor, tail: Tensor) -> AxisMatrix:
        return rotation_jacobian(theta2)


class Sim3(_WithTranslation):
    """Similarities: rigid motions with a scale."""

    manifold_dim = 7
    embedded_dim = 8
    identity = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0)

    @classmethod
    def _scale(cls, data: Tensor) -> Tensor | float:
        return data[..., 7:]

    @classmethod
    def _jacobian(cls, theta2: Tensor, tail: Tensor) -> AxisMatrix:
        return similarity_jacobian(theta2, tail)

    @classmethod
    def _adj(cls, data: Tensor, a: Tensor) -> Tensor:
        sigma, rigid = a[..., 6:], super()._adj(data, a[..., :6])
        v = rigid[..., :3] - data[..., :3] * sigma
        return torch.cat([v, rigid[..., 3:], sigma.expand(*v.shape[:-1], 1)], -1)

    @classmethod
    def _adjT(cls, data: Tensor, a: Tensor) -> Tensor:
        sigma = a[..., 6:] - (data[..., :3] * a[..., :3]).sum(-1, keepdim=True)
        return torch.cat([super()._adjT(data, a[..., :6]), sigma], -1)
