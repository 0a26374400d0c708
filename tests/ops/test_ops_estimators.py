"""Every bin kernel with every gradient estimator: values and gradients against the plain twin, borders, packets."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spline_oracle import SHAPES, close, events, image
from torch import Tensor

from evslam.ops import bin_events
from evslam.ops.kernels import GRADIENTS, KERNELS, RECONSTRUCTIONS, BinKernel, bin_kernel, profile
from evslam.ops.reference import gather, scatter

ESTIMATORS = [("functional", each) for each in RECONSTRUCTIONS] + [(each, "linear") for each in GRADIENTS[1:]]
each_kernel = pytest.mark.parametrize("kernel", KERNELS)
each_estimator = pytest.mark.parametrize(("gradient", "reconstruction"), ESTIMATORS)
each_dimension = pytest.mark.parametrize("ndim", SHAPES)
NUMBER = {1: 25, 2: 8, 3: 3}  # events: the plain twin integrates numerically


def unit(axis: int, ndim: int) -> tuple[int, ...]:
    return tuple(int(i == axis) for i in range(ndim))


@each_kernel
@each_estimator
@each_dimension
def test_values_and_gradients_equal_the_plain_twin(kernel: str, gradient: str, reconstruction: str, ndim: int) -> None:
    shape = SHAPES[ndim]
    coords, weights = events(NUMBER[ndim], shape, border=2, seed=7)
    upstream, spec = image(shape), bin_kernel(kernel, gradient, reconstruction, ndim)
    u, w = coords.clone().requires_grad_(), weights.clone().requires_grad_()
    histogram = bin_events(u, w, shape, kernel=kernel, gradient=gradient, reconstruction=reconstruction)
    close(histogram.detach(), scatter(coords, weights, shape, spec), 1e-12)
    grad_u, grad_w = torch.autograd.grad(histogram, (u, w), upstream)
    slopes = [weights * gather(upstream, coords, spec.derivative(axis)) for axis in range(ndim)]
    close(grad_u, torch.stack(slopes, 1), 1e-11)
    close(grad_w, gather(upstream, coords, spec), 1e-12)


@each_kernel
@each_estimator
def test_second_derivatives_equal_the_plain_twin(kernel: str, gradient: str, reconstruction: str) -> None:
    shape = (9,)
    coords, weights = events(25, shape, border=2, seed=17)
    upstream, spec = image(shape), bin_kernel(kernel, gradient, reconstruction, 1).derivative(0)
    u, w = coords.clone().requires_grad_(), weights.clone().requires_grad_()
    histogram = bin_events(u, w, shape, kernel=kernel, gradient=gradient, reconstruction=reconstruction)
    (slope,) = torch.autograd.grad(histogram, u, upstream, create_graph=True)
    curvature, mixed = torch.autograd.grad(slope.sum(), (u, w))
    close(curvature[:, 0], weights * gather(upstream, coords, spec.derivative(0)), 1e-9)
    close(mixed, gather(upstream, coords, spec), 1e-11)


@each_kernel
@each_dimension
def test_the_histogram_is_the_plain_one_for_every_estimator(kernel: str, ndim: int) -> None:
    shape = SHAPES[ndim]
    coords, weights = events(100, shape, border=1)
    plain = bin_events(coords, weights, shape, kernel=kernel, gradient="raw")
    for gradient, reconstruction in ESTIMATORS:
        options = {"kernel": kernel, "gradient": gradient, "reconstruction": reconstruction}
        assert torch.equal(bin_events(coords, weights, shape, **options), plain)


SMOOTH = [
    *itertools.product(KERNELS, ["functional"], RECONSTRUCTIONS),
    ("quadratic", "raw", "linear"),
    ("cubic", "raw", "linear"),
    ("rect", "sigmoid", "linear"),
]


@pytest.mark.parametrize(("kernel", "gradient", "reconstruction"), SMOOTH)
def test_gradient_across_the_border_is_the_slope_of_the_smooth_objective(
    kernel: str, gradient: str, reconstruction: str
) -> None:
    """dL/du against finite differences of sum_j v_j g(u - j), the bins outside left out, from far outside to inside.

    An event is taken off the knots, where g'' may jump.
    """
    u, h, upstream = torch.arange(-7.63, 15.9, 0.71, dtype=torch.float64)[:, None], 1e-4, image((9,))
    v = u.clone().requires_grad_()
    options = {"kernel": kernel, "gradient": gradient, "reconstruction": reconstruction}
    (slope,) = torch.autograd.grad(bin_events(v, None, (9,), **options), v, upstream)
    name = bin_kernel(kernel, gradient, reconstruction, 1).derivative(0).profile
    smooth = BinKernel(name, name, (0,))
    ends = [gather(upstream, u + sign * h, smooth) for sign in (-1, 1)]
    close(slope[:, 0], (ends[1] - ends[0]) / (2 * h), 3e-6)
    outside = (u < -profile(name).taps / 2)[:, 0]
    assert float(slope[outside].abs().sum()) == 0


@each_kernel
@given(x=st.floats(8, 12), y=st.floats(8, 12))
def test_shifting_events_costs_no_mass_inside(kernel: str, x: float, y: float) -> None:
    """Far from the border the gradient of the total mass is zero: to rounding, because taps of l * k sum to a constant.

    The forward mass itself is constant for B-splines and so up to the cut for gauss.
    """
    coords = torch.tensor([[x, y]], dtype=torch.float64, requires_grad=True)
    total = bin_events(coords, None, (21, 21), kernel=kernel, reconstruction="lanczos").sum()
    (gradient,) = torch.autograd.grad(total, coords)
    assert float(gradient.abs().max()) < 1e-12
    tolerance = {"gauss": 3e-4, "gauss_cut": 0.35}.get(kernel, 1e-12)
    assert float(total) == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("ndim", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "gradient"), [("gauss", "functional"), ("rect", "sigmoid")])
def test_packets_of_wide_kernels_are_independent(kernel: str, gradient: str, ndim: int) -> None:
    shape, limits = SHAPES[ndim], [0, 0, 150, 151, 400]  # longer than a block of events, empty, one event
    coords, weights = events(400, shape, border=2)
    upstream = image((4, *shape))
    u = coords.clone().requires_grad_()
    batch = bin_events(u, weights, shape, kernel=kernel, gradient=gradient, offsets=torch.tensor(limits))
    (slope,) = torch.autograd.grad(batch, u, upstream)
    for packet, (a, b) in enumerate(itertools.pairwise(limits)):
        v = coords[a:b].clone().requires_grad_()
        alone = bin_events(v, weights[a:b], shape, kernel=kernel, gradient=gradient)
        assert torch.equal(batch[packet], alone)
        assert torch.equal(slope[a:b], torch.autograd.grad(alone, v, upstream[packet])[0])


@each_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_deterministic_to_the_last_bit(kernel: str, dtype: torch.dtype) -> None:
    coords, weights = (each.to(dtype) for each in events(3000, (7, 9), border=1))

    def gradient() -> Tensor:
        u = coords.clone().requires_grad_()
        return torch.autograd.grad(bin_events(u, weights, (7, 9), kernel=kernel).square().sum(), u)[0]

    assert torch.equal(gradient(), gradient())


@each_kernel
@each_estimator
def test_single_precision_follows_double(kernel: str, gradient: str, reconstruction: str) -> None:
    shape, options = (7, 9), {"kernel": kernel, "gradient": gradient, "reconstruction": reconstruction}
    coords, weights = events(300, shape, border=1)
    coords, upstream = coords.float(), image(shape).float()
    results = []
    for dtype in (torch.float32, torch.float64):
        u, w = coords.to(dtype).requires_grad_(), weights.float().to(dtype).requires_grad_()
        histogram = bin_events(u, w, shape, **options)
        results.append((histogram.detach(), *torch.autograd.grad(histogram, (u, w), upstream.to(dtype))))
    for single, double in zip(*results, strict=True):
        assert single.dtype == torch.float32
        close(single.double(), double, 4e-5)


def test_bins_are_exact_up_to_the_last_digit() -> None:
    """The largest number below 1/2 belongs to bin 0, although adding 1/2 to it rounds to 1."""
    for dtype in (torch.float32, torch.float64):
        half = torch.tensor(0.5, dtype=dtype)
        below = torch.nextafter(half, half - 1)
        histogram = bin_events(torch.stack([below, half])[:, None], None, (3,), kernel="rect")
        assert histogram.tolist() == [1, 1, 0]


def test_straight_through_and_sigmoid_do_what_they_say() -> None:
    """Slopes of one event at u = 2.3 in bin 2: linear gives -1 and 1, sigmoid s (1 - s) / T at both steps."""
    u = torch.tensor([[2.3]], dtype=torch.float64, requires_grad=True)
    for gradient in ("straight_through", "sigmoid"):
        histogram = bin_events(u, None, (6,), kernel="rect", gradient=gradient)
        assert histogram.tolist() == [0, 0, 1, 0, 0, 0]
        slopes = torch.stack([torch.autograd.grad(each, u, retain_graph=True)[0] for each in histogram]).flatten()
        if gradient == "straight_through":
            assert slopes.tolist() == [0, 0, -1, 1, 0, 0]
        else:
            steps = torch.sigmoid((u.detach() - torch.arange(-0.5, 6)) / 0.25).flatten()
            rates = steps * (1 - steps) / 0.25
            close(slopes, rates[:-1] - rates[1:], 1e-12)
