"""Maximisation in units of bins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from evslam.errors import SolverError
from evslam.optim import Limits, Metric, maximise

LIKE = torch.zeros((), dtype=torch.float64)
FINE = Limits(step_tolerance=1e-7, max_evaluations=200)
vectors = st.lists(st.floats(-100, 100), min_size=3, max_size=3).map(np.array)


def metric() -> Metric:
    """Parameters that move the events by about 1, 5 and 0.3 bins a unit, and not independently."""
    jacobian = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    jacobian = jacobian * torch.tensor([1.0, 5.0, 0.3])
    return Metric.from_gram(jacobian.T @ jacobian / 50)


class Hill:
    """1 - (x - top)^T A (x - top), counting its evaluations."""

    def __init__(self, top: list[float], steepness: list[float]) -> None:
        self.top = torch.tensor(top, dtype=torch.float64)
        self.steepness = torch.tensor(steepness, dtype=torch.float64)
        self.seen: list[Tensor] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach())
        return 1 - (self.steepness * (x - self.top).square()).sum()


def unit() -> Metric:
    return Metric(np.eye(3))


@given(vectors)
def test_scale_and_unscale_are_inverse(x: np.ndarray) -> None:
    assert metric().unscale(metric().scale(x)) == pytest.approx(x, abs=1e-9)
    assert metric().scale(metric().unscale(x)) == pytest.approx(x, abs=1e-9)


@given(vectors, vectors)
def test_pull_back_is_the_adjoint_of_unscale(gradient: np.ndarray, z: np.ndarray) -> None:
    """<g, unscale z> = <pull_back g, z>: the chain rule of x = U^-1 z."""
    left, right = gradient @ metric().unscale(z), metric().pull_back(gradient) @ z
    assert left == pytest.approx(right, rel=1e-9, abs=1e-8)


def test_scaled_length_is_the_root_mean_square_displacement() -> None:
    jacobian = torch.randn(200, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scaled = Metric.from_gram(torch.einsum("nip,niq->pq", jacobian, jacobian) / 200, damping=0.0)
    x = torch.tensor([0.3, -1.0, 2.0], dtype=torch.float64)
    rms = float((jacobian @ x).square().sum(1).mean().sqrt())
    assert np.linalg.norm(scaled.scale(x.numpy())) == pytest.approx(rms)


def test_unobservable_directions_stay_finite() -> None:
    """A parameter that moves no event gets a share `damping` of the mean square; a batch without any motion too."""
    scaled = Metric.from_gram(torch.diag(torch.tensor([3.0, 0.0, 0.0])), damping=1e-4)
    assert scaled.scale(np.array([0, 1.0, 0])) == pytest.approx([0, 1e-2, 0])
    assert np.isfinite(Metric.from_gram(torch.zeros(3, 3)).unscale(np.ones(3))).all()


@pytest.mark.parametrize("scaling", [unit(), metric()], ids=["unit", "skewed"])
@pytest.mark.parametrize("start", [[0.0, 0, 0], [2.5, -1, 0.5], [-7.0, 9, 3]])
def test_recovers_the_maximum_of_a_quadratic(scaling: Metric, start: list[float]) -> None:
    hill = Hill([2.0, -1.0, 0.5], [1.0, 3.0, 0.2])
    optimum = maximise(hill, np.array(start), scaling, FINE, LIKE)
    assert optimum.parameters == pytest.approx([2, -1, 0.5], abs=1e-4)
    assert optimum.value == pytest.approx(1, abs=1e-7)
    assert optimum.evaluations == len(hill.seen)


def test_the_answer_is_the_best_point_seen() -> None:
    hill = Hill([2.0, -1.0, 0.5], [1.0, 300.0, 0.2])
    optimum = maximise(hill, np.zeros(3), unit(), Limits(1e-6, 9), LIKE)
    assert optimum.value == pytest.approx(max(float(hill(x)) for x in hill.seen[:9]))
    assert optimum.value == pytest.approx(float(hill(torch.from_numpy(optimum.parameters))))


@pytest.mark.parametrize("most", [1, 2, 5, 11])
def test_evaluations_are_bounded(most: int) -> None:
    hill = Hill([50.0, -40.0, 30.0], [1.0, 100.0, 0.01])
    optimum = maximise(hill, np.zeros(3), unit(), Limits(1e-9, most), LIKE)
    assert optimum.evaluations == len(hill.seen) == most


def test_one_evaluation_returns_the_start() -> None:
    optimum = maximise(Hill([1.0, 1, 1], [1.0, 1, 1]), np.array([0.5, 0, 0]), unit(), Limits(1e-9, 1), LIKE)
    assert optimum.parameters == pytest.approx([0.5, 0, 0])
    assert optimum.value == pytest.approx(1 - 2.25)


def test_a_coarser_tolerance_stops_earlier_and_within_it() -> None:
    spent = []
    for tolerance in (1e-1, 1e-4, 1e-8):
        hill = Hill([2.0, -1.0, 0.5], [1.0, 3.0, 0.2])
        optimum = maximise(hill, np.zeros(3), unit(), Limits(tolerance, 200), LIKE)
        assert np.linalg.norm(optimum.parameters - [2, -1, 0.5]) < 10 * tolerance
        spent.append(optimum.evaluations)
    assert spent == sorted(spent)
    assert spent[0] < spent[-1]


def test_a_flat_objective_stops_at_once() -> None:
    optimum = maximise(lambda x: 0 * x.sum() + 5, np.ones(3), unit(), FINE, LIKE)
    assert (optimum.evaluations, optimum.value) == (1, 5)
    assert optimum.parameters.tolist() == [1, 1, 1]


def test_no_step_is_longer_than_the_radius() -> None:
    hill = Hill([100.0, 0.0, 0.0], [1e-3, 1e-3, 1e-3])
    maximise(hill, np.zeros(3), unit(), Limits(1e-6, 40, max_radius=2.0), LIKE)
    steps = torch.stack(hill.seen).diff(dim=0).norm(dim=1)
    assert float(steps.max()) == pytest.approx(2.0)


def test_curvature_is_that_of_the_objective_and_speeds_up_the_next() -> None:
    first = maximise(Hill([2.0, -1.0, 0.5], [1.0, 3.0, 0.2]), np.zeros(3), unit(), FINE, LIKE)
    assert np.diag(first.curvature) == pytest.approx([2, 6, 0.4], rel=0.2)
    again = Hill([-1.0, 1.0, 1.5], [1.0, 3.0, 0.2])
    second = maximise(again, np.zeros(3), unit(), FINE, LIKE, curvature=first.curvature)
    assert second.parameters == pytest.approx([-1, 1, 1.5], abs=1e-4)
    assert second.evaluations < first.evaluations


def test_climbs_where_the_objective_is_not_concave() -> None:
    """A Gaussian bump seen from three standard deviations, where its curvature has the wrong sign."""
    optimum = maximise(lambda x: torch.exp(-0.5 * x.square().sum()), np.array([2.0, -2.0, 1.0]), unit(), FINE, LIKE)
    assert np.abs(optimum.parameters).max() < 1e-3
    assert np.linalg.eigvalsh(optimum.curvature).min() > 0


def test_single_precision_parameters() -> None:
    kinds: list[torch.dtype] = []

    def objective(x: Tensor) -> Tensor:
        kinds.append(x.dtype)
        return 1 - (x - 1).square().sum()

    optimum = maximise(objective, np.zeros(3), unit(), Limits(1e-4, 50), torch.zeros((), dtype=torch.float32))
    assert set(kinds) == {torch.float32}
    assert optimum.parameters == pytest.approx([1, 1, 1], abs=1e-3)


def test_an_objective_that_is_not_finite_at_the_start_is_an_error() -> None:
    with pytest.raises(SolverError, match="the objective is nan with gradient"):
        maximise(lambda x: x.sum() * torch.nan, np.zeros(3), unit(), FINE, LIKE)


def test_a_hole_in_the_objective_is_stepped_around() -> None:
    """Not a number beyond 0.9 on the way to 1: the step is refused and shortened, the optimum lies at the edge."""

    def objective(x: Tensor) -> Tensor:
        value = 1 - (x - 1).square().sum()
        return value if float(x[0].detach()) < 0.9 else value * torch.nan

    optimum = maximise(objective, np.array([0.0, 1, 1]), unit(), Limits(1e-3, 60), LIKE)
    assert 0.5 < optimum.parameters[0] < 0.9
    assert np.isfinite(optimum.value)
