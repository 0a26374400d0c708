"""The fused chain against warp, binning and measure by autograd, in value, gradient and Hessian."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from evslam.errors import ConfigError
from evslam.objective import Blurred, Measure, gradient_magnitude, log_likelihood, mean_square, variance
from evslam.ops import bin_events, fused_bins
from evslam.ops.fused import Chain, FusedContrast
from evslam.ops.fused_bins import digest_of
from evslam.ops.fused_hessian import assemble
from evslam.ops.fused_kernels import compile_backward, compile_forward
from evslam.warp import Canvas, interaction_matrix, warp_events

CANVAS = Canvas(40.0, 44.0, 19.5, 14.5, (30, 40))
TWIST = np.array([0.3, -0.2, 0.1, 1.5, -1.0, 2.3])
MEASURES: dict[str, Measure] = {
    "variance": variance,
    "mean_square": mean_square,
    "gradient_magnitude": gradient_magnitude,
    "log_likelihood": log_likelihood,
}
KERNELS = {"rect": 0, "linear": 1, "quadratic": 2, "cubic": 3}


def events(num: int = 2003, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """bearing, t and inverse depth; a tenth of the events lies beside the canvas, two are not finite."""
    uniform = torch.rand(4, num, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bearing = (uniform[:2].T - 0.5) * torch.tensor([1.1, 0.75], dtype=torch.float64)
    bearing[3, 0], bearing[17, 1] = torch.nan, torch.inf
    return bearing.to(dtype), (0.4 * uniform[2] - 0.2).to(dtype), (0.5 + uniform[3]).to(dtype)


def finite_events() -> tuple[Tensor, ...]:
    live = torch.isfinite(events()[0]).all(1)
    return tuple(each[live] for each in events())


def fused(
    kernel: str, gradient: str, measure: str, *, sigma: float = 0.0, far: bool, dtype: torch.dtype
) -> FusedContrast:
    bearing, t, depth = events(dtype=dtype)
    degree = KERNELS[kernel]
    focal, centre = (CANVAS.fx, CANVAS.fy), (CANVAS.cx, CANVAS.cy)
    chain = Chain(focal, centre, CANVAS.shape, degree, degree + 2 * (gradient == "functional"), measure, sigma)
    return FusedContrast(bearing.numpy(), t.numpy(), np.zeros(1) if far else depth.numpy(), chain)


def autograd(
    kernel: str, gradient: str, measure: str, *, sigma: float = 0.0, far: bool, twist: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Value, gradient and Hessian in double precision, by double backward."""
    bearing, t, depth = finite_events()
    x = torch.from_numpy(twist).requires_grad_()
    coords = CANVAS.project(warp_events(bearing, t, x, 0.0 if far else depth))
    image = bin_events(coords, None, CANVAS.shape, kernel=kernel, gradient=gradient)
    value = (Blurred(MEASURES[measure], sigma) if sigma else MEASURES[measure])(image)
    (slope,) = torch.autograd.grad(value, x, create_graph=True)
    rows = [torch.autograd.grad(each, x, retain_graph=True)[0] for each in slope]
    return float(value.detach()), slope.detach().numpy(), torch.stack(rows).numpy()


def agree(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Elementwise, in direction, and without bias."""
    size = np.linalg.norm(expected)
    assert size > 0
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
    assert found.ravel() @ expected.ravel() > (1 - tolerance) * np.linalg.norm(found) * size
    assert abs((found - expected).mean()) < tolerance * np.abs(expected).mean()


@pytest.mark.parametrize("far", [True, False], ids=["rotation", "6dof"])
@pytest.mark.parametrize("measure", MEASURES)
def test_quadratic_bins_in_double_precision(measure: str, far: bool) -> None:
    """torch's trigamma function is good to 1e-9 only."""
    for sigma in (0.0, 0.8):
        options = {"sigma": sigma, "far": far}
        chain = fused("quadratic", "functional", measure, dtype=torch.float64, **options)
        value, slope, bend = autograd("quadratic", "functional", measure, twist=TWIST, **options)
        assert chain.value(TWIST) == pytest.approx(value, rel=1e-12)
        agree(chain.gradient(TWIST)[1], slope, 1e-9)
        agree(chain.hessian(TWIST)[1], slope, 1e-9)
        agree(chain.hessian(TWIST)[2], bend, 1e-8 if measure == "log_likelihood" else 1e-9)


@pytest.mark.parametrize("measure", MEASURES)
def test_quadratic_bins_in_single_precision(measure: str) -> None:
    chain = fused("quadratic", "functional", measure, sigma=0.8, far=False, dtype=torch.float32)
    value, slope, bend = autograd("quadratic", "functional", measure, sigma=0.8, far=False, twist=TWIST)
    assert chain.value(TWIST) == pytest.approx(value, rel=1e-6)
    agree(chain.gradient(TWIST)[1], slope, 1e-5)
    agree(chain.hessian(TWIST)[2], bend, 2e-5)


@pytest.mark.parametrize(
    ("kernel", "gradient"),
    [("rect", "functional"), ("linear", "functional"), ("linear", "raw"), ("cubic", "functional"), ("cubic", "raw")],
)
def test_the_ladder(kernel: str, gradient: str) -> None:
    chain = fused(kernel, gradient, "variance", far=True, dtype=torch.float64)
    value, slope, _ = autograd(kernel, gradient, "variance", far=True, twist=TWIST)
    assert chain.value(TWIST) == pytest.approx(value, rel=1e-12)
    agree(chain.gradient(TWIST)[1], slope, 1e-9)


@pytest.mark.parametrize("size", [0.0, 1e-9, 0.3, 3.0, 5.0])
def test_every_size_of_rotation(size: float) -> None:
    chain = fused("quadratic", "functional", "variance", far=False, dtype=torch.float64)
    value, slope, bend = autograd("quadratic", "functional", "variance", far=False, twist=size * TWIST)
    assert chain.value(size * TWIST) == pytest.approx(value, rel=1e-10)
    agree(chain.gradient(size * TWIST)[1], slope, 1e-8)
    agree(chain.hessian(size * TWIST)[2], bend, 1e-8)


def test_the_hessian_of_smooth_bins_agrees_with_finite_differences_of_the_gradient() -> None:
    chain = fused("quadratic", "functional", "variance", far=False, dtype=torch.float64)
    _, _, bend = autograd("quadratic", "functional", "variance", far=False, twist=TWIST)
    assert np.abs(chain.hessian(TWIST)[2] - bend).max() < 1e-9 * np.abs(bend).max()
    # the layer's Hessian is that of its own gradient only where value and gradient kernel are the same
    raw = fused("cubic", "raw", "mean_square", far=True, dtype=torch.float64)
    step = 1e-5
    columns = [
        (raw.gradient(TWIST + step * unit)[1] - raw.gradient(TWIST - step * unit)[1]) / (2 * step) for unit in np.eye(6)
    ]
    expected = autograd("cubic", "raw", "mean_square", far=True, twist=TWIST)[2]
    assert np.abs(np.stack(columns) - expected).max() < 1e-6 * np.abs(expected).max()
    assert np.abs(raw.hessian(TWIST)[2] - np.stack(columns)).max() < 1e-6 * np.abs(expected).max()


def test_points_behind_the_image_plane_are_left_out() -> None:
    chain = fused("quadratic", "functional", "variance", far=False, dtype=torch.float64)
    twist = np.array([0.1, 0, -6.0, 0.2, 0.1, 0])
    value, slope, bend = autograd("quadratic", "functional", "variance", far=False, twist=twist)
    found = chain.hessian(twist)
    assert found[0] == pytest.approx(value, rel=1e-12)
    agree(found[1], slope, 1e-9)
    agree(found[2], bend, 1e-9)


def test_a_second_look_costs_nothing_and_changes_nothing() -> None:
    chain = fused("quadratic", "functional", "variance", sigma=0.8, far=True, dtype=torch.float64)
    first = chain.gradient(TWIST)
    chain.value(0.5 * TWIST)
    again = chain.gradient(TWIST)
    assert first[0] == again[0] == chain.value(TWIST)
    assert first[1].tolist() == again[1].tolist() == chain.gradient(TWIST)[1].tolist()


def test_the_image_is_that_of_the_binning_layer() -> None:
    bearing, t, depth = finite_events()
    coords = CANVAS.project(warp_events(bearing, t, torch.from_numpy(TWIST), depth))
    expected = bin_events(coords, None, CANVAS.shape, kernel="quadratic").numpy()
    chain = fused("quadratic", "functional", "variance", far=False, dtype=torch.float64)
    assert np.abs(chain.pixels(TWIST) - expected).max() < 1e-12


@pytest.mark.parametrize(
    ("kernel", "gradient"), [("rect", "functional"), ("linear", "functional"), ("quadratic", "raw")]
)
def test_votes_and_gradient_across_the_border(kernel: str, gradient: str) -> None:
    """Single events at rest on a fine row of places from far outside to far inside, in both directions."""
    degree = KERNELS[kernel]
    chain = Chain((1.0, 1.0), (0.0, 0.0), (7, 9), degree, degree + 2 * (gradient == "functional"), "mean_square")
    still = np.zeros(6)
    for place in np.arange(-4, 13, 0.21):
        for point in ((place, 3.3), (4.2, place)):
            bearing, t = torch.tensor([point, (3.1, 2.6)], dtype=torch.float64), torch.tensor([0.5, 0.25]).double()
            twist = torch.zeros(6, dtype=torch.float64, requires_grad=True)
            coords = warp_events(bearing, t, twist, 1.0)
            value = mean_square(bin_events(coords, None, (7, 9), kernel=kernel, gradient=gradient))
            (slope,) = torch.autograd.grad(value, twist)
            found = FusedContrast(bearing.numpy(), t.numpy(), np.ones(1), chain).gradient(still)
            assert found[0] == pytest.approx(float(value.detach()), rel=1e-12)
            assert found[1] == pytest.approx(slope.numpy(), rel=1e-9, abs=1e-12)


def test_gram_is_that_of_the_interaction_matrix() -> None:
    chain = fused("quadratic", "functional", "variance", far=False, dtype=torch.float64)
    bearing, t, depth = finite_events()
    jacobian = interaction_matrix(bearing, depth) * t[:, None, None] * torch.tensor([[40.0], [44.0]])
    expected = torch.einsum("nip,niq->pq", jacobian, jacobian) / len(t)
    agree(chain.gram(), expected.numpy(), 1e-12)


def test_half_a_turn_within_a_batch_is_refused_as_not_a_number() -> None:
    chain = fused("quadratic", "functional", "variance", far=True, dtype=torch.float64)
    fast = np.array([0, 0, 0, 0, 0, 16.0])  # 0.2 s at 16 rad/s
    assert np.isnan(chain.value(fast))
    value, slope, bend = chain.hessian(fast)
    assert np.isnan(value)
    assert np.isnan(slope).all()
    assert np.isnan(bend).all()
    assert np.isfinite(chain.value(0.9 * fast))


def test_the_disk_cache_notices_an_edit_of_any_file(tmp_path: Path) -> None:
    """The digest of all sources is part of the name under which numba keeps a kernel."""
    (tmp_path / "taps.py").write_text("degree = 2\n")
    (tmp_path / "simd.py").write_text("lanes = 8\n")
    before = digest_of(tmp_path)
    (tmp_path / "simd.py").write_text("lanes = 4\n")
    digest_of.cache_clear()
    assert digest_of(tmp_path) != before
    own = digest_of(Path(fused_bins.__file__).parent)
    kernels = (
        compile_forward(2, 4, True, np.dtype(np.float32)),
        compile_backward(4, True, np.dtype(np.float32)),
        assemble,
    )
    assert all(own in kernel.py_func.__qualname__ for kernel in kernels)


def test_no_events_make_an_empty_image() -> None:
    chain = Chain((40.0, 44.0), (19.5, 14.5), (30, 40), 2, 4, "variance")
    empty = FusedContrast(np.empty((0, 2)), np.empty(0), np.zeros(1), chain)
    value, slope, bend = empty.hessian(TWIST)
    assert value == 0
    assert not slope.any()
    assert not bend.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measure": "sharpness"}, "measure 'sharpness' does not exist"),
        ({"degree": 4}, "degrees are 4, 4; give 0 to 3 and 1 to 5"),
        ({"shape": (4096, 4096)}, "give at most 8388608 pixels"),
    ],
)
def test_what_does_not_exist_is_refused(changes: dict[str, object], message: str) -> None:
    settings = {"shape": (30, 40), "degree": 2, "gradient_degree": 4, "measure": "variance"} | changes
    with pytest.raises(ConfigError, match=message):
        FusedContrast(np.zeros((1, 2)), np.zeros(1), np.zeros(1), Chain((40.0, 44.0), (19.5, 14.5), **settings))  # type: ignore[arg-type]
