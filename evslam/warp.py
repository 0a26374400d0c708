"""Motion compensation: carry events to the reference time of their batch and onto an image plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evslam.errors import ConfigError
from evslam.geometry.camera import Camera
from evslam.ops import cpu_warp


def warp_events(bearing: Tensor, t: Tensor, twist: Tensor, inverse_depth: Tensor | float) -> Tensor:
    """Bearings of the events' scene points as seen at t_ref, under a constant twist.

    With T(t) = T(t_ref) exp(t twist), a point X in the camera frame at time t is exp(t twist) X at t_ref. The point
    is taken at Z = 1 and v is scaled by its inverse depth.

    Args:
        bearing: (N, 2) normalised image coordinates (X / Z, Y / Z).
        t: (N,) seconds relative to t_ref.
        twist: (6,) v in depths per second (metres per second for metric inverse depth), omega in rad/s.
        inverse_depth: (N,) or scalar, 1 / Z; zero gives a pure rotation.

    Returns:
        (N, 2) normalised image coordinates at t_ref; NaN for points behind the image plane, which binning drops.
        Differentiable to everything; compiled on CPU when only the twist needs a gradient.

    Raises:
        ConfigError: arguments whose shapes do not belong together.
    """
    depth = torch.as_tensor(inverse_depth, dtype=t.dtype, device=t.device).reshape(-1)
    if bearing.shape != (*t.shape, 2) or t.ndim != 1 or twist.shape != (6,) or len(depth) not in (1, len(t)):
        shapes = ", ".join(str(tuple(each.shape)) for each in (bearing, t, twist, depth))
        raise ConfigError(f"bearing, t, twist, inverse_depth have shapes {shapes}; give (N, 2), (N,), (6,), (N,)")
    if bearing.is_cpu and not (bearing.requires_grad or t.requires_grad or depth.requires_grad):
        return _Warp.apply(bearing, t, twist, depth)
    return warp_events_reference(bearing, t, twist, depth)


class _Warp(torch.autograd.Function):
    @staticmethod
    def forward(bearing: Tensor, t: Tensor, twist: Tensor, inverse_depth: Tensor) -> Tensor:
        out = torch.empty_like(bearing, memory_format=torch.contiguous_format)
        cpu_warp.forward(bearing.numpy(), t.numpy(), _double(twist), inverse_depth.numpy(), out.numpy())
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        bearing, t, twist, depth = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            pull_back = torch.func.vjp(lambda moved: warp_events_reference(bearing, t, moved, depth), twist)[1]
            (gradient,) = pull_back(grads[0])
        else:
            arrays = (bearing.numpy(), t.numpy(), _double(twist), depth.numpy(), grads[0].contiguous().numpy())
            gradient = torch.from_numpy(cpu_warp.backward(*arrays)).to(twist.dtype)
        return None, None, gradient, None


def _double(tensor: Tensor) -> Any:
    return tensor.detach().double().numpy()


def warp_events_reference(bearing: Tensor, t: Tensor, twist: Tensor, inverse_depth: Tensor) -> Tensor:
    """Plain torch twin of `warp_events`: any device, gradients to every argument, differentiable twice.

    Closed form with s = (|omega| t)^2: X + A omega x X + B omega x (omega x X) + (t v + B omega x v
    + C omega x (omega x v)) inverse_depth, A = t sinc, B = t^2 (1 - cos) / s, C = t^3 (1 - sinc) / s.
    """
    v, (wx, wy, wz) = twist[:3], twist[3:].unbind()
    a, b, c = _exp_coefficients(t, wx * wx + wy * wy + wz * wz)
    x, y = bearing.unbind(1)
    # omega x X and omega x (omega x X), with X = (x, y, 1)
    px, py, pz = wy - wz * y, wz * x - wx, wx * y - wy * x
    qx, qy, qz = wy * pz - wz * py, wz * px - wx * pz, wx * py - wy * px
    wv = torch.linalg.cross(twist[3:], v)
    wwv = torch.linalg.cross(twist[3:], wv)
    shift = (t[:, None] * v + b[:, None] * wv + c[:, None] * wwv) * inverse_depth[:, None]
    sx, sy, sz = shift.unbind(1)
    depth = 1 + a * pz + b * qz + sz
    visible = depth > 1e-3
    safe = torch.where(visible, depth, torch.ones_like(depth))
    warped = torch.stack([(x + a * px + b * qx + sx) / safe, (y + a * py + b * qy + sy) / safe], 1)
    return torch.where(visible[:, None], warped, torch.full_like(warped, torch.nan))


def _exp_coefficients(t: Tensor, rate_squared: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A, B, C of `warp_events`; a series where the angle is small, so that value and gradients hold at zero."""
    s = rate_squared * t * t
    small = s < 1e-2
    safe = torch.where(small, torch.ones_like(s), s)
    angle = safe.sqrt()
    sinc = torch.where(small, 1 - s / 6 * (1 - s / 20 * (1 - s / 42)), angle.sin() / angle)
    cosc = torch.where(small, 0.5 * (1 - s / 12 * (1 - s / 30 * (1 - s / 56))), (1 - angle.cos()) / safe)
    cubic = torch.where(small, (1 - s / 20 * (1 - s / 42 * (1 - s / 72))) / 6, (1 - sinc) / safe)
    return t * sinc, t * t * cosc, t**3 * cubic


def interaction_matrix(bearing: Tensor, inverse_depth: Tensor | float) -> Tensor:
    """Derivative of the warped bearing to t times the twist, at zero twist: (N, 2, 6), columns (v, omega).

    The image Jacobian of visual servoing with the sign of motion compensation.
    """
    x, y = bearing.unbind(1)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    depth = one * inverse_depth
    row_x = torch.stack([depth, zero, -x * depth, -x * y, 1 + x * x, -y], 1)
    row_y = torch.stack([zero, depth, -y * depth, -1 - y * y, x * y, x], 1)
    return torch.stack([row_x, row_y], 1)


@dataclass(frozen=True)
class Canvas:
    """Undistorted pinhole image on which warped events are binned; focal lengths and centre in its pixels."""

    fx: float
    fy: float
    cx: float
    cy: float
    shape: tuple[int, int]

    @staticmethod
    def from_camera(camera: Camera, margin: float, scale: float = 1.0) -> Canvas:
        """The camera's image without distortion, `margin` of its width wider on each side, in bins of 1 / scale px."""
        border = margin * camera.size.width
        width = round((camera.size.width + 2 * border) * scale)
        height = round((camera.size.height + 2 * border) * scale)
        # pixel centres are integers: scaling acts about the image's corner at -1/2
        centre = [(c + border + 0.5) * scale - 0.5 for c in (camera.cx, camera.cy)]
        return Canvas(camera.fx * scale, camera.fy * scale, centre[0], centre[1], (height, width))

    def project(self, bearing: Tensor) -> Tensor:
        """Normalised image coordinates (N, 2) to canvas pixels (N, 2), (x, y)."""
        return bearing * bearing.new_tensor([self.fx, self.fy]) + bearing.new_tensor([self.cx, self.cy])
