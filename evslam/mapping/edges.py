"""Semi-dense depth: edges of a keyframe's event image, and how far away they are."""

from __future__ import annotations

import cv2
import numpy as np

from evslam.geometry.canvas import Canvas
from evslam.mapping.edge_kernels import match, peaks, ridges, sweep, vote_along
from evslam.settings import EdgeConfig
from evslam.types import EdgeImage, EdgePoints

CELL = 8  # pixels, of the grid of flow and inverse depth
_FLOOR = 1e-6
_MAX_RIDGES = 6000
_FILL = ((0.6, 1.0), (1.5, 1e-2), (5.0, 1e-4))  # Gaussians in cells that fill the grid, and their weights


class EdgeMapper:
    """Makes edge images and measures depth on them.

    Args:
        canvas: image plane.
        config: limits.
    """

    def __init__(self, canvas: Canvas, config: EdgeConfig) -> None:
        self.canvas, self.config = canvas, config
        self.valid = cv2.erode(canvas.valid.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        self.camera = np.array([canvas.focal, *canvas.centre])

    def inverse_depth(self, points: np.ndarray) -> np.ndarray:
        """Inverse depth (rows, columns) of a grid of cells, filled from points (N, 3) in the camera frame."""
        canvas = self.canvas
        shape = -(-canvas.height // CELL), -(-canvas.width // CELL)
        points = points[points[:, 2] > 1e-3]
        cell = (canvas.pixels(points[:, :2] / points[:, 2:]) // CELL).astype(np.int64)
        inside = ((cell >= 0) & (cell < shape[::-1])).all(1)
        flat, inverse = cell[inside, 1] * shape[1] + cell[inside, 0], 1 / points[inside, 2]
        if not len(flat):
            return np.full(shape, 1.0, np.float32)
        count = np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)
        mean = np.bincount(flat, inverse, shape[0] * shape[1]).reshape(shape) / np.maximum(count, 1)
        known = (count > 0).astype(np.float32)
        above = np.zeros(shape, np.float32) + np.float32(1e-7 * np.median(inverse))
        below = np.full(shape, 1e-7, np.float32)
        for sigma, weight in _FILL:
            above += weight * cv2.GaussianBlur(mean.astype(np.float32), (0, 0), sigma)
            below += weight * cv2.GaussianBlur(known, (0, 0), sigma)
        return above / below

    def flow(self, twist: np.ndarray, inverse_depth: np.ndarray) -> np.ndarray:
        """Image flow (rows, columns, 2) px/s of cells under the camera's twist (v, omega) in its own frame."""
        rows, columns = inverse_depth.shape
        y, x = np.meshgrid(CELL * (np.arange(rows) + 0.5), CELL * (np.arange(columns) + 0.5), indexing="ij")
        (x, y), (v, w) = np.moveaxis(self.canvas.bearings(np.stack([x, y], -1)), -1, 0), (twist[:3], twist[3:])
        # A point at rest moves with -(v + omega x p) in the camera frame.
        dx = -(inverse_depth * v[0] + w[1] - w[2] * y)
        dy = -(inverse_depth * v[1] + w[2] * x - w[0])
        dz = -(inverse_depth * v[2] + w[0] * y - w[1] * x)
        return (self.canvas.focal * np.stack([dx - x * dz, dy - y * dz], -1)).astype(np.float32)

    def image(self, place: np.ndarray, age_s: np.ndarray, flow: np.ndarray) -> EdgeImage:
        """The edge image of events at canvas pixels (N, 2), so long ago (N,), moved along the flow of their cells."""
        votes = np.zeros((self.canvas.height, self.canvas.width), np.float32)
        vote_along(place, age_s, flow, CELL, votes)
        return self.band(votes)

    def band(self, votes: np.ndarray) -> EdgeImage:
        """The edge image of motion-compensated events, counted per pixel (H, W)."""
        sigma = self.config.sigma_px
        band = cv2.GaussianBlur(votes, (0, 0), sigma) - cv2.GaussianBlur(votes, (0, 0), 2 * sigma)
        positive = band[::2, ::2][band[::2, ::2] > 0]
        band /= np.float32(np.quantile(positive, 0.9) + _FLOOR if len(positive) else 1.0)
        return EdgeImage(band, np.where(self.valid, band.clip(0, 1), 0).astype(np.float32))

    def depth(
        self, host: EdgeImage, views: list[EdgeImage], T_view_host: np.ndarray, span: tuple[float, float]
    ) -> EdgePoints:
        """Edges of a keyframe with the depth at which most other views see an edge, too.

        Args:
            host: image of the keyframe.
            views: images of others; T_view_host (V, 4, 4).
            span: smallest and largest inverse depth to try.
        """
        config, canvas = self.config, self.canvas
        found = np.empty((_MAX_RIDGES, 2))
        pixel = found[: ridges(host.band, host.strength, self.valid, config.min_ridge, found)]
        pixel = pixel[np.unique(np.linspace(0, len(pixel) - 1, config.max_ridges).astype(int))] if len(pixel) else pixel
        ray = np.concatenate([canvas.bearings(pixel), np.ones((len(pixel), 1))], 1)
        planes = np.geomspace(*span, config.planes)
        score, seen = np.empty((2, len(pixel), config.planes), np.float32)
        images = np.stack([view.strength for view in views])
        poses = T_view_host[:, :3].astype(np.float32)
        sweep(ray.astype(np.float32), planes.astype(np.float32), poses, images, self.camera, score, seen)
        best = np.empty((len(pixel), 2))
        limits = np.array([config.min_peak, config.min_margin, config.distant_planes])
        peaks(score, seen, min(config.min_views, len(views)), limits, best)
        good = best[:, 0] >= 0
        depth = 1 / (span[0] * (span[1] / span[0]) ** (best[good, 0] / (config.planes - 1)))
        points = ray[good] * depth[:, None]
        return EdgePoints(pixel[good], points, self._tangent(host, pixel[good]), best[good, 1])

    def spread(self, edges: EdgePoints) -> EdgePoints:
        """The most confident edge point of every cell of the image."""
        cell = (edges.pixel // self.config.cell_px).astype(np.int64)
        order = np.argsort(-edges.confidence, kind="stable")
        _, first = np.unique((cell[:, 1] * 10_000 + cell[:, 0])[order], return_index=True)
        kept = order[first]
        return edges[kept]

    def find(
        self, edges: EdgePoints, T_target_host: np.ndarray, target: EdgeImage, radius: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where edge points (N) are seen in another view: pixel (N, 2), normal (N, 2), found (N,) bool."""
        out = np.zeros((len(edges.point), 5))
        threshold = self.config.min_match
        match(edges.point, edges.tangent, T_target_host, target.band, self.valid, self.camera, radius, threshold, out)
        return out[:, :2], out[:, 2:4], out[:, 4] > 0

    def _tangent(self, image: EdgeImage, pixel: np.ndarray) -> np.ndarray:
        """Direction (N, 2) in which the band-passed image bends least."""
        smooth = cv2.GaussianBlur(image.band, (0, 0), 1.0)
        column, row = np.rint(pixel).astype(int).T
        xx, xy, yy = (cv2.Sobel(smooth, cv2.CV_32F, *order)[row, column] for order in ((2, 0), (1, 1), (0, 2)))
        angle = 0.5 * np.arctan2(2 * xy, xx - yy)  # of the larger eigenvalue: the ridge bends down across, not along
        return np.stack([np.cos(angle), np.sin(angle)], 1).astype(float)
