"""Maximisation of an image objective over a few motion parameters, in units of image bins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evslam.errors import SolverError

_ENOUGH = 0.1  # share of the predicted gain that a step must reach to be taken
_FIRST_STEP = 1.0  # bins, while nothing is known about the curvature


@dataclass(frozen=True)
class Metric:
    """Linear change of parameters after which the Euclidean norm is an RMS event displacement in bins.

    With G = mean J^T J of the events' displacements (bins per parameter) and G = U^T U, the scaled parameters are
    z = U x.
    """

    upper: np.ndarray

    @staticmethod
    def from_gram(gram: Tensor, damping: float = 1e-6) -> Metric:
        """From G (P, P); a share `damping` of its mean diagonal keeps unobservable directions finite."""
        matrix = gram.double().cpu().numpy()
        floor = damping * max(float(np.trace(matrix)) / len(matrix), 1e-12)
        return Metric(np.linalg.cholesky(matrix + floor * np.eye(len(matrix))).T)

    def scale(self, parameters: np.ndarray) -> np.ndarray:
        """Parameters (P,) to bins."""
        return np.asarray(self.upper @ parameters)

    def unscale(self, scaled: np.ndarray) -> np.ndarray:
        """Bins (P,) to parameters."""
        return np.asarray(np.linalg.solve(self.upper, scaled))

    def pull_back(self, gradient: np.ndarray) -> np.ndarray:
        """Gradient to the parameters becomes the gradient to bins."""
        return np.asarray(np.linalg.solve(self.upper.T, gradient))


@dataclass(frozen=True)
class Limits:
    """When to stop: a step below `step_tolerance` bins, or `max_evaluations`; `max_radius` bins bounds a step."""

    step_tolerance: float
    max_evaluations: int
    max_radius: float = 4.0


@dataclass(frozen=True)
class Optimum:
    """Result of a maximisation.

    Attributes:
        parameters: (P,) where the objective was largest.
        value: the objective there.
        evaluations: of value and gradient.
        curvature: (P, P) estimate of the negative Hessian in bins, per unit of the objective; positive definite.
    """

    parameters: np.ndarray
    value: float
    evaluations: int
    curvature: np.ndarray


def maximise(
    objective: Callable[[Tensor], Tensor],
    start: np.ndarray,
    metric: Metric,
    limits: Limits,
    like: Tensor,
    curvature: np.ndarray | None = None,
) -> Optimum:
    """Maximise a differentiable objective by a trust-region quasi-Newton method (BFGS) in metric coordinates.

    Every iteration costs one evaluation of value and gradient; there is no line search, so a gradient that is not
    exactly that of the value (functional backpropagation) costs nothing but a shorter step.

    Args:
        objective: maps parameters (P,) to a scalar tensor, differentiable.
        start: (P,) initial parameters.
        metric: scaling of the parameters.
        limits: when to stop.
        like: tensor whose dtype and device the parameters get.
        curvature: (P, P) of an earlier, similar maximisation, to begin with; None when nothing is known.

    Raises:
        SolverError: the objective is not finite at the start.
    """

    def evaluate(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.as_tensor(metric.unscale(scaled), dtype=like.dtype, device=like.device).requires_grad_()
        value = objective(x)
        (gradient,) = torch.autograd.grad(value, x)
        return float(value.detach()), metric.pull_back(gradient.double().cpu().numpy())

    z = metric.scale(start)
    value, slope = evaluate(z)
    if not np.isfinite(value) or not np.isfinite(slope).all():
        raise SolverError(f"the objective is {value} with gradient {slope} at the start {start}; check the events")
    radius = limits.max_radius
    if curvature is None:
        curvature = np.eye(len(z)) * max(float(np.linalg.norm(slope)), 1e-12) / _FIRST_STEP
    evaluations = 1
    while evaluations < limits.max_evaluations:
        step = _bounded(np.linalg.solve(curvature, slope), radius)
        length = float(np.linalg.norm(step))
        if length < limits.step_tolerance:
            break
        new_value, new_slope = evaluate(z + step)
        evaluations += 1
        predicted = slope @ step - 0.5 * step @ curvature @ step
        ratio = (new_value - value) / max(predicted, 1e-15)
        curvature = _update(curvature, step, slope - new_slope)
        if ratio > _ENOUGH:
            z, value, slope = z + step, new_value, new_slope
            radius = min(2 * radius, limits.max_radius) if ratio > 0.75 else radius
        else:
            radius = 0.25 * length
    return Optimum(metric.unscale(z), value, evaluations, curvature)


def _bounded(step: np.ndarray, radius: float) -> np.ndarray:
    length = float(np.linalg.norm(step))
    return step if length <= radius else step * (radius / length)


def _update(curvature: np.ndarray, step: np.ndarray, change: np.ndarray) -> np.ndarray:
    """BFGS update, damped (Powell 1978): the curvature stays positive definite where the objective is not concave."""
    if not np.isfinite(change).all():
        return curvature
    bent = curvature @ step
    expected = step @ bent
    along = step @ change
    share = 1.0 if along >= 0.2 * expected else 0.8 * expected / (expected - along)
    change = share * change + (1 - share) * bent
    return np.asarray(curvature - np.outer(bent, bent) / expected + np.outer(change, change) / (step @ change))
