"""Event images on the sphere of directions, and how they change with the rotations that the events were seen from.

The image is equirectangular: column is longitude atan2(X, Z), row is latitude atan2(Y, |(X, Z)|), in the world frame
(x right, y down, z forward). It has W columns, W / 2 rows, and closes around the seam at longitude +-pi.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from evslam.errors import ConfigError
from evslam.ops.binning import bin_events
from evslam.ops.fused_bins import Grid
from evslam.ops.fused_simd import LINE
from evslam.ops.sphere_kernels import SUMS, begin, compile_sphere_backward, compile_sphere_forward, fill, finish, merge

GRADIENT_STEP = {"functional": 2, "raw": 0}  # degree of the gradient's B-spline above that of the image
DTYPE = np.dtype(np.float32)
SHARES = 2  # of the work between two threads; fixed, because the order of summation decides the last digits
T = TypeVar("T")


@dataclass(frozen=True)
class SphereEvents:
    """Events between the nodes of a rotational trajectory, as the kernels take them: see `sphere_events`.

    Attributes:
        columns: (4, N) bearing x, y, share of the interval, weight; filled up to whole vectors per interval.
        interval: (N / lanes,) int64 index of the node before.
        num_nodes: nodes of the trajectory; intervals are one fewer.
        num_events: events without those that fill up.
        reach: largest angle of an event to the optical axis, radians.
    """

    columns: np.ndarray
    interval: np.ndarray
    num_nodes: int
    num_events: int
    reach: float

    def shares(self, count: int) -> list[tuple[int, int]]:
        """Spans [first, last) of columns, about equally long, cut where an interval of the trajectory begins."""
        num_vectors = len(self.interval)
        inner = self.interval[[num_vectors * k // count for k in range(1, count)] if num_vectors else []]
        cuts = np.array([0, *np.searchsorted(self.interval, inner), num_vectors]) * (LINE // DTYPE.itemsize)
        return list(pairwise(cuts.tolist()))


def sphere_events(t: np.ndarray, bearing: np.ndarray, nodes: np.ndarray, weight: float = 1.0) -> SphereEvents:
    """Sort events into the intervals of a trajectory.

    Args:
        t: (N,) seconds, sorted. bearing: (N, 2) normalised image coordinates.
        nodes: (S,) seconds, increasing, on the same clock; events outside [nodes[0], nodes[-1]) and events that are not
            finite are left out.
        weight: of every event.
    """
    lanes, finite = LINE // DTYPE.itemsize, np.isfinite(bearing.sum(dtype=np.float64))
    if not finite:
        live = np.isfinite(bearing).all(1)
        t, bearing = t[live], bearing[live]
    edges = np.searchsorted(t, nodes)
    t, bearing = t[edges[0] : edges[-1]], bearing[edges[0] : edges[-1]]
    vectors = -(-np.diff(edges) // lanes)
    starts = np.concatenate([[0], np.cumsum(vectors)])
    columns = np.zeros((4, int(starts[-1]) * lanes), DTYPE)
    radius = np.sqrt(fill(t, bearing, nodes, starts, weight, lanes, columns))
    interval = np.repeat(np.arange(len(vectors)), vectors)
    return SphereEvents(columns, interval, len(nodes), len(t), float(np.arctan(radius)))


@dataclass(frozen=True)
class SphereGrid:
    """Memory of an equirectangular image of W x W / 2 bins with B-splines of a degree for value and for gradient.

    The columns left and right of the image hold, after `fold`, what belongs across the seam.
    """

    width: int
    degree: int
    gradient: str = "functional"
    grid: Grid = field(init=False)

    def __post_init__(self) -> None:
        if self.gradient not in GRADIENT_STEP:
            raise ConfigError(
                f"gradient {self.gradient!r} does not exist here; choose one of {', '.join(GRADIENT_STEP)}"
            )
        if not (0 <= self.degree <= 3 and self.gradient_degree >= 1):
            raise ConfigError(
                f"degree {self.degree} with gradient {self.gradient} has no slope; give 1 to 3, or functional"
            )
        if self.width < 16 or self.width % 2:
            raise ConfigError(f"the panorama is {self.width} bins wide; give an even number of at least 16")
        object.__setattr__(self, "grid", Grid(self.width // 2, self.width, self.gradient_degree))

    @property
    def gradient_degree(self) -> int:
        """Degree of the B-spline that the gradient is taken with."""
        return self.degree + GRADIENT_STEP[self.gradient]

    @property
    def bins_per_radian(self) -> float:
        """Along the equator."""
        return self.width / (2 * np.pi)

    def zeros(self) -> np.ndarray:
        """Flat memory of an image."""
        return self.grid.zeros(DTYPE)

    def pixels(self, flat: np.ndarray) -> np.ndarray:
        """View (W / 2, W) of the pixels of an image."""
        return self.grid.image(flat)

    def frame(self, rotations: np.ndarray, reach: float) -> tuple[int, int, int, int, int, int, int]:
        """What events within `reach` radians of the optical axes (S, 3, 3) can touch: first and last row, first and
        last column, all padded; then width, pad and stride of the memory. All columns where the view meets the seam or
        a pole.
        """
        axis, pad, border = rotations[:, :, 2], self.grid.pad, self.gradient_degree + 1
        latitude = np.arcsin(np.clip(axis[:, 1], -1, 1))
        low, high = (float(each) * self.bins_per_radian for each in (latitude.min() - reach, latitude.max() + reach))
        middle = self.grid.height / 2 + pad
        rows = max(int(low + middle) - border, 0), min(int(high + middle) + border + 1, self.grid.rows)
        left, right = 0, self.width + 2 * pad
        cosine = float(np.cos(np.abs(latitude).max()))
        if np.sin(min(reach, np.pi / 2)) < 0.99 * cosine:
            longitude = np.arctan2(axis[:, 0], axis[:, 2])
            aside = float(np.arcsin(np.sin(reach) / cosine))
            low, high = (
                float(each) * self.bins_per_radian for each in (longitude.min() - aside, longitude.max() + aside)
            )
            middle = self.width / 2 + pad
            if low + middle > pad + border and high + middle < self.width + pad - border:
                left, right = int(low + middle) - border, int(high + middle) + border + 1
        return *rows, left, right, self.width, pad, self.grid.stride


class SphereContrast:
    """Sum of squares of the image of events on the sphere, on top of a fixed one, as a function of rotations.

    Sum_j (M_j + H_j)^2 / n - Sum_j M_j^2 / n with the map M and the n events' own image H: largest where the events
    agree with each other and with the map. The sum of an image does not change, so this is its variance up to
    constants. The gradient goes through the histogram by functional backpropagation (see `evslam.ops.bin_events`).

    Args:
        events: to be moved.
        grid: the image.
        background: flat memory of the map, folded; None for an empty one.
        helper: a second thread to share the work with; for many events, since each evaluation waits for it.
    """

    def __init__(
        self,
        events: SphereEvents,
        grid: SphereGrid,
        background: np.ndarray | None = None,
        helper: Executor | None = None,
    ) -> None:
        self.events, self.grid = events, grid
        self.background = grid.zeros() if background is None else background
        self.image = grid.zeros()
        self.coords = np.empty_like(events.columns[:2])
        self._helper, self._shares = helper, events.shares(1 if helper is None else SHARES)
        self._beside = [grid.zeros() for _ in self._shares[1:]]  # votes of all shares but the first
        scale, pad = grid.bins_per_radian, grid.grid.pad
        self.view = np.array([scale, scale, (grid.width - 1) / 2 + pad, (grid.grid.height - 1) / 2 + pad], DTYPE)
        self._forward = compile_sphere_forward(grid.degree, DTYPE)
        self._backward = compile_sphere_backward(grid.gradient_degree, DTYPE)

    def value(self, rotations: np.ndarray) -> float:
        """The contrast for rotations (S, 3, 3), R_world_cam of the nodes; `image` holds what the events can touch."""
        return self._image(rotations, self.image) / max(self.events.num_events, 1)

    def gradient(self, rotations: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The contrast; torques (S, 3) on the nodes: gradients to small rotations from the left, world axes; and the
        sum (S - 1, 3, 3) over the events of an interval of the products of their own torque.
        """
        value = self.value(rotations)
        sums = np.zeros((self.events.num_nodes - 1, SUMS))
        motion = self._motion(rotations)

        def pull_back(*span: int) -> None:  # each share has intervals, and so rows of the sums, of its own
            self._backward(self.events.columns, self.events.interval, span, motion, self.coords, self.image, sums)

        self._together(pull_back, self._shares)
        scale = 2 / max(self.events.num_events, 1)
        torque = np.zeros((self.events.num_nodes, 3))
        torque[:-1] += sums[:, :3]
        torque[1:] += sums[:, 3:6]
        products = sums[:, [6, 7, 8, 7, 9, 10, 8, 10, 11]].reshape(-1, 3, 3)
        return value, scale * torque, scale**2 * products

    def add_to(self, flat: np.ndarray, rotations: np.ndarray) -> None:
        """Vote into the flat memory of a map."""
        self.background = flat
        self._image(rotations, flat)

    def _image(self, rotations: np.ndarray, flat: np.ndarray) -> float:
        """Background and votes to flat memory; returns by how much the sum of squares has grown."""
        frame, motion = self.grid.frame(rotations, self.events.reach), self._motion(rotations)
        first, last, *rest = frame

        def vote(image: np.ndarray, span: tuple[int, int]) -> None:
            if image is flat:
                begin(self.background, flat, frame)
            else:
                image[first * self.grid.grid.stride : last * self.grid.grid.stride] = 0
            self._forward(self.events.columns, self.events.interval, span, motion, self.coords, image)

        def total(start: int, stop: int) -> float:
            for image in self._beside:
                merge(image, flat, (start, stop, *rest))
            return float(finish(self.background, flat, (start, stop, *rest)))

        images, count = [flat, *self._beside], len(self._shares)
        self._together(vote, zip(images, self._shares, strict=True))
        bands = pairwise(first + (last - first) * k // count for k in range(count + 1))
        return sum(self._together(total, bands))

    def _together(self, work: Callable[..., T], shares: Iterable[tuple[Any, ...]]) -> list[T]:
        """Results of the work on each share, the first in this thread, others by the helper."""
        first, *others = shares
        waiting = [self._helper.submit(work, *each) for each in others] if self._helper else []
        return [work(*first), *(each.result() for each in waiting)]

    def _motion(self, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        return np.ascontiguousarray(rotations, DTYPE).ravel(), self.view, self.grid.grid.stride


def bin_on_sphere(direction: Tensor, width: int, kernel: str = "quadratic", gradient: str = "functional") -> Tensor:
    """Equirectangular image (W / 2, W) of directions (N, 3) of any length, by `bin_events`: the plain twin.

    Differentiable to the directions; votes across the seam are brought home.
    """
    x, y, z = direction.unbind(1)
    scale, border = width / (2 * torch.pi), 4
    column = torch.atan2(x, z) * scale + (width - 1) / 2
    row = torch.atan2(y, torch.sqrt(x * x + z * z)) * scale + (width / 2 - 1) / 2
    coords = torch.stack([column + border, row], 1)
    image = bin_events(coords, None, (width // 2, width + 2 * border), kernel=kernel, gradient=gradient)
    inner = image[:, border : border + width].clone()
    inner[:, -border:] += image[:, :border]
    inner[:, :border] += image[:, -border:]
    return inner
