"""Maximisation of the contrast of a batch over image scales, coarse to fine: shared by the tracker and by `egomotion`.

All images but the last are coarse. A coarse image is blurred, which makes its peak wide and free of side maxima (8 bins
of the finest image are 4 bins at half the scale, within the peak of a blurred image), and is left as soon as the next
step is short: where its maximum lies to a fraction of a bin does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evslam.errors import SolverError
from evslam.objective import Prior
from evslam.optim import Limits, Metric, Optimum, Problem

FREE_PARAMETERS = {"rotation": slice(3, 6), "translation": slice(0, 3), "6dof": slice(0, 6)}  # of the twist (6,)
PRIOR_WEIGHT = 0.01  # contrast gain that the square of (parameter / its standard deviation) costs
COARSE_STEP = 0.5  # bins: a shorter step ends the climb on a coarse image
Solver = Callable[[Problem, np.ndarray, Metric, Limits], Optimum]


@dataclass(frozen=True)
class Level:
    """What is maximised on one image: the objective of the free parameters, their metric, and the last step in bins."""

    problem: Problem
    metric: Metric
    tolerance: float


def speed_prior(deviation: float, free: slice) -> Prior:
    """Prior on v with a standard deviation in scene depths per second; bounds v, which contrast alone lets run away."""
    precision = np.diag([PRIOR_WEIGHT / deviation**2] * 3 + [0.0] * 3)[free, free]
    return Prior(precision, np.zeros(len(precision)))


def climb(
    scales: Sequence[float],
    level: Callable[[float, bool, np.ndarray], Level],
    start: np.ndarray,
    solver: Solver,
    max_evaluations: int,
) -> list[Optimum]:
    """Maximise on every image, each from where the one before leads.

    Args:
        scales: of the images, coarse to fine.
        level: (scale, coarse, parameters) to what is maximised there; parameters (P,) are where it starts.
        start: (P,) free parameters.
        solver: maximiser.
        max_evaluations: per image.

    Returns:
        The optimum on every image; the last one is the answer.

    Raises:
        SolverError: the objective is not finite where an image starts, or the solver broke down.
    """
    optima: list[Optimum] = []
    for number, scale in enumerate(scales, 1):
        coarse = number < len(scales)
        place = level(scale, coarse, start)
        limits = Limits(COARSE_STEP if coarse else place.tolerance, max_evaluations)
        try:
            optima.append(solver(place.problem, start, place.metric, limits))
        except np.linalg.LinAlgError as error:
            raise SolverError(f"no step from {start.tolist()} ({error}); start closer or bound the speed") from error
        start = optima[-1].ahead
    return optima
