"""Bundle adjustment of a turning camera: the rotation spline whose events make the panorama sharpest.

The unknowns are control rotations of the trajectory. The panorama is eliminated: for given rotations it is the image
of the events, on top of a map of earlier ones if there is one. Contrast and gradient go through the histogram by
functional backpropagation; a prior on the third difference of the control rotations keeps smooth what events do not
measure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import cholesky_banded
from scipy.linalg.lapack import dtbtrs
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from evslam.geometry import spline_kernels
from evslam.geometry.spline import RotationSpline, SplineSamples
from evslam.ops.sphere import SphereContrast

_THIRD = np.array([-1.0, 3.0, -3.0, 1.0])  # third difference
_FLOOR = 1e-1  # of the mean curvature, for control rotations that nothing measures
_TIE = 0.1  # share of the contrast that a mean squared pixel of unlike turns costs where they must be alike
_MEMORY = 20  # pairs that L-BFGS keeps


@dataclass(frozen=True)
class Priors:
    """Priors on the control rotations, each as the share of the contrast that a mean square of one pixel costs.

    Attributes:
        third: of their third difference.
        change: of their change from the start of the search, so that a stretch with few events does not run away.
        focal: pixels per radian.
        gaps: times [start, stop] without events. Across them the motion need not be smooth, within them the trajectory
            keeps its shape. A gap of no length is a place where it may jump.
    """

    third: float
    change: float
    focal: float
    gaps: tuple[tuple[float, float], ...] = ()

    def held(self, control_times: np.ndarray) -> np.ndarray:
        """(K - 3,) whether each third difference of K control rotations counts."""
        held = np.ones(max(len(control_times) - 3, 0), bool)
        for start, stop in self.gaps:
            held &= ~((control_times[:-3] < stop) & (start <= control_times[3:]))
        return held

    def tied(self, control_times: np.ndarray) -> np.ndarray:
        """(K - 1,) whether two neighbouring control rotations must turn alike; not where events after a gap decide."""
        tied = np.zeros(len(control_times) - 1, bool)
        needed = 2 * np.diff(control_times)  # half of a cubic's support
        for start, stop in self.gaps:
            tied |= (start < control_times[1:]) & (control_times[1:] + needed <= stop)
        return tied


class SplineContrast:
    """Contrast of the panorama as a function of small rotations, from the left, of the last control rotations.

    Args:
        contrast: of events between the nodes.
        samples: the spline's basis functions at the nodes.
        spline: where the search starts.
        num_free: so many of the last control rotations are free, at least one.
        prior: smoothness.
    """

    def __init__(
        self,
        contrast: SphereContrast,
        samples: SplineSamples,
        spline: RotationSpline,
        num_free: int,
        prior: Priors,
    ) -> None:
        self.contrast, self.samples, self.num_free = contrast, samples, num_free
        self.control = spline.control.as_quat()
        times = spline.control_times
        self.spacing, self.held = np.diff(times), prior.held(times)
        self.tied = prior.tied(times)[len(times) - num_free :] * _TIE * prior.focal**2 / num_free
        self.penalty = prior.third * prior.focal**2 / max(len(self.spacing) - 2, 1)
        self.stiffness = prior.change * prior.focal**2 / num_free
        rotation, jacobian = samples.jacobian(self.control)
        value, torque, products = contrast.gradient(rotation)
        self.scale = max(abs(value), 1e-9)
        self._start = value, torque, jacobian
        self._information = products * (contrast.events.num_events / self.scale**2)

    def moved(self, delta: np.ndarray) -> Rotation:
        """All control rotations after small rotations (num_free, 3)."""
        return Rotation.from_quat(spline_kernels.turned(self.control, delta))

    def gradient(self, delta: np.ndarray) -> tuple[float, np.ndarray]:
        """Contrast over that at the start, less the prior, and the gradient (num_free, 3)."""
        control = spline_kernels.turned(self.control, delta)
        if delta.any():
            rotation, jacobian = self.samples.jacobian(control)
            value, torque, _ = self.contrast.gradient(rotation)
        else:
            value, torque, jacobian = self._start
        slope = spline_kernels.pull_back(self.samples.first, jacobian, torque, len(control))
        penalty, pull = self._prior(control)
        slope = (slope / self.scale - pull)[-self.num_free :]
        apart = np.diff(delta, axis=0)
        pulled = self.tied[:, None] * apart
        slope = np.einsum("kij,ki->kj", spline_kernels.left_jacobians(delta), slope) - 2 * self.stiffness * delta
        slope[1:] -= 2 * pulled
        slope[:-1] += 2 * pulled
        penalty += self.stiffness * float((delta**2).sum()) + float((pulled * apart).sum())
        return value / self.scale - penalty, slope

    def _prior(self, control: np.ndarray) -> tuple[float, np.ndarray]:
        """Penalty on third differences, and its gradient (K, 3); steps are divided by their duration."""
        steps, inward = spline_kernels.steps(control)
        rate, unit = steps / self.spacing[:, None], self.spacing[1:-1, None]
        third = (rate[2:] - 2 * rate[1:-1] + rate[:-2]) * unit * self.held[:, None]
        weighted, pull = 2 * self.penalty * third * unit, np.zeros_like(steps)
        for offset, factor in enumerate((1.0, -2.0, 1.0)):
            pull[offset : len(pull) - 2 + offset] += factor * weighted
        pull = np.einsum("kij,ki->kj", inward, pull / self.spacing[:, None])
        out = np.zeros((len(control), 3))
        out[1:] += pull
        out[:-1] -= pull
        return self.penalty * float((third**2).sum()), out

    def curvature(self) -> np.ndarray:
        """Positive approximation of the negative Hessian at the start, in lower banded form.

        The products of the events' own torques have the shape of the curvature of a peak; the prior is exact for small
        steps between equally spaced control rotations.
        """
        information, jacobian = self._information, self._start[-1]
        count = len(self.control)
        blocks = np.zeros((count, max(jacobian.shape[1], len(_THIRD)), 3, 3))
        spline_kernels.blocks(self.samples.first, jacobian, information, blocks)
        for a in range(4 if count > 3 else 0):
            for b in range(a, 4):
                weight = 2 * self.penalty * _THIRD[a] * _THIRD[b] * self.held
                blocks[a : count - 3 + a, b - a] += weight[:, None, None] * np.eye(3)
        blocks[:, 0] += 2 * self.stiffness * np.eye(3)
        blocks[:, 0] += _FLOOR * max(float(np.trace(blocks[:, 0], axis1=1, axis2=2).mean()), 1e-12) * np.eye(3)
        free = blocks[-self.num_free :]
        tie = 2 * self.tied[:, None, None] * np.eye(3)
        free[:-1, 0] += tie
        free[1:, 0] += tie
        free[:-1, 1] -= tie
        return _banded(free)


def _banded(blocks: np.ndarray) -> np.ndarray:
    """Lower banded form (3 D, 3 F) of a symmetric matrix of 3 x 3 blocks (F, D, 3, 3): entry (f, f + d)."""
    count, width = blocks.shape[:2]
    band = np.zeros((3 * width, 3 * count))
    for d in range(min(width, count)):
        for i in range(3):
            for j in range(0 if d else i, 3):
                band[3 * d + j - i, i : 3 * (count - d) : 3] = blocks[: count - d, d, i, j]
    return band


def sharpen(problem: SplineContrast, max_evaluations: int, tolerance: float) -> tuple[Rotation, int]:
    """Climb to the sharpest panorama: L-BFGS in coordinates in which the curvature at the start is a unit matrix.

    Args:
        problem: where to start.
        max_evaluations: of value and gradient.
        tolerance: stop when an iteration gains less than this share of the contrast.

    Returns:
        All control rotations, and the evaluations spent.
    """
    lower = np.asfortranarray(cholesky_banded(problem.curvature(), lower=True))

    def unscaled(z: np.ndarray) -> np.ndarray:
        return np.asarray(dtbtrs(lower, z, uplo="L", trans="T")[0]).reshape(-1, 3)

    def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = problem.gradient(unscaled(z))
        return -value, -np.asarray(dtbtrs(lower, slope.ravel(), uplo="L")[0]).ravel()

    options = {"maxfun": max_evaluations, "maxcor": _MEMORY, "ftol": tolerance, "gtol": 0.0}
    search: Any = minimize
    found = search(negative, np.zeros(lower.shape[1]), jac=True, method="L-BFGS-B", options=options)
    return problem.moved(unscaled(found.x)), int(found.nfev)
