"""Maximisation of an image objective over a few motion parameters, in units of image bins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor


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
        return np.asarray(self.upper @ parameters)

    def unscale(self, scaled: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.solve(self.upper, scaled))

    def pull_back(self, gradient: np.ndarray) -> np.ndarray:
        """Gradient to x becomes the gradient to z."""
        return np.asarray(np.linalg.solve(self.upper.T, gradient))


@dataclass(frozen=True)
class Optimum:
    """Result of a maximisation: parameters (P,), objective there, evaluations of value and gradient spent."""

    parameters: np.ndarray
    value: float
    evaluations: int


def maximise(
    objective: Callable[[Tensor], Tensor],
    start: np.ndarray,
    metric: Metric,
    *,
    step_tolerance: float,
    max_evaluations: int,
    like: Tensor,
) -> Optimum:
    """Maximise a differentiable objective with L-BFGS-B in metric coordinates.

    Stops when an iteration moves the events by less than `step_tolerance` bins RMS. The objective is divided by its
    value at the start, so that the optimiser's own scales do not depend on the number of events.

    Args:
        objective: maps parameters (P,) to a scalar tensor, differentiable; positive at the start.
        start: (P,) initial parameters.
        metric: scaling of the parameters.
        step_tolerance: bins.
        max_evaluations: upper bound of evaluations.
        like: tensor whose dtype and device the parameters get.
    """
    reference: list[float] = []
    best = [-np.inf, start]

    def negative(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        x = torch.as_tensor(metric.unscale(scaled), dtype=like.dtype, device=like.device).requires_grad_()
        value = objective(x)
        (gradient,) = torch.autograd.grad(value, x)
        contrast = float(value.detach())
        if not reference:
            reference.append(max(abs(contrast), 1e-12))
        if contrast > best[0]:
            best[:] = [contrast, metric.unscale(scaled)]
        slope = metric.pull_back(gradient.double().cpu().numpy())
        return -contrast / reference[0], -slope / reference[0]

    last = metric.scale(start)

    def stop_on_small_step(intermediate_result: object) -> None:
        nonlocal last
        scaled = np.array(intermediate_result.x)  # type: ignore[attr-defined]
        step = float(np.linalg.norm(scaled - last))
        last = scaled
        if step < step_tolerance:
            raise StopIteration

    result = minimize(
        negative,
        last,
        jac=True,
        method="L-BFGS-B",
        callback=stop_on_small_step,
        options={"maxfun": max_evaluations, "maxls": 5, "gtol": 0.0, "ftol": 1e-6},
    )
    return Optimum(np.asarray(best[1]), float(best[0]), int(result.nfev))
