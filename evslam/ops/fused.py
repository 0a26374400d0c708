"""Contrast of a batch of events as a function of its motion: value, gradient and Hessian by fused kernels on one core.

The chain is warp, project, bin, blur, measure. No gradient or Jacobian of an event is ever stored; 20 000 events take
about a quarter of a millisecond for value and gradient. Plain twin: `evslam.objective.BatchContrast`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evslam.errors import ConfigError
from evslam.ops.fused_bins import Grid
from evslam.ops.fused_gram import gram
from evslam.ops.fused_hessian import SUMS, assemble, compile_curvature
from evslam.ops.fused_image import MEASURES, blur, curvature_of, gauss_taps, slope_of
from evslam.ops.fused_kernels import compile_backward, compile_forward, pull_back
from evslam.ops.fused_simd import LINE
from evslam.ops.fused_taps import channels_of
from evslam.ops.fused_warp import series

_BESIDE = 1e6  # bearing of the events that fill up the last vector
_MOST_PIXELS = 2**23  # float32 counts pixels exactly up to here


@dataclass(frozen=True)
class Chain:
    """What happens after the warp.

    Attributes:
        focal, centre: (x, y) in bins; `shape`: (H, W) of the image.
        degree, gradient_degree: B-splines of value and gradient, 0 to 3 and 1 to 5.
        measure: one of MEASURES. sigma: of a Gaussian blur before it, in bins; 0 for none.
    """

    focal: tuple[float, float]
    centre: tuple[float, float]
    shape: tuple[int, int]
    degree: int
    gradient_degree: int
    measure: str
    sigma: float = 0.0


class FusedContrast:
    """Contrast of one batch as a function of its twist (6,), v then omega.

    Args:
        bearing: (N, 2) normalised image coordinates. t: (N,) seconds relative to t_ref; float32 or float64 decides the
            precision. Events that are not finite are left out.
        inverse_depth: (N,), or (1,) for all. A single zero makes the chain faster: nothing depends on v.
        chain: what follows the warp.

    Raises:
        ConfigError: an image too large, a measure or degrees that do not exist.
    """

    def __init__(self, bearing: np.ndarray, t: np.ndarray, inverse_depth: np.ndarray, chain: Chain) -> None:
        _check(chain)
        self.chain, self.dtype = chain, t.dtype
        self.moving = not (inverse_depth.size == 1 and float(inverse_depth.ravel()[0]) == 0)
        self.grid = Grid(*chain.shape, chain.gradient_degree)
        self.view = self.grid.view(chain.focal, chain.centre, t.dtype)
        self.events, self.num_events, self.longest = _columns(bearing, t, inverse_depth, self.moving)
        self.coords = np.empty_like(self.events[: 2 + self.moving])
        self.image, self.slope = self.grid.zeros(t.dtype), self.grid.zeros(t.dtype)
        self.taps = gauss_taps(chain.sigma, t.dtype) if chain.sigma > 0 else None
        self.spare = self.grid.zeros(t.dtype)  # the blurred image, or slope
        self._directions: np.ndarray | None = None
        self._at: np.ndarray | None = None  # twist whose image and slope are at hand
        self._table: np.ndarray | None = None
        self._value = np.nan

    def value(self, twist: np.ndarray) -> float:
        """The objective; not a number where `fused_warp.series` ends: beyond half a turn from t_ref."""
        if self._at is not None and np.array_equal(self._at, twist):
            return self._value
        self._table = series(twist[3:], self.longest, self.dtype)
        self._at, self._value = np.array(twist, np.float64), np.nan
        if self._table is None:
            return self._value
        self.image.fill(0)
        chain, grid = self.chain, self.grid
        forward = compile_forward(chain.degree, chain.gradient_degree, self.moving, self.dtype)
        motion = self._at.astype(self.dtype), self._table, self.view, grid.stride
        forward(self.events, motion, self.coords, self.image)
        if self.taps is None:
            self._value = slope_of(chain.measure, self.image, self.slope, grid)
            return self._value
        blur(self.image, self.spare, self.taps, grid)
        self.image, self.spare = self.spare, self.image
        self._value = slope_of(chain.measure, self.image, self.spare, grid)
        blur(self.spare, self.slope, self.taps, grid)
        return self._value

    def gradient(self, twist: np.ndarray) -> tuple[float, np.ndarray]:
        """Value and gradient (6,)."""
        value = self.value(twist)
        if self._table is None:
            return value, np.full(6, np.nan)
        sums = np.zeros((SUMS // 3, 3))
        backward = compile_backward(self.chain.gradient_degree, self.moving, self.dtype)
        backward(*self._arguments(), sums)
        return value, pull_back(sums, self._at)

    def hessian(self, twist: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Value, gradient and Hessian (6, 6), exact for the layer's defined derivatives."""
        value, size, bend = self.value(twist), (6 if self.moving else 3), np.zeros((6, 6))
        if self._table is None:
            return value, np.full(6, np.nan), bend + np.nan
        sums = np.zeros(SUMS + 21)
        directions = self._empty_directions(channels_of(size))
        compile_curvature(self.chain.gradient_degree, self.moving, self.dtype)(*self._arguments(), directions, sums)
        if self.taps is not None:
            sharp, directions = directions, np.zeros_like(directions)
            blur(sharp, directions, self.taps, self.grid, channels_of(size))
        bend[6 - size :, 6 - size :] = curvature_of(self.chain.measure, self.image, directions, self.grid, size)
        bend[6 - size :, 6 - size :] += assemble(sums, self._at, size)
        return value, pull_back(sums[:SUMS].reshape(-1, 3), self._at), bend

    def gram(self) -> np.ndarray:
        """Mean of J^T J (6, 6) over the events, J the derivative of their bins to the twist at zero twist."""
        return gram(self.events, self.chain.focal) / max(self.num_events, 1)

    def pixels(self, twist: np.ndarray) -> np.ndarray:
        """The image (H, W) that is measured, after the blur."""
        self.value(twist)
        return self.grid.image(self.image).copy()

    def _arguments(self) -> tuple[Any, ...]:
        assert self._at is not None
        twist = self._at.astype(self.dtype)
        return self.events, (twist, self._table, self.view, self.grid.stride), self.coords, self.slope

    def _empty_directions(self, channels: int) -> np.ndarray:
        if self._directions is None:
            self._directions = self.grid.zeros(self.dtype, channels)
        self._directions.fill(0)
        return self._directions


def _columns(bearing: np.ndarray, t: np.ndarray, depth: np.ndarray, moving: bool) -> tuple[np.ndarray, int, float]:
    """Events as rows x, y, t (and inverse depth), filled up to whole vectors; their number, the largest |t|."""
    columns = [bearing[:, 0], bearing[:, 1], t] + [np.broadcast_to(depth.reshape(-1), t.shape)] * moving
    if not np.isfinite(sum(float(each.sum()) for each in columns)):
        live = np.logical_and.reduce([np.isfinite(each) for each in columns])
        columns = [each[live] for each in columns]
    number, count = len(columns[0]), LINE // t.dtype.itemsize
    events = np.zeros((len(columns), -(-number // count) * count), t.dtype)
    for row, column in zip(events, columns, strict=True):
        row[:number] = column
    events[:2, number:] = _BESIDE
    return events, number, float(np.abs(events[2]).max(initial=0.0))


def _check(chain: Chain) -> None:
    if chain.shape[0] * chain.shape[1] > _MOST_PIXELS:
        raise ConfigError(f"the image has shape {chain.shape}; give at most {_MOST_PIXELS} pixels")
    if chain.measure not in MEASURES:
        raise ConfigError(f"measure {chain.measure!r} does not exist; choose one of {', '.join(MEASURES)}")
    if not (0 <= chain.degree <= 3 and 1 <= chain.gradient_degree <= 5):
        raise ConfigError(f"degrees are {chain.degree}, {chain.gradient_degree}; give 0 to 3 and 1 to 5")
