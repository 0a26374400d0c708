"""Pinhole cameras with radial-tangential or equidistant (fisheye) distortion.

A bearing is (X / Z, Y / Z) of a point in the camera frame (x right, y down, z forward). A pixel is (x, y), column and
row, with integers at pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import atan, inf, isfinite, pi, sqrt, tan
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from evslam.errors import CalibrationError
from evslam.geometry.smooth import arctan_ratio, arctan_ratio_slope, polynomial, squared_norm
from evslam.types import SensorSize

DistortionModel = Literal["none", "radtan", "equidistant"]

_COEFFICIENTS = {"none": "", "radtan": "k1 k2 p1 p2 k3", "equidistant": "k1 k2 k3 k4"}
_MAX_RADIUS = 1e6  # of a bearing: a microradian short of 90 degrees off the axis
_NEWTON_STEPS = 50
_MIN_DAMPING = 1e-4  # a step cut down to this goes nowhere
_TOLERANCE_PX = 1e-9  # Newton's target
_ACCEPTED_PX = 1e-7  # a solution whose round trip is worse is no solution


@dataclass(frozen=True)
class Camera:
    """A calibrated camera.

    Attributes:
        fx, fy: focal lengths in pixels.
        cx, cy: principal point in pixels.
        size: image size.
        model: "none", "radtan" (OpenCV's radial and tangential polynomial) or "equidistant" (Kannala and Brandt 2006,
            OpenCV's fisheye: pixel radius = theta (1 + k1 theta^2 + ... + k4 theta^8)).
        distortion: () for none, (k1, k2, p1, p2, k3) for radtan, (k1, k2, k3, k4) for equidistant.

    Raises:
        CalibrationError: a value is not finite, out of its range, or the number of coefficients is wrong.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    size: SensorSize
    model: DistortionModel = "none"
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _check_distortion(self.model, self.distortion)
        for name, value in (("fx", self.fx), ("fy", self.fy)):
            if not (isfinite(value) and value > 0):
                raise CalibrationError(f"focal length {name} = {value}: give a positive number of pixels")
        for name, value, extent in (("cx", self.cx, self.size.width), ("cy", self.cy, self.size.height)):
            if extent <= 0:
                raise CalibrationError(f"image size {self.size}: give a positive height and width in pixels")
            if not -0.5 <= value <= extent - 0.5:
                raise CalibrationError(
                    f"principal point {name} = {value} is outside the image (0 to {extent - 1}): "
                    "check the order fx fy cx cy and the image size"
                )

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project points of the camera frame, differentiably.

        Args:
            points: (..., 3) in any unit.

        Returns:
            pixels (..., 2), always finite, and valid (...) bool: the point is in front of the camera and where the
            distortion is one to one. A valid pixel may lie outside the image: see `contains`. Points behind the camera
            get the principal point.
        """
        xy, z = points[..., :2], points[..., 2:]
        # A point at the limit's edge divides safely; anything else is replaced before the division.
        near = torch.isfinite(points).all(-1, keepdim=True) & (z > 0) & (squared_norm(xy) < (self.max_radius * z) ** 2)
        bearing = torch.where(near, xy, 0.0) / torch.where(near, z, 1.0)
        return self.distort(bearing), near[..., 0] & (_determinant(*self._slopes(bearing)) > 0)

    def distort(self, bearing: Tensor) -> Tensor:
        """Pixels (..., 2) of bearings (..., 2), differentiably; meaningful up to `max_radius`, where the lens folds."""
        return self._displace(bearing) * self._focal(bearing) + self._centre(bearing)

    def jacobian(self, bearing: Tensor) -> Tensor:
        """(..., 2, 2) derivative of `distort`, in pixels per unit of bearing."""
        xx, xy, yy = self._slopes(bearing)
        rows = torch.stack([torch.stack([xx, xy], -1), torch.stack([xy, yy], -1)], -2)
        return rows * self._focal(bearing).unsqueeze(-1)

    @torch.no_grad()
    def undistort(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Bearings of pixels by Newton's method in float64; carries no gradient.

        Args:
            pixels: (..., 2); they may lie outside the image or between pixel centres.

        Returns:
            bearing (..., 2) in the dtype of pixels (float64 for integers), always finite, and valid (...) bool. A pixel
            that no bearing inside the lens's fold and within 90 degrees of the axis reaches is invalid, with bearing 0.
        """
        dtype = pixels.dtype if pixels.is_floating_point() else torch.float64
        pixels = pixels.double()
        finite = torch.isfinite(pixels).all(-1)
        target = torch.where(finite.unsqueeze(-1), (pixels - self._centre(pixels)) / self._focal(pixels), 0.0)
        bearing = self._newton(target.reshape(-1, 2)).reshape(target.shape)
        error_px = self._error_px(self._displace(bearing) - target)
        valid = finite & (error_px < _ACCEPTED_PX) & (_determinant(*self._slopes(bearing)) > 0)
        return torch.where(valid.unsqueeze(-1), bearing, 0.0).to(dtype), valid

    def bearing_table(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Bearing of every pixel centre: table (H, W, 2), indexed [row, column], and valid (H, W) bool."""
        rows = torch.arange(self.size.height, dtype=torch.float64)
        columns = torch.arange(self.size.width, dtype=torch.float64)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        bearing, valid = self.undistort(torch.stack([x, y], -1))
        return bearing.to(dtype), valid

    def contains(self, pixels: Tensor) -> Tensor:
        """(...) bool: pixels (..., 2) are inside the image, which ends half a pixel outside the outer centres."""
        last = pixels.new_tensor([self.size.width, self.size.height]) - 0.5
        return ((pixels >= -0.5) & (pixels < last)).all(-1)

    @cached_property
    def max_radius(self) -> float:
        """Length of a bearing up to which the radial distortion grows: the lens's fold, or nearly 90 degrees."""
        slope = [(2 * i + 1) * k for i, k in enumerate((1.0, *self._radial))]
        # The polynomial in 1 / radius^2: its leading coefficient is 1, so tiny k cannot upset the roots.
        roots = np.roots(slope)
        positive = roots.real[(np.abs(roots.imag) <= 1e-6 * np.abs(roots)) & (roots.real > 0)]
        fold = 1 / sqrt(positive.max()) if len(positive) else inf
        if self.model == "equidistant":
            fold = tan(fold) if fold < pi / 2 else inf
        return min(fold, _MAX_RADIUS)

    # The lens on the plane of normalised coordinates: bearing to displaced bearing. Its Jacobian is symmetric.

    @property
    def _radial(self) -> tuple[float, ...]:
        return (*self.distortion[:2], self.distortion[4]) if self.model == "radtan" else self.distortion

    def _focal(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.fx, self.fy])

    def _centre(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.cx, self.cy])

    def _tangential(self, like: Tensor) -> Tensor:
        """(p2, p1), so that the tangential displacement of b is 2 b (p . b) + p |b|^2."""
        return like.new_tensor(self.distortion[3:1:-1] if self.model == "radtan" else (0.0, 0.0))

    def _magnification(self, radius2: Tensor) -> tuple[Tensor, Tensor]:
        """Radial factor at the squared radius (..., 1) of a bearing, and its derivative with respect to it."""
        factor = [1.0, *self._radial]
        slope = [i * k for i, k in enumerate(factor)][1:] or [0.0]
        if self.model != "equidistant":
            return polynomial(radius2, factor), polynomial(radius2, slope)
        ratio = arctan_ratio(radius2)
        theta2 = radius2 * ratio * ratio
        theta2_slope = ratio / (1 + radius2)
        value = polynomial(theta2, factor)
        return ratio * value, arctan_ratio_slope(radius2) * value + ratio * polynomial(theta2, slope) * theta2_slope

    def _displace(self, bearing: Tensor) -> Tensor:
        radius2, p = squared_norm(bearing), self._tangential(bearing)
        factor, _ = self._magnification(radius2)
        return (factor + 2 * (p * bearing).sum(-1, keepdim=True)) * bearing + p * radius2

    def _slopes(self, bearing: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Entries xx, xy, yy (...) of the Jacobian of `_displace`."""
        factor, slope = self._magnification(squared_norm(bearing))
        p = self._tangential(bearing)
        diagonal = (factor + 2 * (p * bearing).sum(-1, keepdim=True))[..., 0]
        (x, y), half = bearing.unbind(-1), slope[..., 0] * bearing[..., 0]
        xx = diagonal + 2 * x * (half + 2 * p[0])
        xy = 2 * (half * y + p[0] * y + p[1] * x)
        return xx, xy, diagonal + 2 * y * (slope[..., 0] * y + 2 * p[1])

    # Newton's method

    def _error_px(self, residual: Tensor) -> Tensor:
        return (residual * self._focal(residual)).abs().amax(-1)

    def _start(self, target: Tensor) -> Tensor:
        """The solution without coefficients, drawn inside the fold."""
        radius = torch.sqrt(squared_norm(target)).clamp(min=1e-30)
        if self.model == "equidistant":
            start = torch.tan(radius.clamp(max=0.99 * atan(self.max_radius)))
        else:
            start = radius.clamp(max=0.99 * self.max_radius)
        return target * (start / radius)

    def _newton(self, target: Tensor) -> Tensor:
        """Solve _displace(bearing) = target (N, 2): a step must lower the residual and stay inside the fold."""
        bearing = self._start(target)
        residual = self._displace(bearing) - target
        damping = torch.ones_like(bearing[..., :1])
        active = torch.arange(len(target), device=target.device)
        for _ in range(_NEWTON_STEPS):
            open_end = (self._error_px(residual[active]) > _TOLERANCE_PX) & (damping[active, 0] > _MIN_DAMPING)
            active = active[open_end]
            if not len(active):
                break
            b, r, d = bearing[active], residual[active], damping[active]
            candidate = b - d * _solve(self._slopes(b), r)
            change = self._displace(candidate) - target[active]
            better = squared_norm(change) < squared_norm(r)
            better &= squared_norm(candidate) < self.max_radius**2
            bearing[active], residual[active] = torch.where(better, candidate, b), torch.where(better, change, r)
            damping[active] = torch.where(better, (2 * d).clamp(max=1.0), d / 4)
        return bearing


def _determinant(xx: Tensor, xy: Tensor, yy: Tensor) -> Tensor:
    return xx * yy - xy * xy


def _solve(matrix: tuple[Tensor, Tensor, Tensor], right: Tensor) -> Tensor:
    """Solve symmetric 2x2 systems for right (..., 2)."""
    (xx, xy, yy), (x, y) = matrix, right.unbind(-1)
    return torch.stack([yy * x - xy * y, xx * y - xy * x], -1) / _determinant(xx, xy, yy).unsqueeze(-1)


def _check_distortion(model: str, distortion: tuple[float, ...]) -> None:
    if model not in _COEFFICIENTS:
        raise CalibrationError(f"distortion model {model!r} is unknown: use {', '.join(_COEFFICIENTS)}")
    names = _COEFFICIENTS[model].split()
    if len(distortion) != len(names):
        wanted = f"{len(names)} ({' '.join(names)})" if names else "none"
        raise CalibrationError(
            f"{len(distortion)} distortion coefficients {tuple(distortion)}: {model} takes {wanted}; give so many"
        )
    for name, value in zip(names, distortion, strict=True):
        if not isfinite(value):
            raise CalibrationError(f"distortion coefficient {name} = {value}: give a finite number")
