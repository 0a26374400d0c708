"""Motion compensation: compiled and plain twin, the Lie group it must agree with, the canvas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from evslam.errors import ConfigError
from evslam.geometry.camera import Camera
from evslam.geometry.lie import SE3
from evslam.types import SensorSize
from evslam.warp import Canvas, interaction_matrix, warp_events, warp_events_reference

SIZES = {"zero": 0.0, "tiny": 1e-9, "slow": 0.05, "fast": 3.0, "large": 30.0}
each_size = pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
each_depth = pytest.mark.parametrize("depth", ["far", "plane", "varied"])


def events(num: int = 300, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """bearing (num, 2) in [-0.6, 0.6], t (num,) in [-0.2, 0.2] s, inverse depth (num,) in [0.2, 2]; float64."""
    uniform = torch.rand(4, num, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return 1.2 * uniform[:2].T - 0.6, 0.4 * uniform[2] - 0.2, 0.2 + 1.8 * uniform[3]


def twist(size: float, seed: int = 3) -> Tensor:
    return size * (2 * torch.rand(6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1)


def inverse_depth(kind: str, varied: Tensor) -> Tensor:
    return {"far": torch.zeros(1), "plane": torch.full((1,), 0.7), "varied": varied}[kind].double()


def pulled_back(function: object, motion: Tensor, upstream: Tensor) -> Tensor:
    """Gradient to the twist, the points behind the image plane left out."""
    leaf = motion.clone().requires_grad_()
    warped = function(leaf)  # type: ignore[operator]
    loss = torch.where(torch.isfinite(warped), warped * upstream, torch.zeros_like(warped)).sum()
    return torch.autograd.grad(loss, leaf)[0]


@each_size
@each_depth
def test_compiled_warp_equals_its_twin(size: float, depth: str) -> None:
    bearing, t, varied = events()
    rho = inverse_depth(depth, varied)
    compiled, plain = (f(bearing, t, twist(size), rho) for f in (warp_events, warp_events_reference))
    assert torch.equal(torch.isnan(compiled), torch.isnan(plain))
    scale = 1 + plain.abs().nan_to_num()
    error = ((compiled - plain) / scale**2).nan_to_num()  # an error in the depth grows with the square
    assert float(error.abs().max()) < 1e-12
    assert abs(float(error.mean())) < 1e-13


@each_size
@each_depth
def test_compiled_gradient_equals_its_twin(size: float, depth: str) -> None:
    bearing, t, varied = events()
    rho = inverse_depth(depth, varied)
    visible = (warp_events_reference(bearing, t, twist(size), rho).abs() < 5).all(1)  # the rest is ill-conditioned
    bearing, t, rho = bearing[visible], t[visible], rho if len(rho) == 1 else rho[visible]
    upstream = torch.randn(bearing.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    compiled, plain = (
        pulled_back(lambda w, f=f: f(bearing, t, w, rho), twist(size), upstream)
        for f in (warp_events, warp_events_reference)
    )
    scale = float(plain.norm())
    assert scale > 0
    assert float((compiled - plain).abs().max()) < 1e-9 * scale
    assert float(torch.nn.functional.cosine_similarity(compiled, plain, 0)) > 1 - 1e-12
    assert abs(float((compiled - plain).mean())) < 1e-9 * scale


@settings(max_examples=50)
@given(st.lists(st.floats(-4, 4), min_size=6, max_size=6), st.sampled_from([1.0, 1e-3, 1e-7]))
def test_warp_equals_the_group_acting_on_points(parameters: list[float], scale: float) -> None:
    """A point X = (x, y, 1) / rho moves to exp(t twist) X."""
    bearing, t, rho = events(20)
    motion = scale * torch.tensor(parameters, dtype=torch.float64)
    points = torch.cat([bearing, torch.ones_like(bearing[:, :1])], 1) / rho[:, None]
    moved = SE3.exp(t[:, None] * motion) * points
    seen = rho * moved[:, 2] > 0.1
    expected = moved[:, :2] / moved[:, 2:]
    assert float((warp_events(bearing, t, motion, rho) - expected)[seen].abs().nan_to_num(1).sum()) < 1e-10
    hidden = rho * moved[:, 2] < 0.9e-3
    assert bool(torch.isnan(warp_events(bearing, t, motion, rho)[hidden]).all())


def test_translation_by_hand() -> None:
    """v = (1, 0, 2) for 0.1 s from X = (0.4, 0.2, 2): (0.5, 0.2, 2.2)."""
    one = torch.ones(1, dtype=torch.float64)
    motion = torch.tensor([1.0, 0, 2, 0, 0, 0], dtype=torch.float64)
    warped = warp_events(torch.tensor([[0.2, 0.1]], dtype=torch.float64), 0.1 * one, motion, 0.5)
    assert warped[0].tolist() == pytest.approx([0.5 / 2.2, 0.2 / 2.2])


def test_rotation_by_hand() -> None:
    """A turn about the optical axis by 90 degrees takes x to y; about y it adds to the angle of x."""
    one = torch.ones(1, dtype=torch.float64)
    roll = torch.tensor([0, 0, 0, 0, 0, math.pi / 2], dtype=torch.float64)
    pan = torch.tensor([0, 0, 0, 0, 0.3, 0], dtype=torch.float64)
    assert warp_events(torch.tensor([[0.5, 0.0]]).double(), one, roll, 0.0)[0].tolist() == pytest.approx([0, 0.5])
    warped = warp_events(torch.tensor([[math.tan(0.2), 0.0]]).double(), one, pan, 0.0)
    assert warped[0].tolist() == pytest.approx([math.tan(0.5), 0])


def test_points_behind_the_image_plane_are_nan_and_give_no_gradient() -> None:
    bearing, one = torch.tensor([[0.1, 0.0], [0.1, 0.2]], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    motion = torch.tensor([0, 0, -2.0, 0, 0, 0], dtype=torch.float64)
    rho = torch.tensor([1.0, 0.25], dtype=torch.float64)
    warped = warp_events(bearing, one, motion, rho)
    assert torch.isnan(warped[0]).all()
    assert warped[1].tolist() == pytest.approx([0.2, 0.4])
    upstream = torch.ones_like(bearing)
    visible = pulled_back(lambda w: warp_events(bearing[1:], one[1:], w, rho[1:]), motion, upstream[1:])
    for function in (warp_events, warp_events_reference):
        both = pulled_back(lambda w, f=function: f(bearing, one, w, rho), motion, upstream)
        assert both.tolist() == pytest.approx(visible.tolist())


@each_depth
def test_scalar_and_per_event_inverse_depth_agree(depth: str) -> None:
    bearing, t, varied = events(50)
    value = float(inverse_depth(depth, varied)[0])
    scalar = warp_events(bearing, t, twist(1.0), value)
    each = warp_events(bearing, t, twist(1.0), torch.full_like(t, value))
    assert torch.equal(scalar, each)


@pytest.mark.parametrize("size", [0.0, 1e-6, 0.5, 6.0])
@each_depth
def test_first_and_second_derivative_agree_with_finite_differences(size: float, depth: str) -> None:
    bearing, t, varied = events(4, seed=2)
    rho = inverse_depth(depth, varied)
    motion = twist(size).requires_grad_()
    assert gradcheck(lambda w: warp_events(bearing, t, w, rho), (motion,), atol=1e-7, rtol=1e-5)
    assert gradgradcheck(lambda w: warp_events(bearing, t, w, rho), (motion,), atol=1e-6, rtol=1e-4)


def test_gradients_to_every_argument_agree_with_finite_differences() -> None:
    arguments = (*events(4)[:2], twist(1.0), events(4)[2])
    leaves = tuple(each.clone().requires_grad_() for each in arguments)
    assert gradcheck(warp_events, leaves, atol=1e-6, rtol=1e-5)
    (only_depth,) = torch.autograd.grad(warp_events(*arguments[:3], leaves[3]).sum(), leaves[3])
    (among_all,) = torch.autograd.grad(warp_events(*leaves).sum(), leaves[3])
    assert only_depth.tolist() == pytest.approx(among_all.tolist())


def test_torch_func_agrees_with_autograd() -> None:
    bearing, t, rho = events(20)
    upstream = torch.randn(20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    motion = twist(1.0)
    expected = pulled_back(lambda w: warp_events(bearing, t, w, rho), motion, upstream)
    gradient = torch.func.grad(lambda w: (warp_events(bearing, t, w, rho) * upstream).sum())(motion)
    assert gradient.tolist() == pytest.approx(expected.tolist())
    warped, pull_back, *_ = torch.func.vjp(lambda w: warp_events(bearing, t, w, rho), motion)
    assert torch.equal(warped, warp_events(bearing, t, motion, rho))
    assert pull_back(upstream)[0].tolist() == pytest.approx(expected.tolist())


def test_single_precision_follows_double() -> None:
    bearing, t, rho = (each.float() for each in events())
    motion = twist(3.0).float()
    single, double = warp_events(bearing, t, motion, rho), warp_events(*(x.double() for x in (bearing, t, motion, rho)))
    assert single.dtype == torch.float32
    assert float((single - double).abs().max()) < 1e-6
    upstream = torch.ones_like(bearing)
    slopes = [
        pulled_back(lambda w, a=a: warp_events(a[0], a[1], w, a[2]), motion.to(a[0]), upstream.to(a[0])).double()
        for a in ((bearing, t, rho), (bearing.double(), t.double(), rho.double()))
    ]
    assert slopes[0].tolist() == pytest.approx(slopes[1].tolist(), rel=1e-5)


@each_depth
def test_interaction_matrix_is_the_derivative_at_rest(depth: str) -> None:
    bearing, _, varied = events(6)
    rho = inverse_depth(depth, varied[:6])
    one, rest = torch.ones(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda w: warp_events_reference(bearing, one, w, rho), rest)
    assert float((interaction_matrix(bearing, rho) - jacobian).abs().max()) < 1e-12


def test_arguments_that_do_not_fit_are_errors() -> None:
    bearing, t, rho = events(5)
    for arguments in (
        (bearing[:4], t, twist(1.0), rho),
        (bearing, t, twist(1.0)[:5], rho),
        (bearing, t, twist(1.0), rho[:3]),
        (bearing[:, :1], t, twist(1.0), rho),
    ):
        with pytest.raises(ConfigError, match=r"have shapes \(.*; give \(N, 2\), \(N,\), \(6,\), \(N,\)"):
            warp_events(*arguments)


def camera() -> Camera:
    return Camera(200.0, 210.0, 119.5, 89.5, SensorSize(180, 240))


def project(canvas: Canvas, pixel: tuple[float, float]) -> list[float]:
    """Where a pixel of the undistorted sensor lies on the canvas."""
    bearing = [(pixel[0] - 119.5) / 200, (pixel[1] - 89.5) / 210]
    return canvas.project(torch.tensor([bearing], dtype=torch.float64))[0].tolist()


def test_canvas_without_margin_is_the_sensor() -> None:
    canvas = Canvas.from_camera(camera(), 0.0)
    assert canvas.shape == (180, 240)
    assert project(canvas, (17, 23)) == pytest.approx([17, 23])


def test_margin_is_a_share_of_the_width_on_every_side() -> None:
    canvas = Canvas.from_camera(camera(), 0.1)
    assert canvas.shape == (180 + 48, 240 + 48)
    assert project(canvas, (17, 23)) == pytest.approx([17 + 24, 23 + 24])


@pytest.mark.parametrize("block", [2, 4, 8])
def test_the_centre_of_a_block_of_pixels_lands_on_an_integer(block: int) -> None:
    """At scale 1 / block, pixels n block to n block + block - 1 become canvas pixel n; the corner -1/2 stays."""
    canvas = Canvas.from_camera(camera(), 0.1, 1 / block)
    assert canvas.shape == (round(228 / block), 288 // block)
    inner = (block - 1) / 2
    assert project(canvas, (3 * block + inner, 5 * block + inner)) == pytest.approx([3 + 24 / block, 5 + 24 / block])
    assert project(canvas, (-0.5 - 24, -0.5 - 24)) == pytest.approx([-0.5, -0.5])
