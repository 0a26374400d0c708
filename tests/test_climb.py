"""Coarse to fine: from far away to the maximum, with few evaluations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evslam.climb import COARSE_STEP, Level, climb, speed_prior
from evslam.config import load_config
from evslam.errors import SolverError
from evslam.geometry.camera import Camera
from evslam.optim import Limits, Metric, Optimum, Problem
from evslam.packet_problem import Method, PacketProblem
from evslam.problem import TorchProblem
from evslam.types import EventBatch, SensorSize
from evslam.warp import warp_events

CAMERA = Camera(200.0, 200.0, 119.5, 89.5, SensorSize(180, 240))
NEWTON = Method.from_config(load_config(), "rotation", "newton")  # the tracker's settings


def turning_points(omega: np.ndarray, num: int = 8000, seed: int = 0) -> EventBatch:
    """Events of 300 points under a rotation in rad/s over 50 ms, on whole pixels."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.5, 0.5, (300, 2)) * [1.2, 0.9]
    t = rng.uniform(-0.025, 0.025, num)
    back = torch.from_numpy(np.concatenate([np.zeros(3), -omega]))
    seen = warp_events(torch.from_numpy(points[np.arange(num) % 300]), torch.from_numpy(t), back, 0.0)
    bearing, times = ((200 * seen).round() / 200).float(), torch.from_numpy(t).float()
    return EventBatch(25_000, 0, 50_000, times, bearing, times > 0)


def level_of(batch: EventBatch, scale: float, coarse: bool) -> Level:
    return PacketProblem(batch, CAMERA, NEWTON, scale, coarse=coarse).level


def newton(
    batch: EventBatch, start: np.ndarray, scales: tuple[float, ...] = NEWTON.scales
) -> tuple[np.ndarray, int, int]:
    """omega, evaluations and Hessians on all images together."""
    optima = climb(scales, lambda scale, coarse, _: level_of(batch, scale, coarse), start, NEWTON.solver, 40)
    return optima[-1].parameters, sum(each.evaluations for each in optima), sum(each.hessians for each in optima)


@pytest.mark.parametrize("omega", [(0.25, -0.2, 0.3), (1.5, -2.0, 2.5)])
@pytest.mark.parametrize(("bins", "most"), [(8, 10), (16, 12)])
def test_newton_from_far_away(omega: tuple[float, float, float], bins: float, most: int) -> None:
    """Every start in every direction; bins are those of the finest image, every evaluation on every image counts."""
    batch = turning_points(np.array(omega))
    metric = level_of(batch, NEWTON.scales[-1], False).metric
    rng = np.random.default_rng(1)
    for _ in range(12):
        away = rng.normal(size=3)
        found, *spent = newton(batch, omega + metric.unscale(bins * away / np.linalg.norm(away)))
        assert np.linalg.norm(metric.scale(found - omega)) < 0.1
        assert max(spent) <= most


def test_a_warm_newton_start_needs_five_evaluations_at_most() -> None:
    omega = np.array([0.25, -0.2, 0.3])
    for factor in (0.9, 1.0, 1.15):
        found, evaluations, hessians = newton(turning_points(omega), factor * omega, NEWTON.scales[-1:])
        assert np.abs(found - omega).max() < 0.02
        assert max(evaluations, hessians) <= 5


def test_every_image_begins_where_the_one_before_leads() -> None:
    """Coarse images stop at a coarse step whatever the tolerance; the last one keeps its own."""
    seen: list[tuple[float, bool, list[float]]] = []
    tolerances: list[float] = []
    nothing = TorchProblem(torch.sum, torch.zeros(()))

    def level(scale: float, coarse: bool, start: np.ndarray) -> Level:
        seen.append((scale, coarse, start.tolist()))
        return Level(nothing, Metric(np.eye(2)), 0.01)

    def solver(problem: Problem, start: np.ndarray, metric: Metric, limits: Limits) -> Optimum:
        assert limits.max_evaluations == 7
        tolerances.append(limits.step_tolerance)
        return Optimum(start + 1, 0.0, 3, np.eye(2), start + 1.5)

    optima = climb((0.25, 0.5, 1.0), level, np.zeros(2), solver, 7)
    assert seen == [(0.25, True, [0, 0]), (0.5, True, [1.5, 1.5]), (1.0, False, [3, 3])]
    assert tolerances == [COARSE_STEP, COARSE_STEP, 0.01]
    assert [each.parameters.tolist() for each in optima] == [[1, 1], [2.5, 2.5], [4, 4]]


def test_a_solver_that_breaks_down_is_told() -> None:
    def broken(problem: Problem, start: np.ndarray, metric: Metric, limits: Limits) -> Optimum:
        raise np.linalg.LinAlgError("Singular matrix")

    batch = turning_points(np.zeros(3), 500)
    with pytest.raises(SolverError, match="Singular matrix"):
        climb((0.5,), lambda *_: level_of(batch, 0.5, False), np.zeros(3), broken, 40)


@given(st.floats(0.1, 10), st.lists(st.floats(-5, 5), min_size=6, max_size=6).map(np.array))
def test_the_prior_costs_the_square_of_the_speed(deviation: float, twist: np.ndarray) -> None:
    for free in (slice(0, 6), slice(0, 3), slice(3, 6)):
        prior, moving = speed_prior(deviation, free), twist[free]
        expected = 0.01 * float(twist[:3] @ twist[:3]) / deviation**2 if free.start == 0 else 0
        assert float((moving - prior.mean) @ prior.precision @ (moving - prior.mean)) == pytest.approx(expected)
