"""Contrast measures, and the contrast of a batch as a function of its twist."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from torch import Tensor
from torch.autograd import gradcheck

from evslam.errors import ConfigError
from evslam.objective import (
    OBJECTIVES,
    BatchContrast,
    Blurred,
    MotionProblem,
    Prior,
    gradient_magnitude,
    log_likelihood,
    mean_square,
    objective_by_name,
    variance,
)
from evslam.ops import bin_events
from evslam.problem import TorchProblem
from evslam.types import EventBatch
from evslam.warp import Canvas, warp_events

IMAGE = torch.tensor([[1.0, 2, 4], [0, 3, 9], [5, 5, 7]], dtype=torch.float64)
CANVAS = Canvas(20.0, 24.0, 14.5, 11.5, (24, 30))
TWIST = torch.tensor([0.3, -0.2, 0.1, 0.8, -0.5, 0.4], dtype=torch.float64)


def batch(num: int = 40) -> EventBatch:
    """Events of ten edges in a plane at depth 1 that moves with TWIST: warped by it, they fall on ten points."""
    uniform = torch.rand(3, num, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    point = (uniform[:2].T - 0.5)[torch.arange(num) % 10]
    t = 0.4 * uniform[2] - 0.2
    bearing = torch.cat([seen(point[i : i + 1], t[i : i + 1]) for i in range(num)])
    return EventBatch(200_000, 0, 400_000, t, bearing, t > 0)


def seen(point: Tensor, t: Tensor) -> Tensor:
    """Where a point of the plane at t_ref is seen at time t: the warp inverted by fixed-point iteration."""
    bearing = point.clone()
    for _ in range(60):
        bearing = bearing + point - warp_events(bearing, t, TWIST, 1.0)
    return bearing


def contrast(**changes: object) -> BatchContrast:
    plain = BatchContrast(batch(), CANVAS, "quadratic", "functional", variance)
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def test_variance_and_mean_square_by_numpy() -> None:
    assert float(variance(IMAGE)) == pytest.approx(np.var(IMAGE.numpy()))
    assert float(mean_square(IMAGE)) == pytest.approx(210 / 9)


def test_gradient_magnitude_of_a_ramp_and_by_hand() -> None:
    y, x = torch.meshgrid(torch.arange(5.0), torch.arange(7.0), indexing="ij")
    assert float(gradient_magnitude(3 * x - 2 * y)) == pytest.approx(13)
    assert float(gradient_magnitude(IMAGE)) == pytest.approx(4.5**2 + 1.5**2)


def test_log_likelihood_is_the_negative_binomial() -> None:
    """r = 0.1 and q = 1 / 2.59; scipy counts failures, its p is 1 - q."""
    counts = torch.tensor([[0.0, 1, 2], [5, 9, 0]], dtype=torch.float64)
    expected = stats.nbinom.logpmf(counts.numpy(), 0.1, 1 - 1 / 2.59).mean()
    assert float(log_likelihood(counts)) == pytest.approx(expected)
    assert gradcheck(log_likelihood, ((counts + 0.2).requires_grad_(),))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0])
def test_blur_is_a_gaussian_convolution(sigma: float) -> None:
    image = torch.zeros(25, 31, dtype=torch.float64)
    image[12, 15], image[3, 2] = 1.0, 2.0
    seen: list[Tensor] = []

    def look(blurred: Tensor) -> Tensor:
        seen.append(blurred)
        return blurred.sum()

    Blurred(look, sigma)(image)
    expected = ndimage.gaussian_filter(image.numpy(), sigma, mode="constant", truncate=4.0)
    assert np.abs(seen[0].numpy() - expected).max() < 1e-4  # scipy rounds the reach of the taps


def test_objectives_by_name() -> None:
    measures = [variance, mean_square, gradient_magnitude, log_likelihood]
    assert [objective_by_name(name) for name in OBJECTIVES] == measures
    assert objective_by_name("variance", 1.5) == Blurred(variance, 1.5)
    with pytest.raises(ConfigError, match="objective 'sharpness' does not exist; choose one of variance, mean_square"):
        objective_by_name("sharpness")


def test_image_of_warped_events_is_warp_project_bin() -> None:
    events = batch()
    warped = warp_events(events.bearing, events.t, TWIST, 0.5)
    coords = torch.stack([20 * warped[:, 0] + 14.5, 24 * warped[:, 1] + 11.5], 1)
    expected = bin_events(coords, None, (24, 30), kernel="quadratic")
    assert torch.allclose(contrast(inverse_depth=0.5).iwe(TWIST), expected, atol=1e-12)


def test_the_true_twist_puts_the_events_of_an_edge_on_one_point() -> None:
    measure = contrast()
    image = measure.iwe(TWIST)
    events = batch()
    ten = warp_events(events.bearing, events.t, TWIST, 1.0)[:10]
    at_once = 4 * bin_events(CANVAS.project(ten), None, (24, 30), kernel="quadratic")
    assert torch.allclose(image, at_once, atol=1e-9)
    for other in (torch.zeros(6).double(), 0.8 * TWIST, 1.2 * TWIST, -TWIST):
        assert float(measure(other)) < 0.98 * float(measure(TWIST))


def test_value_does_not_depend_on_the_gradient_estimator() -> None:
    values = {float(contrast(gradient=each)(0.7 * TWIST)) for each in ("functional", "raw")}
    assert len(values) == 1


@pytest.mark.parametrize("name", OBJECTIVES)
def test_raw_gradient_of_smooth_bins_agrees_with_finite_differences(name: str) -> None:
    measure = contrast(kernel="cubic", gradient="raw", measure=OBJECTIVES[name])
    assert gradcheck(measure, ((0.7 * TWIST).requires_grad_(),), atol=1e-6, rtol=1e-5)


def test_functional_gradient_points_uphill() -> None:
    """Towards the true twist, at every share of it."""
    for share in (0.7, 0.85, 0.95, 1.05, 1.15, 1.3):
        twist = (share * TWIST).requires_grad_()
        (slope,) = torch.autograd.grad(contrast()(twist), twist)
        assert float(slope @ TWIST) * (1 - share) > 0


def test_points_at_infinity_do_not_feel_the_translation() -> None:
    twist = TWIST.clone().requires_grad_()
    measure = contrast(inverse_depth=0.0)
    (slope,) = torch.autograd.grad(measure(twist), twist)
    assert slope[:3].tolist() == [0, 0, 0]
    assert float(slope[3:].abs().min()) > 1e-4
    turning = torch.cat([torch.zeros(3).double(), TWIST[3:]])
    assert torch.equal(measure.iwe(TWIST), measure.iwe(turning))


@pytest.mark.parametrize("depth", [0.0, 0.5])
@pytest.mark.parametrize("measure", [variance, Blurred(gradient_magnitude, 0.8)])
def test_fused_problem_equals_autograd(measure: Callable[[Tensor], Tensor], depth: float) -> None:
    plain = contrast(measure=measure, inverse_depth=depth)
    fused, autograd = plain.problem(), TorchProblem(plain, plain.batch.t)
    assert not isinstance(fused, TorchProblem)
    for twist in (0.7 * TWIST.numpy(), np.zeros(6), -TWIST.numpy()):
        for found, expected in zip(fused.hessian(twist), autograd.hessian(twist), strict=True):
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("depth", [0.0, 0.5])
@pytest.mark.parametrize("turns", [0.51, 1.2, 40.0])
def test_beyond_half_a_turn_the_objective_goes_on(turns: float, depth: float) -> None:
    """Events up to 0.2 s from t_ref; the fused kernels do not reach there, autograd in double precision does."""
    plain = contrast(inverse_depth=depth)
    longest = float(plain.batch.t.abs().max())
    twist = np.concatenate(
        [TWIST.numpy()[:3], TWIST.numpy()[3:] / TWIST[3:].norm().item() * 2 * np.pi * turns / longest]
    )
    expected = TorchProblem(plain, plain.batch.t).hessian(twist)
    assert expected[0] > 0
    assert np.abs(expected[1]).max() > 0
    for found, true in zip(plain.problem().hessian(twist), expected, strict=True):
        assert found == pytest.approx(true, rel=1e-9, abs=1e-9 * np.abs(true).max())
    assert (
        plain.problem().value(twist) == pytest.approx(plain.problem().gradient(twist)[0]) == pytest.approx(expected[0])
    )


def test_there_is_no_step_where_the_fused_kernels_end() -> None:
    single = batch()
    single = dataclasses.replace(single, t=single.t.float(), bearing=single.bearing.float())
    problem = contrast(batch=single, inverse_depth=0.5).problem()
    axis, longest = TWIST.numpy()[3:] / np.linalg.norm(TWIST[3:]), float(single.t.abs().max())
    below, above = (
        problem.gradient(np.concatenate([TWIST.numpy()[:3], axis * np.pi / longest * share]))
        for share in (1 - 1e-6, 1 + 1e-6)
    )
    assert above[0] == pytest.approx(below[0], rel=1e-3)
    assert above[1] == pytest.approx(below[1], rel=1e-2, abs=1e-2 * np.abs(below[1]).max())


@pytest.mark.parametrize("changes", [{"measure": lambda iwe: iwe.max()}, {"kernel": "rect", "gradient": "raw"}])
def test_what_the_kernels_cannot_do_goes_to_autograd(changes: dict[str, object]) -> None:
    plain = contrast(**changes)
    assert isinstance(plain.problem(), TorchProblem)
    assert plain.problem().value(TWIST.numpy()) == float(plain(TWIST))


def test_displacement_gram_by_the_kernel_and_in_torch() -> None:
    plain, other = contrast(inverse_depth=0.7), contrast(inverse_depth=0.7, measure=lambda iwe: iwe.max())
    assert plain.displacement_gram() == pytest.approx(other.displacement_gram(), rel=1e-12, abs=1e-12)


def test_motion_problem_scales_frees_and_penalises() -> None:
    plain = contrast().problem()
    precision, mean = np.diag([2.0, 1.0, 0.5]) + 0.1, np.array([0.3, 0.0, -0.2])
    problem = MotionProblem(plain, 0.7 * TWIST.numpy(), slice(3, 6), 2.5, (Prior(precision, mean),))
    x = np.array([0.5, -0.4, 0.3])
    value, slope, bend = plain.hessian(np.concatenate([0.7 * TWIST.numpy()[:3], x]))
    expected = (
        value / 2.5 - (x - mean) @ precision @ (x - mean),
        slope[3:] / 2.5 - 2 * precision @ (x - mean),
        bend[3:, 3:] / 2.5 - 2 * precision,
    )
    for found, true in zip(problem.hessian(x), expected, strict=True):
        assert found == pytest.approx(true)
    assert problem.value(x) == problem.gradient(x)[0] == problem.hessian(x)[0]
    assert problem.gradient(x)[1] == pytest.approx(expected[1])
