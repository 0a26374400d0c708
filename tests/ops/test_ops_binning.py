"""Forward values of bin_events: twins, plain loops, conventions, packets, events that do not count."""

from __future__ import annotations

import doctest
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from spline_oracle import KERNELS, SHAPES, close, events, loop_histogram

from evslam.errors import ConfigError
from evslam.ops import bin_events, binning, count_dropped
from evslam.ops.kernels import GRADIENTS, bin_kernel
from evslam.ops.reference import scatter

each_kernel = pytest.mark.parametrize("kernel", KERNELS)
each_gradient = pytest.mark.parametrize("gradient", GRADIENTS)
each_dimension = pytest.mark.parametrize("ndim", SHAPES)
quarters = st.integers(-20, 60).map(lambda n: n / 4)  # bin borders and centres included


@each_kernel
@each_gradient
@each_dimension
def test_values_equal_the_reference_twin(kernel: str, gradient: str, ndim: int) -> None:
    shape = SHAPES[ndim]
    coords, weights = events(200, shape, border=3)
    expected = scatter(coords, weights, shape, bin_kernel(kernel, gradient, "linear", ndim))
    close(bin_events(coords, weights, shape, kernel=kernel, gradient=gradient), expected, 1e-12)


@each_kernel
@each_dimension
def test_values_equal_plain_loops(kernel: str, ndim: int) -> None:
    coords, weights = events(7, SHAPES[ndim], border=1.5, seed=3)
    expected = loop_histogram(coords, weights, SHAPES[ndim], KERNELS[kernel])
    close(bin_events(coords, weights, SHAPES[ndim], kernel=kernel), expected, 1e-12)


@each_kernel
@each_dimension
def test_forward_is_the_same_for_every_gradient_estimator(kernel: str, ndim: int) -> None:
    coords, weights = events(100, SHAPES[ndim], border=1)
    values = [bin_events(coords, weights, SHAPES[ndim], kernel=kernel, gradient=each) for each in GRADIENTS]
    assert all(torch.equal(each, values[0]) for each in values)


@each_kernel
@given(points=st.lists(st.tuples(st.floats(2, 6), st.floats(2, 4)), max_size=20))
def test_mass_is_conserved_inside(kernel: str, points: list[tuple[float, float]]) -> None:
    coords = torch.tensor(points, dtype=torch.float64).reshape(-1, 2)
    weights = torch.arange(1.0, len(points) + 1, dtype=torch.float64)
    total = float(bin_events(coords, weights, (7, 9), kernel=kernel).sum())
    assert total == pytest.approx(float(weights.sum()), abs=1e-10)


@each_kernel
@given(
    points=st.lists(st.tuples(quarters, quarters), min_size=1, max_size=10), dx=st.integers(-4, 4), dy=st.integers(0, 4)
)
def test_integer_shifts_shift_the_histogram(kernel: str, points: list[tuple[float, float]], dx: int, dy: int) -> None:
    coords = torch.tensor(points, dtype=torch.float64)
    still = bin_events(coords, None, (30, 30), kernel=kernel)
    moved = bin_events(coords + torch.tensor([dx, dy]), None, (30, 30), kernel=kernel)
    inner = torch.arange(6, 24)
    close(moved[inner + dy][:, inner + dx], still[inner][:, inner], 1e-14)


def test_bins_are_centred_on_integers_and_half_open() -> None:
    """Bin j covers [j - 1/2, j + 1/2); nothing is truncated toward zero, so -0.7 lies outside."""
    for u, expected in {-0.7: None, -0.5: 0, 0.49: 0, 0.5: 1, 1.49: 1, 2.0: 2, 3.49: 3, 3.5: None}.items():
        histogram = bin_events(torch.tensor([[u]], dtype=torch.float64), None, (4,), kernel="rect")
        assert histogram.tolist() == [float(j == expected) for j in range(4)], u
        plane = bin_events(torch.tensor([[u, 1.0]], dtype=torch.float64), None, (3, 4), kernel="rect")
        assert plane[1].tolist() == histogram.tolist(), u
        assert float(plane.sum()) == float(histogram.sum())


def test_linear_votes_are_bilinear_weights() -> None:
    histogram = bin_events(torch.tensor([[1.25, 2.5]], dtype=torch.float64), torch.tensor([8.0]), (4, 3))
    assert histogram[2:].tolist() == [[0, 3, 1], [0, 3, 1]]
    assert histogram[:2].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_the_example_of_the_documentation_holds() -> None:
    assert doctest.testmod(binning, extraglobs={"torch": torch}) == (0, 2)


def test_coordinates_are_x_y_t_and_the_shape_is_reversed() -> None:
    assert float(bin_events(torch.tensor([[4.0, 1.0]]), None, (2, 6), kernel="rect")[1, 4]) == 1
    assert float(bin_events(torch.tensor([[4.0, 1.0, 2.0]]), None, (3, 2, 6), kernel="rect")[2, 1, 4]) == 1


def test_an_event_beyond_the_border_never_lands_on_it() -> None:
    for kernel, reach in {"rect": 0.5, "linear": 1.0, "quadratic": 1.5, "cubic": 2.0}.items():
        far = torch.tensor([[-reach - 0.01, 3.0], [8 + reach, 3.0], [3.0, -reach - 0.01], [3.0, 6 + reach]])
        assert float(bin_events(far.double(), None, (7, 9), kernel=kernel).abs().sum()) == 0
    near = bin_events(torch.tensor([[-0.75, 3.0]], dtype=torch.float64), None, (7, 9), kernel="linear")
    assert near[3, :2].tolist() == [0.25, 0]  # only the tap that truly reaches bin 0


@each_kernel
@pytest.mark.parametrize("ndim", [1, 2])
def test_packets_are_independent(kernel: str, ndim: int) -> None:
    shape, limits = SHAPES[ndim], [0, 30, 30, 31, 80]
    coords, weights = events(80, shape, border=2)
    batch = bin_events(coords, weights, shape, kernel=kernel, offsets=torch.tensor(limits))
    assert batch.shape == (4, *shape)
    for packet, (a, b) in enumerate(itertools.pairwise(limits)):
        assert torch.equal(batch[packet], bin_events(coords[a:b], weights[a:b], shape, kernel=kernel))
    assert float(batch[1].abs().sum()) == 0


@pytest.mark.parametrize("ndim", SHAPES)
def test_without_events_the_histogram_is_zero(ndim: int) -> None:
    coords = torch.empty(0, ndim, dtype=torch.float64, requires_grad=True)
    histogram = bin_events(coords, None, SHAPES[ndim])
    assert torch.equal(histogram, torch.zeros(SHAPES[ndim], dtype=torch.float64))
    (gradient,) = torch.autograd.grad(histogram.sum(), coords)
    assert gradient.shape == coords.shape


@pytest.mark.parametrize("ndim", SHAPES)
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e30, -1e300, 100.0])
def test_useless_events_contribute_nothing_and_are_counted(ndim: int, bad: float) -> None:
    shape = SHAPES[ndim]
    coords, weights = events(20, shape)
    spoilt = coords.clone()
    spoilt[3, 0], spoilt[11, -1] = bad, bad
    live = torch.ones(20, dtype=torch.bool)
    live[[3, 11]] = False
    assert torch.equal(bin_events(spoilt, weights, shape), bin_events(coords[live], weights[live], shape))
    assert (count_dropped(coords, shape), count_dropped(spoilt, shape)) == (0, 2)


def test_count_dropped_counts_from_the_outer_edge_of_the_border_bins() -> None:
    coords = torch.tensor([[-0.5, 0.0], [-0.501, 0.0], [8.499, 0.0], [8.5, 0.0], [0.0, 6.5], [0.0, 6.499]])
    assert count_dropped(coords, (7, 9)) == 3


@each_kernel
def test_deterministic_to_the_last_bit(kernel: str) -> None:
    coords, weights = events(3000, (7, 9), border=1)
    first, second = (bin_events(coords, weights, (7, 9), kernel=kernel) for _ in range(2))
    assert torch.equal(first, second)


def test_single_precision_follows_double() -> None:
    coords, weights = events(300, (7, 9), border=1)
    coords, weights = coords.float().double(), weights.float().double()
    single = bin_events(coords.float(), weights.float(), (7, 9), kernel="quadratic")
    assert single.dtype == torch.float32
    close(single.double(), bin_events(coords, weights, (7, 9), kernel="quadratic"), 2e-5)


def test_noncontiguous_arguments_are_read_right() -> None:
    coords, weights = events(60, (7, 9))
    strided = torch.stack([coords, coords + 1], 2)[:, :, 0]
    wide = torch.stack([weights, -weights], 1)[:, 0]
    assert not strided.is_contiguous()
    assert torch.equal(bin_events(strided, wide, (7, 9)), bin_events(coords, weights, (7, 9)))


@pytest.mark.parametrize(
    ("coords", "weights", "offsets", "message"),
    [
        (torch.zeros(5, 3), None, None, r"coords has shape \(5, 3\); for histogram shape \(4, 4\) give \(N, 2\)"),
        (torch.zeros(10), None, None, r"coords has shape \(10,\)"),
        (torch.zeros(5, 2, dtype=torch.long), None, None, "coords has dtype torch.int64; give float32 or float64"),
        (torch.zeros(5, 2, dtype=torch.float16), None, None, "coords has dtype torch.float16; give float32 or float64"),
        (torch.zeros(5, 2), torch.ones(4), None, r"weights has shape \(4,\); give \(5,\) or None"),
        (torch.zeros(5, 2), torch.ones(5, 1), None, r"weights has shape \(5, 1\)"),
        (torch.zeros(5, 2), None, torch.tensor([0, 4]), r"offsets is \[0, 4\]; give a rising sequence from 0 to .* 5"),
        (torch.zeros(5, 2), None, torch.tensor([1, 5]), r"offsets is \[1, 5\]"),
        (torch.zeros(5, 2), None, torch.tensor([0, 4, 2, 5]), r"offsets is \[0, 4, 2, 5\]"),
        (torch.zeros(0, 2), None, torch.tensor([0]), r"offsets is \[0\]"),
    ],
)
def test_arguments_that_do_not_fit_are_errors(
    coords: torch.Tensor, weights: torch.Tensor | None, offsets: torch.Tensor | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        bin_events(coords, weights, (4, 4), offsets=offsets)


@pytest.mark.parametrize(("kernel", "gradient"), [("box", "raw"), ("rect", "exact")])
def test_unknown_names_reach_the_caller(kernel: str, gradient: str) -> None:
    with pytest.raises(ConfigError, match="does not exist; choose one of"):
        bin_events(torch.zeros(5, 2), None, (4, 4), kernel=kernel, gradient=gradient)


def test_unknown_reconstruction_reaches_the_caller() -> None:
    with pytest.raises(ConfigError, match="reconstruction kernel 'spline' does not exist; choose"):
        bin_events(torch.zeros(5, 2), None, (4, 4), reconstruction="spline")
