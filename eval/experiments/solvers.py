"""Maximisers that an experiment may compare beside those of evslam."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from evslam.errors import ConfigError
from evslam.optim import OPTIMISERS, Limits, Metric, Optimum, Problem
from evslam.packet_problem import Solver, optimiser_by_name

PLAIN = "lbfgsb-plain"


def plain_lbfgsb(problem: Problem, start: np.ndarray, metric: Metric, limits: Limits) -> Optimum:
    """scipy's L-BFGS-B as it comes, with its own stopping rule (in the units of `metric`): what the paper uses.

    Its line search may leap to motions without any meaning; where the objective is not finite it counts as 0.
    """

    def evaluate(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = problem.gradient(metric.unscale(scaled))
        return (-value, -metric.pull_back(slope)) if np.isfinite(value) else (0.0, np.zeros_like(scaled))

    found = minimize(evaluate, metric.scale(start), (), "L-BFGS-B", True, options={"maxfun": limits.max_evaluations})
    end = metric.unscale(found.x)
    return Optimum(end, -float(found.fun), int(found.nfev), np.eye(len(start)), end)


def solver_by_name(name: str) -> Solver:
    """One of evslam's maximisers, or the baseline of this file; ConfigError when it does not exist."""
    if name == PLAIN:
        return plain_lbfgsb
    if name not in OPTIMISERS:
        raise ConfigError(f"optimiser {name!r} does not exist; choose one of {PLAIN}, {', '.join(OPTIMISERS)}")
    return optimiser_by_name(name)
