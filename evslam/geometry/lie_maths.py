"""Formulae behind `evslam.geometry.lie`: quaternions, left Jacobians and their inverses.

Everything here is plain torch on tensors of shape (..., D) that broadcast, and differentiable to any order.
"""

from __future__ import annotations

from math import factorial
from typing import NamedTuple

import torch
from torch import Tensor

from evslam.geometry.smooth import arctan_ratio, exponential_ratio, squared_norm, stumpff

_SERIES_TERMS = 18  # enough for 1e-17 while |sigma + i theta| is below 1


def cross(first: Tensor, second: Tensor) -> Tensor:
    """Cross product (..., 3) with broadcasting over any number of dimensions."""
    return torch.linalg.cross(*torch.broadcast_tensors(first, second))


# Quaternions (x, y, z, w)


def quaternion_multiply(first: Tensor, second: Tensor) -> Tensor:
    """Hamilton product (..., 4), renormalised so that long products of float32 poses stay rotations."""
    u, w = first[..., :3], first[..., 3:]
    v, z = second[..., :3], second[..., 3:]
    vector = w * v + z * u + cross(u, v)
    return normalise(torch.cat([vector, w * z - (u * v).sum(-1, keepdim=True)], -1))


def normalise(quaternion: Tensor) -> Tensor:
    """Scale (..., 4) to unit length."""
    return quaternion / torch.sqrt(squared_norm(quaternion))


def conjugate(quaternion: Tensor) -> Tensor:
    """Inverse of a unit quaternion (..., 4)."""
    return torch.cat([-quaternion[..., :3], quaternion[..., 3:]], -1)


def rotate(quaternion: Tensor, vector: Tensor) -> Tensor:
    """Rotate vectors (..., 3) by unit quaternions (..., 4)."""
    axis, w = quaternion[..., :3], quaternion[..., 3:]
    twice = 2 * cross(axis, vector)
    return vector + w * twice + cross(axis, twice)


def quaternion_exp(phi: Tensor) -> Tensor:
    """Unit quaternion (..., 4) of the rotation vector phi (..., 3) in radians."""
    w, half_sinc, _, _ = stumpff(squared_norm(phi) / 4)
    return torch.cat([phi * half_sinc / 2, w], -1)


def quaternion_log(quaternion: Tensor) -> Tensor:
    """Rotation vector (..., 3), at most pi long, of quaternions (..., 4) of either sign.

    phi = 2 arctan2(n, w) / n * vector with n = |vector|: exact and differentiable near pi too, where w = 0.
    """
    positive = torch.where(quaternion[..., 3:] < 0, -quaternion, quaternion)
    vector, w = positive[..., :3], positive[..., 3:]
    n2 = squared_norm(vector)
    small = 16 * n2 < w * w
    w_small, n = torch.where(small, w, 1.0), torch.sqrt(torch.where(small, 1.0, n2))
    near_zero = arctan_ratio(torch.where(small, n2, 0.0) / (w_small * w_small)) / w_small
    return 2 * vector * torch.where(small, near_zero, torch.atan2(n, w) / n)


# Matrices that commute with the rotation axis: left Jacobians and their inverses


class AxisMatrix(NamedTuple):
    """The 3x3 matrices c I + a [phi]x + b [phi]x^2, by their coefficients (..., 1)."""

    c: Tensor
    a: Tensor
    b: Tensor

    def apply(self, phi: Tensor, vector: Tensor) -> Tensor:
        """Multiply vectors (..., 3); phi (..., 3) is the rotation vector."""
        once = cross(phi, vector)
        return self.c * vector + self.a * once + self.b * cross(phi, once)

    def inverse(self, theta2: Tensor) -> AxisMatrix:
        """Inverse matrix; theta2 (..., 1) is |phi|^2.

        The eigenvalues are c along phi and c - b theta^2 +- i a theta across it; their reciprocals need no series.
        """
        across = self.c - self.b * theta2
        modulus2 = across * across + self.a * self.a * theta2
        b = (self.a * self.a - across * self.b) / (self.c * modulus2)
        return AxisMatrix(1 / self.c, -self.a / modulus2, b)


def rotation_jacobian(theta2: Tensor) -> AxisMatrix:
    """Left Jacobian V of SO3: the translation of exp(v, omega) in SE3 is V v."""
    _, _, c2, c3 = stumpff(theta2)
    return AxisMatrix(torch.ones_like(theta2), c2, c3)


def similarity_jacobian(theta2: Tensor, sigma: Tensor) -> AxisMatrix:
    """W of Sim3: the translation of exp(v, omega, sigma) is W v.

    W is the integral of exp(u (sigma + [omega]x)) over u in [0, 1]. Its eigenvalues are f(sigma) and
    f(sigma +- i theta), f(z) = (exp(z) - 1) / z. Written with Stumpff functions the coefficients have one removable
    singularity left, z = 0: there the power series of f takes over.
    """
    modulus2 = theta2 + sigma * sigma
    small = modulus2 < 1
    near = _similarity_series(torch.where(small, theta2, 0.0), torch.where(small, sigma, 0.0))
    cosine, c1, c2, _ = stumpff(theta2)
    scale, safe = torch.exp(sigma), torch.where(small, 1.0, modulus2)
    c = exponential_ratio(sigma)
    a = torch.where(small, near.a, (1 + scale * (sigma * c1 - cosine)) / safe)
    b = torch.where(small, near.b, (c + scale * (sigma * c2 - c1)) / safe)
    return AxisMatrix(c, a, b)


def _similarity_series(theta2: Tensor, sigma: Tensor) -> AxisMatrix:
    """W's coefficients from f(z) = sum_k z^k / (k + 1)!, z = sigma + i theta.

    a sums Im(z^k) / theta and b sums (sigma^k - Re(z^k)) / theta^2. Both are polynomials in sigma and theta^2 that
    follow from z^(k + 1) = z z^k.
    """
    power, imaginary, deficit = torch.ones_like(sigma), torch.zeros_like(theta2), torch.zeros_like(theta2)
    c, a, b = power, imaginary, deficit
    for k in range(1, _SERIES_TERMS):
        real = power - theta2 * deficit
        deficit = sigma * deficit + imaginary
        imaginary = sigma * imaginary + real
        power = sigma * power
        weight = 1 / factorial(k + 1)
        c, a, b = c + weight * power, a + weight * imaginary, b + weight * deficit
    return AxisMatrix(c, a, b)
