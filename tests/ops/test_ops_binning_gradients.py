"""Gradients of bin_events against the formula that defines them, finite differences, and torch.func."""

from __future__ import annotations

import itertools

import pytest
import torch
from spline_oracle import KERNELS, SHAPES, close, events, image, loop_gather
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from evslam.ops import bin_events
from evslam.ops.kernels import bin_kernel
from evslam.ops.reference import all_orders, gather, scatter

RISE = {"functional": 2, "raw": 0}
each_kernel = pytest.mark.parametrize("kernel", KERNELS)
each_gradient = pytest.mark.parametrize("gradient", RISE)
each_dimension = pytest.mark.parametrize("ndim", SHAPES)


def unit(axis: int, ndim: int) -> tuple[int, ...]:
    return tuple(int(i == axis) for i in range(ndim))


def pulled_back(coords: Tensor, weights: Tensor, upstream: Tensor, kernel: str, gradient: str) -> tuple[Tensor, Tensor]:
    """dL/du and dL/dw of L = sum upstream H."""
    u, w = coords.clone().requires_grad_(), weights.clone().requires_grad_()
    loss = (upstream * bin_events(u, w, tuple(upstream.shape), kernel=kernel, gradient=gradient)).sum()
    grad_u, grad_w = torch.autograd.grad(loss, (u, w))
    return grad_u, grad_w


@each_kernel
@each_gradient
@each_dimension
def test_backward_is_the_defined_formula(kernel: str, gradient: str, ndim: int) -> None:
    """dL/du_i = w_i sum_j g_j kappa'(u_i - j) and dL/dw_i = sum_j g_j k(u_i - j), the border included."""
    shape = SHAPES[ndim]
    coords, weights = events(15, shape, border=1.5)
    upstream = image(shape)
    grad_u, grad_w = pulled_back(coords, weights, upstream, kernel, gradient)
    degree = KERNELS[kernel] + RISE[gradient]
    for axis in range(ndim):
        expected = weights * torch.from_numpy(loop_gather(upstream, coords, degree, unit(axis, ndim)))
        close(grad_u[:, axis], expected, 1e-12)
    close(grad_w, loop_gather(upstream, coords, KERNELS[kernel], (0,) * ndim), 1e-12)


@each_kernel
@each_gradient
@each_dimension
def test_backward_equals_the_reference_twin(kernel: str, gradient: str, ndim: int) -> None:
    shape = SHAPES[ndim]
    coords, weights = events(400, shape, border=3, seed=5)
    upstream, spec = image(shape), bin_kernel(kernel, gradient, "linear", ndim)
    grad_u, grad_w = pulled_back(coords, weights, upstream, kernel, gradient)
    for axis in range(ndim):
        close(grad_u[:, axis], weights * gather(upstream, coords, spec.derivative(axis)), 1e-12)
    close(grad_w, gather(upstream, coords, spec), 1e-12)


@pytest.mark.parametrize("order", all_orders(2, 2))
def test_scatter_and_gather_are_adjoint(order: tuple[int, ...]) -> None:
    """<v, S w> = <G v, w> for the twins, for every derivative."""
    spec = bin_kernel("linear", "functional", "linear", 2)
    for axis in range(2):
        for _ in range(order[axis]):
            spec = spec.derivative(axis)
    coords, weights = events(50, (7, 9), border=2)
    upstream = image((7, 9))
    left = float((upstream * scatter(coords, weights, (7, 9), spec)).sum())
    assert left == pytest.approx(float((weights * gather(upstream, coords, spec)).sum()), abs=1e-11)


def test_raw_gradient_of_rect_is_zero_and_its_functional_one_is_not() -> None:
    coords, weights = events(50, (7, 9))
    assert float(pulled_back(coords, weights, image((7, 9)), "rect", "raw")[0].abs().max()) == 0
    assert float(pulled_back(coords, weights, image((7, 9)), "rect", "functional")[0].abs().max()) > 0.1


@pytest.mark.parametrize("kernel", ["linear", "quadratic", "cubic"])
@each_dimension
def test_raw_gradient_agrees_with_finite_differences_up_to_the_border(kernel: str, ndim: int) -> None:
    shape, h = SHAPES[ndim], 1e-5
    coords, weights = events(80, shape, border=2, seed=8)
    fraction = coords - coords.floor()
    coords = torch.where((fraction < 0.01) | (fraction > 0.99), coords + 0.05, coords)  # off the knots of linear
    upstream = image(shape)
    grad_u, _ = pulled_back(coords, weights, upstream, kernel, "raw")
    spec = bin_kernel(kernel, "raw", "linear", ndim)
    for axis in range(ndim):
        step = h * torch.tensor(unit(axis, ndim), dtype=torch.float64)
        ends = [gather(upstream, coords + sign * step, spec) for sign in (-1, 1)]
        close(grad_u[:, axis], weights * (ends[1] - ends[0]) / (2 * h), 3e-5)


def test_functional_gradient_at_the_border_is_the_slope_of_the_reconstructed_objective() -> None:
    """Finite differences of sum_j g_j kappa(u - j), the taps outside left out, across the border of a 1-D histogram."""
    u, h, upstream = torch.linspace(-2.9, 11.1, 57, dtype=torch.float64), 1e-5, image((9,))
    for kernel, degree in KERNELS.items():
        slope, _ = pulled_back(u[:, None], torch.ones_like(u), upstream, kernel, "functional")
        ends = [loop_gather(upstream, u[:, None] + sign * h, degree + 2, (0,)) for sign in (-1, 1)]
        close(slope[:, 0], (ends[1] - ends[0]) / (2 * h), 3e-5)


@pytest.mark.parametrize(
    ("kernel", "gradient", "ndim"),
    [
        ("rect", "functional", 2),
        ("linear", "functional", 2),
        ("linear", "raw", 1),
        ("quadratic", "functional", 3),
        ("cubic", "functional", 1),
        ("cubic", "raw", 3),
    ],
)
def test_second_derivative_has_the_second_derivative_of_kappa(kernel: str, gradient: str, ndim: int) -> None:
    """d2L/du_ia du_ib = w_i sum_j g_j kappa_ab(u_i - j), zero between events; d2L/du_i dw_i has kappa'."""
    shape = SHAPES[ndim]
    points, mass = events(8, shape, border=1, seed=2)
    upstream = image(shape)
    u, w = points.clone().requires_grad_(), mass.clone().requires_grad_()
    loss = (upstream * bin_events(u, w, shape, kernel=kernel, gradient=gradient)).sum()
    (grad_u,) = torch.autograd.grad(loss, u, create_graph=True)
    degree = KERNELS[kernel] + RISE[gradient]
    for axis in range(ndim):
        row, mixed = torch.autograd.grad(grad_u[:, axis].sum(), (u, w), retain_graph=True)
        for other in range(ndim):
            orders = tuple(a + b for a, b in zip(unit(axis, ndim), unit(other, ndim), strict=True))
            close(row[:, other], mass * torch.from_numpy(loop_gather(upstream, points, degree, orders)), 1e-12)
        close(mixed, loop_gather(upstream, points, degree, unit(axis, ndim)), 1e-12)


def test_hessian_of_a_quadratic_objective_to_a_shift() -> None:
    """L = sum H^2 / 2 of shifted events: J^T J plus the kappa'' term, both from the formulas."""
    coords, weights = events(10, (7, 9), seed=4)
    spec = bin_kernel("linear", "functional", "linear", 2)
    shift = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    loss = bin_events(coords + shift, weights, (7, 9)).square().sum() / 2
    (slope,) = torch.autograd.grad(loss, shift, create_graph=True)
    hessian = torch.stack([torch.autograd.grad(each, shift, retain_graph=True)[0] for each in slope])
    histogram = bin_events(coords, weights, (7, 9))
    firsts = [scatter(coords, weights, (7, 9), spec.derivative(axis)) for axis in range(2)]
    for a, b in itertools.product(range(2), repeat=2):
        curvature = (weights * gather(histogram, coords, spec.derivative(a).derivative(b))).sum()
        assert float(hessian[a, b]) == pytest.approx(float((firsts[a] * firsts[b]).sum() + curvature), abs=1e-11)


@each_dimension
def test_gradcheck_and_gradgradcheck_where_the_formal_derivative_exists(ndim: int) -> None:
    shape = (3, 4, 3)[:ndim]
    coords, weights = events(2, shape, border=1, seed=6)
    inputs = (coords.requires_grad_(), weights.requires_grad_())

    def function(u: Tensor, w: Tensor) -> Tensor:
        return bin_events(u, w, shape, kernel="cubic", gradient="raw")

    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


@each_dimension
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 1e30, 200.0])
def test_useless_events_get_no_gradient_and_spoil_no_other(ndim: int, bad: float) -> None:
    shape = SHAPES[ndim]
    coords, weights = events(20, shape)
    spoilt = coords.clone()
    spoilt[7, ndim - 1] = bad
    others = torch.arange(20) != 7
    clean = pulled_back(coords, weights, image(shape), "linear", "functional")
    grads = pulled_back(spoilt, weights, image(shape), "linear", "functional")
    for gradient, expected in zip(grads, clean, strict=True):
        assert torch.equal(gradient[others], expected[others])
        assert float(gradient[7].abs().sum()) == 0


@pytest.mark.parametrize("ndim", [1, 2])
def test_gradients_of_packets_are_independent(ndim: int) -> None:
    shape, limits = SHAPES[ndim], [0, 25, 25, 40]
    coords, weights = events(40, shape, border=1)
    upstream = image((3, *shape))
    u = coords.clone().requires_grad_()
    histogram = bin_events(u, weights, shape, offsets=torch.tensor(limits))
    (gradient,) = torch.autograd.grad((upstream * histogram).sum(), u)
    for packet, (a, b) in enumerate(itertools.pairwise(limits)):
        expected, _ = pulled_back(coords[a:b], weights[a:b], upstream[packet], "linear", "functional")
        assert torch.equal(gradient[a:b], expected)


def test_single_precision_gradient_follows_double() -> None:
    coords, weights = events(300, (7, 9), border=1)
    coords, weights, upstream = coords.float(), weights.float(), image((7, 9)).float()
    single = pulled_back(coords, weights, upstream, "quadratic", "functional")
    double = pulled_back(coords.double(), weights.double(), upstream.double(), "quadratic", "functional")
    for a, b in zip(single, double, strict=True):
        assert a.dtype == torch.float32
        close(a.double(), b, 1e-5)


@pytest.mark.parametrize("ndim", [1, 2])
def test_torch_func_grad_and_vjp_agree_with_autograd(ndim: int) -> None:
    shape = SHAPES[ndim]
    coords, weights = events(30, shape)
    upstream = image(shape)
    expected = pulled_back(coords, weights, upstream, "linear", "functional")
    values, pull_back, *_ = torch.func.vjp(lambda u, w: bin_events(u, w, shape), coords, weights)
    close(values, bin_events(coords, weights, shape), 0)
    for actual, each in zip(pull_back(upstream), expected, strict=True):
        close(actual, each, 1e-14)
    gradient = torch.func.grad(lambda u: (upstream * bin_events(u, weights, shape)).sum())(coords)
    close(gradient, expected[0], 1e-14)


def test_torch_func_grad_twice() -> None:
    coords, weights = events(5, (7, 9))
    upstream = image((7, 9))

    def slope_x(u: Tensor) -> Tensor:
        return torch.func.grad(lambda v: (upstream * bin_events(v, weights, (7, 9))).sum())(u)[:, 0].sum()

    expected = weights * torch.from_numpy(loop_gather(upstream, coords, 3, (2, 0)))
    close(torch.func.grad(slope_x)(coords)[:, 0], expected, 1e-12)
