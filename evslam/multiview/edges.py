"""Edge images of keyframes and the points on their edges: the data of semi-dense mapping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evslam.geometry.canvas import Canvas


@dataclass(frozen=True)
class EdgeLevel:
    """An edge image at one scale.

    Attributes:
        scale_px: s of the band-pass G_s - G_2s.
        band: (H, W) float32, band-passed votes over the 90 % quantile of the positive ones; zero where the sensor does
            not see.
    """

    scale_px: float
    band: np.ndarray

    @property
    def strength(self) -> np.ndarray:
        """(H, W) float32, the band cut to [0, 1]."""
        return self.band.clip(0.0, 1.0)


@dataclass(frozen=True)
class EdgeImage:
    """The edges that a camera saw at a moment.

    Attributes:
        levels: from coarse to fine.
        num_events: that voted.
        hidden: (H, W) bool, where something moves before the scene; None for nowhere.
    """

    levels: tuple[EdgeLevel, ...]
    num_events: int
    hidden: np.ndarray | None = None

    @property
    def band(self) -> np.ndarray:
        """(H, W) float32 of the finest level."""
        return self.levels[-1].band

    @property
    def strength(self) -> np.ndarray:
        """(H, W) float32 of the finest level, in [0, 1]."""
        return self.levels[-1].strength


@dataclass(frozen=True)
class EdgePoints:
    """Points on edges, seen by the keyframe that hosts them.

    Attributes:
        pixel: (N, 2) float64, canvas pixels in the host.
        inverse_depth: (N,) float64, 1 / Z in the host frame.
        sigma: (N,) float64, standard deviation of the inverse depth.
        tangent: (N, 2) float64, unit vector along the edge in the host's image.
        confidence: (N,) float64, lead of the depth over the best different one, in [0, 1].
    """

    pixel: np.ndarray
    inverse_depth: np.ndarray
    sigma: np.ndarray
    tangent: np.ndarray
    confidence: np.ndarray

    def __len__(self) -> int:
        return len(self.pixel)

    def __getitem__(self, index: np.ndarray) -> EdgePoints:
        """The points of an index or mask."""
        return EdgePoints(
            self.pixel[index], self.inverse_depth[index], self.sigma[index], self.tangent[index], self.confidence[index]
        )

    def points(self, canvas: Canvas) -> np.ndarray:
        """(N, 3) float64 in the host frame."""
        bearing = canvas.bearings(self.pixel)
        return np.column_stack([bearing, np.ones(len(bearing))]) / self.inverse_depth[:, None]

    def lines(self, canvas: Canvas) -> np.ndarray:
        """(N, 5) float64: points in the host frame, and the tangents."""
        return np.column_stack([self.points(canvas), self.tangent])
