"""Maximisation in units of bins."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from evslam.errors import ConfigError, SolverError
from evslam.objective import BatchContrast, MotionProblem, variance
from evslam.optim import OPTIMISERS, Limits, Metric, _shorter, _trust_region_step, maximise
from evslam.problem import Problem, TorchProblem
from evslam.types import EventBatch
from evslam.warp import Canvas, warp_events

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


each_method = pytest.mark.parametrize("method", OPTIMISERS)


@each_method
def test_every_method_finds_the_maximum_of_a_quadratic(method: str) -> None:
    hill = Hill([2.0, -1.0, 0.5], [1.0, 3.0, 0.2])
    optimum = OPTIMISERS[method](hill, np.array([2.5, -1.8, 1.5]), metric(), FINE, LIKE)
    assert optimum.parameters == pytest.approx([2, -1, 0.5], abs=1e-4)
    assert optimum.value == pytest.approx(1, abs=1e-7)
    assert optimum.evaluations == len(optimum.record.values) == len(optimum.record.seconds)
    assert optimum.hessians == len(optimum.record.hessian_seconds)
    assert max(optimum.record.values) == optimum.value
    assert optimum.record.seconds == sorted(optimum.record.seconds)


@each_method
def test_every_method_climbs_out_of_a_flank(method: str) -> None:
    """A Gaussian bump seen from three standard deviations, where its curvature has the wrong sign."""
    optimum = maximise(bump, np.array([2.0, -2.0, 1.0]), unit(), FINE, LIKE, method=method)
    assert np.abs(optimum.parameters).max() < 1e-3


@each_method
def test_every_method_is_bounded_and_returns_the_best_point_seen(method: str) -> None:
    for most in (1, 3, 6):
        hill = Hill([50.0, -40.0, 30.0], [1.0, 100.0, 0.01])
        optimum = maximise(hill, np.zeros(3), unit(), Limits(1e-9, most), LIKE, method=method)
        assert optimum.evaluations == most
        assert optimum.value == max(optimum.record.values)
        assert optimum.value == pytest.approx(float(hill(torch.from_numpy(optimum.parameters))))


@each_method
def test_every_method_refuses_what_is_not_finite(method: str) -> None:
    with pytest.raises(SolverError, match="the objective is nan with gradient"):
        maximise(lambda x: (x * torch.nan).square().sum(), np.zeros(3), unit(), FINE, LIKE, method=method)


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(
        ConfigError, match="optimiser 'adam' does not exist; choose one of bfgs, newton, lbfgsb, trust-ncg"
    ):
        maximise(bump, np.zeros(3), unit(), FINE, LIKE, method="adam")


def bump(x: Tensor) -> Tensor:
    return torch.exp(-0.5 * x.square().sum())


def test_newton_needs_one_step_for_a_quadratic() -> None:
    optimum = maximise(Hill([2.0, -1.0, 0.5], [1.0, 3.0, 0.2]), np.zeros(3), unit(), FINE, LIKE, method="newton")
    assert (optimum.evaluations, optimum.hessians) == (2, 2)
    assert np.diag(optimum.curvature) == pytest.approx([2, 6, 0.4])


@pytest.mark.parametrize("method", ["bfgs", "newton"])
def test_the_last_step_is_not_evaluated_but_told(method: str) -> None:
    """On a quadratic the step that is too short to be taken leads to the maximum itself."""
    hill, start = Hill([0.2, -0.1, 0.0], [0.5, 0.5, 0.5]), np.zeros(3)
    optimum = maximise(hill, start, unit(), Limits(0.5, 20), LIKE, np.eye(3), method)
    assert (optimum.evaluations, optimum.parameters.tolist()) == (1, [0, 0, 0])
    assert optimum.ahead == pytest.approx([0.2, -0.1, 0])


@each_method
def test_nothing_lies_ahead_of_the_last_evaluation_that_was_left(method: str) -> None:
    optimum = maximise(Hill([9.0, 9, 9], [1.0, 2, 3]), np.zeros(3), unit(), Limits(1e-9, 2), LIKE, method=method)
    assert optimum.ahead.tolist() == optimum.parameters.tolist()


@given(st.floats(-100, 0.09), st.floats(1e-3, 10))
def test_a_refused_step_is_shortened_to_the_top_of_the_parabola(gain: float, rise: float) -> None:
    """f(0) = 0, f'(0) = rise, f(1) = gain: the parabola has its top where its derivative vanishes."""
    share = _shorter(gain, rise)
    assert 0.1 <= share <= 0.5
    if 0.1 < share < 0.5:
        assert rise + 2 * (gain - rise) * share == pytest.approx(0, abs=1e-9)
    assert _shorter(np.nan, rise) == 0.1


def test_newton_leaves_a_saddle_on_which_the_gradient_shows_no_way() -> None:
    """The hard case of the trust region: at the origin, uphill is only along the third axis, where the slope is 0."""

    def saddle(x: Tensor) -> Tensor:
        return 0.1 * x[0] - x[0] ** 2 - x[1] ** 2 + x[2] ** 2 - x[2] ** 4

    optimum = maximise(saddle, np.zeros(3), unit(), FINE, LIKE, method="newton")
    assert np.abs(optimum.parameters) == pytest.approx([0.05, 0, 0.5**0.5], abs=1e-5)


@given(st.integers(0, 10_000), st.floats(0.01, 10))
def test_trust_region_step_is_the_best_of_many(seed: int, radius: float) -> None:
    """No point of the ball is better, and a step inside it ends where the slope vanishes."""
    rng = np.random.default_rng(seed)
    bend, slope = rng.normal(size=(4, 4)), rng.normal(size=4) * rng.choice([0.0, 1e-3, 1.0], 4)
    bend = bend + bend.T
    step, length = _trust_region_step(slope, bend, radius)
    assert length == pytest.approx(float(np.linalg.norm(step)))
    assert length <= radius * (1 + 1e-6)
    others = rng.normal(size=(500, 4))
    others *= radius * rng.uniform(size=(500, 1)) ** 0.25 / np.linalg.norm(others, axis=1, keepdims=True)
    gains = others @ slope + 0.5 * np.einsum("ni,ij,nj->n", others, bend, others)
    best = float(step @ slope + 0.5 * step @ bend @ step)
    assert best >= gains.max() - 1e-6 * (1 + abs(best))


def test_derivatives_of_a_torch_problem() -> None:
    problem = TorchProblem(lambda x: x[0] ** 2 * x[1] + x[1] ** 3, LIKE)
    value, slope, bend = problem.hessian(np.array([2.0, 3.0]))
    assert (value, slope.tolist(), bend.tolist()) == (39, [12, 31], [[6, 4], [4, 18]])
    assert problem.value(np.array([2.0, 3.0])) == problem.gradient(np.array([2.0, 3.0]))[0] == 39
    assert isinstance(problem, Problem)


def turning_points(num: int = 8000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Events of 300 points under a rotation of 0.4 rad/s over 50 ms seen with 200 px, on whole pixels; the rotation."""
    rng, omega = np.random.default_rng(0), np.array([0.25, -0.2, 0.3])
    points = rng.uniform(-0.5, 0.5, (300, 2)) * [1, 0.75]
    t = rng.uniform(-0.025, 0.025, num)
    back = torch.from_numpy(np.concatenate([np.zeros(3), -omega]))
    seen = warp_events(torch.from_numpy(points[np.arange(num) % 300]), torch.from_numpy(t), back, 0.0).numpy()
    return (np.round(200 * seen) / 200).astype(np.float32), t.astype(np.float32), omega


@each_method
def test_every_method_takes_fused_and_torch_objectives_alike(method: str) -> None:
    """The same contrast by fused kernels and by autograd, in double precision."""
    bearing, t, omega = (torch.from_numpy(each).double() for each in turning_points(600))
    batch = EventBatch(0, -25_000, 25_000, t, bearing, t > 0)
    contrast = BatchContrast(batch, Canvas(60.0, 60.0, 29.5, 22.5, (46, 60)), "quadratic", "functional", variance, 0.0)
    scaling = Metric.from_gram(torch.from_numpy(contrast.displacement_gram()[3:, 3:]))
    limits, still = Limits(1e-2, 12), torch.zeros(3, dtype=torch.float64)
    found = [
        maximise(each, omega.numpy(), scaling, limits, method=method)
        for each in (
            MotionProblem(contrast.problem(), np.zeros(6), slice(3, 6)),
            lambda x: contrast(torch.cat([still, x])),
        )
    ]
    assert found[0].parameters == pytest.approx(found[1].parameters, abs=1e-8)
    assert found[0].record.values == pytest.approx(found[1].record.values, rel=1e-10)
