"""bin_events under torch.func, forward mode, double backward, vmap and autocast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from spline_oracle import SHAPES, close, events, image
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap

from evslam.errors import ConfigError
from evslam.ops import bin_events
from evslam.ops.kernels import bin_kernel
from evslam.ops.primitives import Scatter
from evslam.ops.reference import scatter

CASES = [
    ("rect", "functional", "linear"),
    ("linear", "functional", "cubic"),
    ("gauss_cut", "functional", "lanczos"),
    ("cubic", "raw", "linear"),
    ("rect", "straight_through", "linear"),
    ("rect", "sigmoid", "linear"),
]
each_case = pytest.mark.parametrize(("kernel", "gradient", "reconstruction"), CASES)
each_dimension = pytest.mark.parametrize("ndim", SHAPES)


def binning(
    kernel: str, gradient: str, reconstruction: str, shape: tuple[int, ...]
) -> Callable[[Tensor, Tensor], Tensor]:
    options = {"kernel": kernel, "gradient": gradient, "reconstruction": reconstruction}
    return lambda u, w: bin_events(u, w, shape, **options)


@each_case
@each_dimension
def test_jvp_is_the_defined_formula_and_the_adjoint_of_vjp(
    kernel: str, gradient: str, reconstruction: str, ndim: int
) -> None:
    """dH = S[k](dw) + sum_a S[g_a](w du_a)."""
    shape = SHAPES[ndim]
    coords, weights = events(6, shape, border=1)
    du, dw = (image(tuple(each.shape), seed=4) for each in (coords, weights))
    function, spec = (
        binning(kernel, gradient, reconstruction, shape),
        bin_kernel(kernel, gradient, reconstruction, ndim),
    )
    values, tangent = jvp(function, (coords, weights), (du, dw))
    close(values, function(coords, weights), 0)
    moved = [scatter(coords, weights * du[:, axis], shape, spec.derivative(axis)) for axis in range(ndim)]
    close(tangent, scatter(coords, dw, shape, spec) + sum(moved), 1e-11)
    _, pull_back, *_ = vjp(function, coords, weights)
    back_u, back_w = pull_back(image(shape))
    assert float((image(shape) * tangent).sum()) == pytest.approx(float((back_u * du).sum() + (back_w * dw).sum()))


@pytest.mark.parametrize("which", [0, 1])
def test_jvp_of_one_argument_alone(which: int) -> None:
    arguments = list(events(6, (7, 9)))
    tangent = image(tuple(arguments[which].shape), seed=4)

    def function(changing: Tensor) -> Tensor:
        return bin_events(*(changing if i == which else each for i, each in enumerate(arguments)), (7, 9))

    tangents = [tangent if i == which else torch.zeros_like(each) for i, each in enumerate(arguments)]
    _, both = jvp(lambda u, w: bin_events(u, w, (7, 9)), tuple(arguments), tuple(tangents))
    close(jvp(function, (arguments[which],), (tangent,))[1], both, 1e-15)


@each_case
def test_forward_and_reverse_jacobians_agree(kernel: str, gradient: str, reconstruction: str) -> None:
    coords, weights = events(4, (4, 5), border=1)
    function = binning(kernel, gradient, reconstruction, (4, 5))
    for argument in (0, 1):
        close(
            jacfwd(function, argnums=argument)(coords, weights),
            jacrev(function, argnums=argument)(coords, weights),
            1e-12,
        )


@each_case
def test_hessian_is_symmetric_and_the_same_in_every_mode(kernel: str, gradient: str, reconstruction: str) -> None:
    coords, weights = events(3, (4, 5), border=1)
    function = binning(kernel, gradient, reconstruction, (4, 5))

    def contrast(parameters: Tensor) -> Tensor:
        return function(coords + parameters[:2] + parameters[2] * coords.flip(1), weights * parameters[3]).var()

    point = torch.tensor([0.1, -0.2, 0.05, 1.3], dtype=torch.float64)
    forward_reverse = hessian(contrast)(point)
    close(forward_reverse, forward_reverse.T, 1e-12)
    close(jacrev(jacrev(contrast))(point), forward_reverse, 1e-12)
    close(jacfwd(jacfwd(contrast))(point), forward_reverse, 1e-12)
    close(jacrev(jacfwd(contrast))(point), forward_reverse, 1e-12)
    close(torch.autograd.functional.hessian(contrast, point), forward_reverse, 1e-12)


def test_hessian_of_a_smooth_kernel_is_the_finite_difference_of_its_gradient() -> None:
    coords, weights = events(20, (7, 9), border=1, seed=3)

    def contrast(shift: Tensor) -> Tensor:
        return bin_events(coords + shift, weights, (7, 9), kernel="cubic", gradient="raw").var()

    point, h = torch.tensor([0.1, -0.2], dtype=torch.float64), 1e-5
    for axis in range(2):
        step = h * torch.eye(2, dtype=torch.float64)[axis]
        difference = (grad(contrast)(point + step) - grad(contrast)(point - step)) / (2 * h)
        close(hessian(contrast)(point)[axis], difference, 1e-6)


def test_third_derivatives() -> None:
    u = torch.tensor([0.3], dtype=torch.float64)

    def value(u: Tensor) -> Tensor:
        return bin_events(u[:, None], None, (5,), kernel="cubic", gradient="raw")[1]

    # the cubic B-spline at x = u - 1 in (-1, 0): 2/3 - x^2 - x^3 / 2, third derivative -3
    third = grad(lambda a: grad(lambda b: grad(value)(b).sum())(a).sum())(u)
    assert float(third) == pytest.approx(-3, abs=1e-12)
    assert float(jacfwd(jacfwd(jacfwd(value)))(u)) == pytest.approx(-3, abs=1e-12)


@each_dimension
def test_gradcheck_in_every_mode_where_the_formal_derivative_exists(ndim: int) -> None:
    shape = (3, 4, 3)[:ndim]
    coords, weights = events(2, shape, border=1, seed=6)
    inputs = (coords.requires_grad_(), weights.requires_grad_())

    def function(u: Tensor, w: Tensor) -> Tensor:
        return bin_events(u, w, shape, kernel="cubic", gradient="raw")

    assert gradcheck(function, inputs, check_forward_ad=True)
    assert gradgradcheck(function, inputs, check_fwd_over_rev=True, check_rev_over_rev=True)


def test_dual_numbers() -> None:
    coords, weights = events(20, (7, 9))
    tangent = image((20, 2))
    with forward_ad.dual_level():
        result = bin_events(forward_ad.make_dual(coords, tangent), weights, (7, 9))
        value, change = forward_ad.unpack_dual(result)
    close(value, bin_events(coords, weights, (7, 9)), 0)
    close(change, jvp(lambda u: bin_events(u, weights, (7, 9)), (coords,), (tangent,))[1], 1e-15)


@pytest.mark.parametrize("in_dims", [(0, None), (None, 0), (0, 0), (2, 1)])
@pytest.mark.parametrize("ndim", [1, 2])
def test_vmap_is_a_loop(in_dims: tuple[int | None, int | None], ndim: int) -> None:
    shape, batch = SHAPES[ndim], 3
    several = [events(40, shape, border=1, seed=seed) for seed in range(batch)]
    coords = [several[i if in_dims[0] is not None else 0][0] for i in range(batch)]
    weights = [several[i if in_dims[1] is not None else 0][1] for i in range(batch)]
    upstream = image(shape)

    def loss(u: Tensor, w: Tensor) -> Tensor:
        return (upstream * bin_events(u, w, shape)).sum()

    stacked = [
        each[0] if dim is None else torch.stack(each, dim) for each, dim in zip((coords, weights), in_dims, strict=True)
    ]
    histograms = vmap(lambda u, w: bin_events(u, w, shape), in_dims)(*stacked)
    slopes = vmap(grad(loss, argnums=(0, 1)), in_dims)(*stacked)
    for i in range(batch):
        assert torch.equal(histograms[i], bin_events(coords[i], weights[i], shape))
        for ours, theirs in zip(slopes, grad(loss, argnums=(0, 1))(coords[i], weights[i]), strict=True):
            close(ours[i], theirs, 1e-14)


def test_vmap_of_packets_nested() -> None:
    coords, weights = events(40, (7, 9), border=1)
    limits, shifts = torch.tensor([0, 10, 10, 40]), torch.tensor([[0.0, 0.5], [1.0, 1.5]], dtype=torch.float64)

    def histogram(shift: Tensor) -> Tensor:
        return bin_events(coords + shift, weights, (7, 9), offsets=limits)

    nested = vmap(vmap(histogram))(shifts)
    assert nested.shape == (2, 2, 3, 7, 9)
    for i in range(2):
        for j in range(2):
            assert torch.equal(nested[i, j], histogram(shifts[i, j]))


def test_vmap_over_packet_limits_is_refused() -> None:
    coords, weights = events(4, (9,))
    kernels = (bin_kernel("rect", "raw", "linear", 1),)
    with pytest.raises(ConfigError, match="offsets are batched by vmap"):
        vmap(lambda limits: Scatter.apply(coords, weights[:, None], limits, (9,), kernels))(torch.tensor([[0, 4]] * 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_computes_half_arguments_in_single_precision(dtype: torch.dtype) -> None:
    coords, weights = (each.to(dtype) for each in events(30, (7, 9)))
    u = coords.clone().requires_grad_()
    with torch.autocast(u.device.type, dtype=torch.bfloat16):
        histogram = bin_events(u, weights, (7, 9))
        (gradient,) = torch.autograd.grad(histogram, u, image((7, 9)).float())
    v = coords.float().requires_grad_()
    plain = bin_events(v, weights.float(), (7, 9))
    assert (histogram.dtype, gradient.dtype) == (torch.float32, dtype)
    assert torch.equal(histogram, plain)
    (expected,) = torch.autograd.grad(plain, v, image((7, 9)).float())
    assert torch.equal(gradient, expected.to(dtype))


def test_autocast_leaves_double_precision_alone() -> None:
    coords, weights = events(30, (7, 9))
    with torch.autocast(coords.device.type, dtype=torch.bfloat16):
        histogram = bin_events(coords, weights, (7, 9))
    assert torch.equal(histogram, bin_events(coords, weights, (7, 9)))


def test_weights_take_the_type_of_the_coordinates() -> None:
    coords, _ = events(10, (7, 9))
    counts = torch.arange(10)
    assert torch.equal(bin_events(coords, counts, (7, 9)), bin_events(coords, counts.double(), (7, 9)))
    w = torch.ones(10, requires_grad=True)
    (gradient,) = torch.autograd.grad(bin_events(coords, w, (7, 9)).sum(), w)
    assert gradient.dtype == torch.float32
