"""Maximisation of an image objective over a few motion parameters, in units of image bins.

Four methods behind one interface, `maximise(..., method=NAME)`: trust-region quasi-Newton (bfgs), trust-region Newton
with the exact Hessian (newton), and scipy's L-BFGS-B (lbfgsb) and trust-ncg for comparison. All of them work in
metric coordinates, stop on a step below a tolerance in bins, and keep a record of their evaluations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from evslam.errors import ConfigError, SolverError
from evslam.problem import Exhausted, Limits, Metric, Optimum, Problem, Record, ScaledProblem, TorchProblem

__all__ = ["OPTIMISERS", "Limits", "Metric", "Optimum", "Problem", "Record", "TorchProblem", "maximise"]

_ENOUGH = 0.1  # share of the predicted gain that a step must reach to be taken
_SHORTER = (0.1, 0.5)  # bounds of the radius after a refused step, as shares of its length
_FIRST_STEP = 1.0  # bins, while nothing is known about the curvature
_End = tuple[np.ndarray, np.ndarray | None]  # curvature, and where the step that was too short to be taken leads


def maximise(
    objective: Problem | Callable[[Tensor], Tensor],
    start: np.ndarray,
    metric: Metric,
    limits: Limits,
    like: Tensor | None = None,
    curvature: np.ndarray | None = None,
    method: str = "bfgs",
) -> Optimum:
    """Maximise an objective in metric coordinates.

    None of evslam's own methods has a line search, so a gradient that is not exactly that of the value (functional
    backpropagation) costs nothing but a shorter step.

    Args:
        objective: a Problem, or a torch function from parameters (P,) to a scalar.
        start: (P,) initial parameters.
        metric: scaling of the parameters.
        limits: when to stop.
        like: for a torch function, tensor whose dtype and device the parameters get; None for float64.
        curvature: (P, P) of an earlier, similar maximisation, for bfgs to begin with; None when nothing is known.
        method: one of OPTIMISERS.

    Raises:
        SolverError: the objective is not finite at the start.
        ConfigError: a method that does not exist.
    """
    if method not in _METHODS:
        raise ConfigError(f"optimiser {method!r} does not exist; choose one of {', '.join(_METHODS)}")
    if not isinstance(objective, Problem):
        objective = TorchProblem(objective, torch.zeros((), dtype=torch.float64) if like is None else like)
    scaled, z = ScaledProblem(objective, metric, limits), metric.scale(start)
    bend, ahead = np.eye(len(z)) / _FIRST_STEP if curvature is None else curvature, None
    with contextlib.suppress(Exhausted):
        bend, ahead = _METHODS[method](scaled, z, bend, curvature is not None)
    return scaled.optimum(bend, ahead)


def _finite(value: float, slope: np.ndarray, z: np.ndarray) -> None:
    if not np.isfinite(value) or not np.isfinite(slope).all():
        raise SolverError(f"the objective is {value} with gradient {slope} at the start {z} bins; check the events")


def _bfgs(problem: ScaledProblem, z: np.ndarray, curvature: np.ndarray, known: bool) -> _End:
    """Trust-region quasi-Newton: every iteration costs one evaluation of value and gradient."""
    value, slope = problem.gradient(z)
    _finite(value, slope, z)
    radius, ahead = problem.limits.max_radius, None
    if not known:
        curvature = curvature * max(float(np.linalg.norm(slope)), 1e-12)
    while problem.left > 0:
        step = _bounded(np.linalg.solve(curvature, slope), radius)
        length = float(np.linalg.norm(step))
        if length < problem.limits.step_tolerance:
            ahead = z + step
            break
        new_value, new_slope = problem.gradient(z + step)
        predicted = slope @ step - 0.5 * step @ curvature @ step
        ratio = (new_value - value) / max(predicted, 1e-15)
        curvature = _update(curvature, step, slope - new_slope)
        if ratio > _ENOUGH:
            z, value, slope = z + step, new_value, new_slope
            radius = min(2 * radius, problem.limits.max_radius) if ratio > 0.75 else radius
        else:
            radius = length * _shorter(new_value - value, slope @ step)
    return curvature, ahead


def _shorter(gain: float, rise: float) -> float:
    """Share of a refused step to try next: the top of the parabola through value, slope and the refused value."""
    low, high = _SHORTER
    if not np.isfinite(gain):
        return low
    return high if gain >= rise else min(max(0.5 * rise / (rise - gain), low), high)


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


def _newton(problem: ScaledProblem, z: np.ndarray, curvature: np.ndarray, known: bool) -> _End:
    """Trust-region Newton: one value a step, gradient and Hessian only where a step was taken."""
    value, slope, bend = problem.hessian(z)
    _finite(value, slope, z)
    radius, ahead = problem.limits.max_radius, None
    while problem.left > 0:
        step, length = _trust_region_step(slope, bend, radius)
        predicted = slope @ step + 0.5 * step @ bend @ step
        if not predicted > 0:
            break
        if length < problem.limits.step_tolerance:
            ahead = z + step
            break
        new_value = problem.value(z + step)
        ratio = (new_value - value) / predicted
        if ratio > _ENOUGH:
            z = z + step
            value, slope, bend = problem.hessian(z)
            radius = min(max(radius, 2 * length), problem.limits.max_radius) if ratio > 0.75 else radius
        else:
            radius = length * _shorter(new_value - value, slope @ step)
    return _positive(-bend), ahead


def _trust_region_step(slope: np.ndarray, bend: np.ndarray, radius: float) -> tuple[np.ndarray, float]:
    """Exact maximum of slope s + s bend s / 2 within |s| <= radius, for any symmetric bend; and its length.

    In the eigenvectors of bend, s = g / (shift - lambda) with the smallest shift that fits (More and Sorensen 1983);
    in the hard case the eigenvector of the largest lambda fills up the radius.
    """
    values, vectors = np.linalg.eigh(bend)
    g = vectors.T @ slope
    scale = max(float(np.abs(values).max()), float(np.linalg.norm(g)) / radius, 1e-300)
    low = max(float(values[-1]), 0.0) + 1e-12 * scale
    if values[-1] < 0:
        step = g / -values
        if np.linalg.norm(step) <= radius:
            return vectors @ step, float(np.linalg.norm(step))
    high = max(float(values[-1]), 0.0) + float(np.linalg.norm(g)) / radius + 1e-9 * scale
    if np.linalg.norm(g / (low - values)) < radius:
        step = g / (low - values)
        step[-1] = np.copysign(np.sqrt(max(radius**2 - float(step[:-1] @ step[:-1]), 0.0)), g[-1])
        return vectors @ step, float(np.linalg.norm(step))
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.linalg.norm(g / (middle - values)) > radius else (low, middle)
    step = g / (high - values)
    return vectors @ step, float(np.linalg.norm(step))


def _positive(curvature: np.ndarray) -> np.ndarray:
    """The nearest use of a curvature that is not positive definite: absolute eigenvalues, bounded from below."""
    values, vectors = np.linalg.eigh(curvature)
    values = np.maximum(np.abs(values), 1e-3 * max(float(np.abs(values).max()), 1e-12))
    return np.asarray((vectors * values) @ vectors.T)


def _scipy(problem: ScaledProblem, z: np.ndarray, curvature: np.ndarray, known: bool, *, method: str) -> _End:
    """scipy's minimisers on -objective / |objective at the start|, stopped by the step of an iteration."""
    value, slope = problem.gradient(z)
    _finite(value, slope, z)
    unit, place = max(abs(value), 1e-12), [z]

    def stop(x: np.ndarray) -> None:
        length = float(np.linalg.norm(x - place[-1]))
        place.append(x.copy())
        if 0 < length < problem.limits.step_tolerance:
            raise StopIteration

    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = problem.gradient(x)
        return -value / unit, -slope / unit

    options: dict[str, Any] = {"maxiter": 10 * problem.limits.max_evaluations, "gtol": 1e-12}
    arguments: dict[str, Any] = {"fun": both, "x0": z, "method": method, "jac": True, "callback": stop}
    if method == "trust-ncg":
        radius = problem.limits.max_radius
        options |= {"initial_trust_radius": min(1.0, radius / 2), "max_trust_radius": radius}
        arguments["hess"] = lambda x: -problem.hessian(x)[2] / unit
    else:
        options["ftol"] = 1e-15
    search: Any = minimize
    search(options=options, **arguments)
    return curvature, None


_METHODS: dict[str, Callable[[ScaledProblem, np.ndarray, np.ndarray, bool], _End]] = {
    "bfgs": _bfgs,
    "newton": _newton,
    "lbfgsb": partial(_scipy, method="L-BFGS-B"),
    "trust-ncg": partial(_scipy, method="trust-ncg"),
}
OPTIMISERS: dict[str, Callable[..., Optimum]] = {name: partial(maximise, method=name) for name in _METHODS}
