"""What the maximisers of `evslam.optim` work on: an objective with derivatives, in bins, with a record."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor


@runtime_checkable
class Problem(Protocol):
    """An objective of P parameters, float64, with derivatives."""

    def value(self, parameters: np.ndarray) -> float:
        """The objective."""

    def gradient(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (P,)."""

    def hessian(self, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient and Hessian (P, P)."""


@dataclass(frozen=True)
class TorchProblem:
    """A differentiable torch function as a problem; `like` gives dtype and device of its parameters."""

    objective: Callable[[Tensor], Tensor]
    like: Tensor

    def value(self, parameters: np.ndarray) -> float:
        """The objective."""
        with torch.no_grad():
            return float(self.objective(self._leaf(parameters)))

    def gradient(self, parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """By autograd."""
        x = self._leaf(parameters).requires_grad_()
        value = self.objective(x)
        (slope,) = torch.autograd.grad(value, x)
        return float(value.detach()), slope.double().cpu().numpy()

    def hessian(self, parameters: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """By double backward."""
        x = self._leaf(parameters).requires_grad_()
        value = self.objective(x)
        (slope,) = torch.autograd.grad(value, x, create_graph=True)
        rows = [torch.autograd.grad(each, x, retain_graph=True)[0] for each in slope]
        bend = torch.stack(rows).double().cpu().numpy()
        return float(value.detach()), slope.detach().double().cpu().numpy(), 0.5 * (bend + bend.T)

    def _leaf(self, parameters: np.ndarray) -> Tensor:
        return torch.as_tensor(parameters, dtype=self.like.dtype, device=self.like.device)


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
class Record:
    """Objective and seconds since the start at every evaluation, in order; Hessians are listed by their time."""

    values: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    hessian_seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Optimum:
    """Result of a maximisation.

    Attributes:
        parameters: (P,) where the objective was largest.
        value: the objective there.
        evaluations: of the value, with or without its gradient.
        curvature: (P, P) estimate of the negative Hessian in bins, per unit of the objective; positive definite.
        ahead: (P,) where the last step, shorter than the tolerance and so not evaluated, would have led: the better
            place to go on from on a finer image. `parameters` where there was no such step.
        hessians: evaluations of the Hessian, each at a point that was evaluated before.
        record: how it went.
    """

    parameters: np.ndarray
    value: float
    evaluations: int
    curvature: np.ndarray
    ahead: np.ndarray
    hessians: int = 0
    record: Record = field(default_factory=Record)


class Exhausted(Exception):
    """No evaluation is left."""


class ScaledProblem:
    """A problem in bins that counts and times its evaluations and keeps the best point."""

    def __init__(self, problem: Problem, metric: Metric, limits: Limits) -> None:
        self.problem, self.limits = problem, limits
        self.inverse = np.linalg.inv(metric.upper)
        self.record, self.begin = Record(), time.perf_counter()
        self.last: np.ndarray | None = None
        self.best, self.best_value = np.empty(0), -np.inf

    @property
    def left(self) -> int:
        """Evaluations that are left."""
        return self.limits.max_evaluations - len(self.record.values)

    def value(self, z: np.ndarray) -> float:
        """Objective at z (P,), in bins; like the next two, raises Exhausted if no evaluation is left."""
        self._book(z)
        return self._note(z, self.problem.value(self.inverse @ z))

    def gradient(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        """Objective and its slope (P,)."""
        self._book(z)
        value, slope = self.problem.gradient(self.inverse @ z)
        return self._note(z, value), self.inverse.T @ slope

    def hessian(self, z: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Objective, slope (P,) and Hessian (P, P)."""
        self._book(z)
        value, slope, bend = self.problem.hessian(self.inverse @ z)
        self._note(z, value)
        self.record.hessian_seconds.append(time.perf_counter() - self.begin)
        return value, self.inverse.T @ slope, self.inverse.T @ bend @ self.inverse

    def optimum(self, curvature: np.ndarray, ahead: np.ndarray | None) -> Optimum:
        """The best point so far; arguments as the attributes of `Optimum`, but `ahead` in bins, or None."""
        record = self.record
        best = self.inverse @ self.best
        further = best if ahead is None else self.inverse @ ahead
        hessians = len(record.hessian_seconds)
        return Optimum(best, self.best_value, len(record.values), curvature, further, hessians, record)

    def _book(self, z: np.ndarray) -> None:
        if not self._known(z) and self.left <= 0:
            raise Exhausted

    def _note(self, z: np.ndarray, value: float) -> float:
        """A second look at the point evaluated last is not another evaluation."""
        if not self._known(z):
            self.last = z.copy()
            self.record.values.append(value)
            self.record.seconds.append(time.perf_counter() - self.begin)
        if value > self.best_value:
            self.best, self.best_value = z.copy(), value
        return value

    def _known(self, z: np.ndarray) -> bool:
        return self.last is not None and np.array_equal(self.last, z)
