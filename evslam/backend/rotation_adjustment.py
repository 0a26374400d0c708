"""Bundle adjustment of a rotating camera: the spline whose events make the panorama sharpest.

Unknowns are control rotations of the trajectory; the panorama is eliminated, because for given rotations it is the
image of the events (plus a map of earlier ones). Contrast and its gradient go through the histogram by functional
backpropagation; a prior on the third difference of the control rotations, in pixels, keeps what the events do not
measure smooth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky_banded, solve_banded
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from evslam.geometry.spline import RotationSpline, SplineSamples, inverse_left_jacobian, left_jacobian
from evslam.ops.sphere import SphereContrast


@dataclass(frozen=True)
class Smoothness:
    """Prior on how the steps between control rotations change.

    Attributes:
        weight: of the mean squared third difference of the control rotations, relative to the contrast at the start.
        focal: pixels per radian.
    """

    weight: float
    focal: float


class SplineContrast:
    """Contrast of the panorama as a function of small rotations of free control rotations, (F, 3) from the left.

    Args:
        contrast: of events between the nodes.
        samples: the spline's basis at the nodes.
        control: K control rotations to begin with; the last `num_free` of them are free.
        prior: smoothness.
        spacing: (K - 1,) seconds between control rotations.
    """

    def __init__(
        self,
        contrast: SphereContrast,
        samples: SplineSamples,
        spline: RotationSpline,
        num_free: int,
        prior: Smoothness,
    ) -> None:
        self.contrast, self.samples, self.control, self.num_free = contrast, samples, spline.control, num_free
        self.prior = prior
        middle = np.convolve(spline.knots[1:-1], np.ones(spline.degree) / spline.degree, "valid")
        self.spacing = np.diff(middle)
        self.scale = 1.0
        value, self.slope, products = self._both(np.zeros((num_free, 3)))
        self.scale = max(abs(value), 1e-9)
        self.curvature = products

    def moved(self, delta: np.ndarray) -> Rotation:
        """The control rotations after small rotations (F, 3)."""
        fixed = len(self.control) - self.num_free
        return Rotation.concatenate([self.control[:fixed], Rotation.from_rotvec(delta) * self.control[fixed:]])

    def gradient(self, delta: np.ndarray) -> tuple[float, np.ndarray]:
        """Value over that at the start, less the prior, and its gradient (F, 3)."""
        value, slope, _ = self._both(delta)
        return value, slope

    def _both(self, delta):
        control = self.moved(delta)
        rotation, jacobian = self.samples.jacobian(control)
        value, torque, products = self.contrast.gradient(rotation.as_matrix())
        K = len(control)
        slope = np.zeros((K, 3))
        first = self.samples.first
        for j in range(self.samples.degree + 1):
            np.add.at(slope, first + j, np.einsum("sij,si->sj", jacobian[:, j], torque))
        value, slope = value / self.scale, slope / self.scale
        penalty, pull = self._prior(control)
        slope = slope - pull
        slope = np.einsum("kij,ki->kj", left_jacobian(delta), slope[K - self.num_free :])
        return value - penalty, slope, (products, jacobian)

    def _prior(self, control):
        steps = (control[:-1].inv() * control[1:]).as_rotvec()
        inward = inverse_left_jacobian(steps) @ control[:-1].inv().as_matrix()
        rate = steps / self.spacing[:, None]
        unit = self.spacing[1:-1, None]
        w = self.prior.weight / max(len(steps) - 2, 1) * self.prior.focal**2
        third = (rate[2:] - 2 * rate[1:-1] + rate[:-2]) * unit
        g = np.zeros_like(steps)
        weighted = 2 * w * third * unit
        g[2:] += weighted
        g[1:-1] -= 2 * weighted
        g[:-2] += weighted
        g /= self.spacing[:, None]
        pull = np.einsum("kij,ki->kj", inward, g)
        out = np.zeros((len(control), 3))
        out[1:] += pull
        out[:-1] -= pull
        return w * float((third**2).sum()), out

    def banded(self) -> np.ndarray:
        """Lower banded form of a positive approximation of the negative Hessian at the start, (3 (p + 1) + 6, 3 F)."""
        products, jacobian = self.curvature
        degree, K = self.samples.degree, len(self.control)
        width = max(degree, 3) + 1
        blocks = np.zeros((K, width, 3, 3))
        info = products * (self.contrast.events.num_events / self.scale**2)
        for a in range(degree + 1):
            for b in range(a, degree + 1):
                part = np.einsum("sji,sjk,skl->sil", jacobian[:-1, a], info, jacobian[:-1, b])
                np.add.at(blocks, (self.samples.first[:-1] + a, b - a), part)
        w = 2 * self.prior.weight / max(K - 3, 1) * self.prior.focal**2
        third = np.array([-1.0, 3, -3, 1])
        for k in range(K - 3):
            for a in range(4):
                for b in range(a, 4):
                    blocks[k + a, b - a] += w * third[a] * third[b] * np.eye(3)
        floor = 1e-3 * np.trace(blocks[:, 0], axis1=1, axis2=2).mean() / 3
        blocks[:, 0] += floor * np.eye(3)
        blocks = blocks[K - self.num_free :]
        F = self.num_free
        band = np.zeros((3 * width, 3 * F))
        for d in range(width):
            for i in range(3):
                for j in range(3):
                    offset = 3 * d + j - i
                    if offset >= 0:
                        band[offset, i : 3 * (F - d) : 3][: F - d] = blocks[: F - d, d, i, j]
        return band


def sharpen(problem: SplineContrast, max_evaluations: int) -> tuple[Rotation, int]:
    lower = cholesky_banded(problem.banded(), lower=True)
    size, width = 3 * problem.num_free, len(lower)
    upper = np.zeros_like(lower)  # the transpose, in solve_banded's layout
    for k in range(width):
        upper[width - 1 - k, k:] = lower[k, : size - k]

    def unscale(z):
        return solve_banded((0, width - 1), upper, z).reshape(-1, 3)

    def both(z):
        value, slope = problem.gradient(unscale(z))
        return -value, -solve_banded((width - 1, 0), lower, slope.ravel())

    result = minimize(both, np.zeros(size), jac=True, method="L-BFGS-B",
                      options={"maxfun": max_evaluations, "maxcor": 20, "ftol": 1e-7, "gtol": 1e-9})
    return problem.moved(unscale(result.x)), result.nfev
