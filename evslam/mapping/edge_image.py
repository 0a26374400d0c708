"""Edge images: motion-compensated events of a moment, band-passed, so that edges stand out as thin ridges."""

from __future__ import annotations

import cv2
import numpy as np

from evslam.geometry.canvas import Canvas
from evslam.mapping.edge_kernels import CELL_PX, cell_sums, thinned, vote_flow, vote_twist
from evslam.multiview.edges import EdgeImage, EdgeLevel
from evslam.settings_mapping import EdgeConfig

_FILLS = ((0.6, 1.0), (1.5, 1e-2), (5.0, 1e-4))  # blur in cells and weight: what is near counts first
_SAMPLE = 5  # every so many pixels tell a quantile


class EdgeImager:
    """Makes edge images on a canvas.

    Attributes:
        valid: (H, W) bool, pixels far enough from where the sensor's view ends.
    """

    def __init__(self, canvas: Canvas, config: EdgeConfig) -> None:
        self.canvas, self.config = canvas, config
        size = 2 * config.border_px + 1
        self.valid = cv2.erode(canvas.valid.astype(np.uint8), np.ones((size, size), np.uint8)).astype(bool)
        self._camera = np.float32(canvas.focal), *canvas.centre.astype(np.float32)

    def with_flow(self, bearing: np.ndarray, t: np.ndarray, flow: np.ndarray) -> EdgeImage:
        """The image of events moved by an affine flow.

        Args:
            bearing: (N, 2) float32 of events around the image's time.
            t: (N,) float32, seconds after the image's time.
            flow: (6,) px/s: u' = a0 + a1 du + a2 dv, v' = a3 + a4 du + a5 dv around the canvas's centre.
        """
        votes, picked = self._blank(), thinned(len(t), self.config.max_events)
        vote_flow(bearing, t, picked, flow.astype(np.float32), self._camera, votes)
        return self.of_votes(votes, len(picked))

    def with_twist(
        self,
        bearing: np.ndarray,
        t: np.ndarray,
        twist: np.ndarray,
        grid: np.ndarray,
        hidden: np.ndarray | None = None,
    ) -> EdgeImage:
        """The image of events moved by the camera's motion.

        Args:
            bearing, t: as for `with_flow`.
            twist: (6,) (v, omega) in the camera frame, T_world_cam(t) = T_world_cam(0) exp(t twist).
            grid: inverse depths in the unit of v, see `inverse_depth_grid`.
            hidden: (H, W) bool, where something moves before the scene.
        """
        votes, picked = self._blank(), thinned(len(t), self.config.max_events)
        vote_twist(bearing, t, picked, twist.astype(np.float32), grid, self._camera, votes)
        return self.of_votes(votes, len(picked), hidden)

    def of_votes(self, votes: np.ndarray, num_events: int, hidden: np.ndarray | None = None) -> EdgeImage:
        """The image of votes (H, W) float32, without edges where it is hidden (H, W)."""
        levels, valid = [], self.valid if hidden is None else self.valid & ~hidden
        for scale in self.config.scales_px:
            band = band_pass(votes, scale)
            band *= valid
            band /= _quantile_of_positive(band, 0.9)
            levels.append(EdgeLevel(scale, band))
        return EdgeImage(tuple(levels), num_events, hidden)

    def _blank(self) -> np.ndarray:
        return np.zeros((self.canvas.height, self.canvas.width), np.float32)


def band_pass(image: np.ndarray, scale_px: float) -> np.ndarray:
    """G_s - G_2s of an image (H, W); the filter is its own transpose."""
    return cv2.GaussianBlur(image, (0, 0), scale_px) - cv2.GaussianBlur(image, (0, 0), 2 * scale_px)


def inverse_depth_grid(canvas: Canvas, pixel: np.ndarray, inverse_depth: np.ndarray) -> np.ndarray:
    """Coarse inverse depths for motion compensation: means of cells, filled smoothly between them.

    Args:
        canvas: image plane.
        pixel: (N, 2) canvas pixels of map points, those outside are ignored.
        inverse_depth: (N,) of them.

    Returns:
        (rows, columns) float32 on cells of CELL_PX pixels; zero if there are no points.
    """
    shape = canvas.height // CELL_PX + 1, canvas.width // CELL_PX + 1
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    cell_sums(pixel, inverse_depth, total, count)
    known = (count > 0).astype(np.float32)
    mean = total / np.maximum(count, 1.0)
    floor = 1e-7
    middle = float(np.median(inverse_depth)) if len(inverse_depth) else 0.0
    above, below = np.full(shape, floor * middle, np.float32), np.full(shape, floor, np.float32)
    for sigma, weight in _FILLS:
        above += weight * cv2.GaussianBlur(mean, (0, 0), sigma)
        below += weight * cv2.GaussianBlur(known, (0, 0), sigma)
    return (above / below).astype(np.float32)


def inverse_depth_at(canvas: Canvas, grid: np.ndarray, bearing: np.ndarray) -> np.ndarray:
    """(N,) float64 of an `inverse_depth_grid` at bearings (N, 2); those outside get that of the nearest cell."""
    cell = (canvas.pixels(bearing) // CELL_PX).astype(int).clip(0, np.array(grid.shape[::-1]) - 1)
    return np.asarray(grid[cell[:, 1], cell[:, 0]].astype(float))


def _quantile_of_positive(image: np.ndarray, share: float) -> np.float32:
    some = image.ravel()[::_SAMPLE]
    some = some[some > 0]
    if not len(some):
        return np.float32(1.0)
    index = int(share * (len(some) - 1))
    return np.float32(np.partition(some, index)[index] + 1e-6)
