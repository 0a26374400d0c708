"""Pose by the contrast of the union of a moment's events and the projected map, differentiated through the binning.

The events are compensated once, with the motion that the motion model expects; the map's points are binned at the pose
in question. Both images are added and band-passed, and the pose is where the sum of squares is largest: where the map's
edges fall on the events' edges. The gradient goes through the histogram of the map by functional backpropagation.
The map's own contrast must not decide, so that its votes weigh little.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from evslam.geometry.canvas import Canvas
from evslam.mapping.edge_image import EdgeImager, band_pass
from evslam.multiview.edges import EdgeImage, EdgeLevel
from evslam.ops import bin_events
from evslam.settings_mapping import UnionConfig

_MIN_POINTS = 50


class UnionContrast:
    """The objective at one scale, as a function of a pose.

    Args:
        canvas: image plane.
        level: band-passed events.
        points: (N, 3) world, on edges.
        T_cam_world: (4, 4) at which the votes of the map are weighed.
        config: weight, bin kernel and gradient estimator.
    """

    def __init__(
        self, canvas: Canvas, level: EdgeLevel, points: np.ndarray, T_cam_world: np.ndarray, config: UnionConfig
    ) -> None:
        self.canvas, self.level, self.points, self.config = canvas, level, points, config
        band = band_pass(self._votes(self._pixels(T_cam_world)[0]).detach().numpy(), self.level.scale_px)
        positive = band[band > 0]
        self.weight = config.map_weight / float(np.quantile(positive, 0.9)) if len(positive) else 0.0
        self.energy = float((level.band**2).sum())

    def value_and_gradient(self, T_cam_world: np.ndarray) -> tuple[float, np.ndarray]:
        """Contrast over that of the events alone, and its gradient (6,) by a twist on the left of the pose."""
        pixels, rows = self._pixels(T_cam_world)
        place = torch.from_numpy(pixels).requires_grad_()
        votes = self._votes(place)
        union = self.level.band + self.weight * band_pass(votes.detach().numpy(), self.level.scale_px)
        votes.backward(torch.from_numpy(2 * self.weight / self.energy * band_pass(union, self.level.scale_px)))
        assert place.grad is not None
        slope = np.einsum("nk,nkt->t", place.grad.numpy().astype(float), rows)
        return float((union**2).sum()) / self.energy, slope

    def metric(self, T_cam_world: np.ndarray) -> np.ndarray:
        """(6, 6) mean square displacement in pixels by a twist."""
        rows = self._pixels(T_cam_world)[1]
        return np.einsum("nka,nkb->ab", rows, rows) / max(len(rows), 1)

    def _votes(self, place: torch.Tensor | np.ndarray) -> torch.Tensor:
        shape = (self.canvas.height, self.canvas.width)
        coords = place if isinstance(place, torch.Tensor) else torch.from_numpy(place)
        return bin_events(coords, None, shape, kernel=self.config.kernel, gradient=self.config.gradient)

    def _pixels(self, T_cam_world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels (M, 2) float32 of the points in front, and their derivatives (M, 2, 6) by a twist on the left."""
        camera = self.points @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
        x, y, z = camera[camera[:, 2] > 1e-3].T
        focal, none = self.canvas.focal, np.zeros_like(x)
        a, b, c = focal / z, -focal * x / z**2, -focal * y / z**2
        u = np.stack([a, none, b, b * y, a * z - b * x, -a * y], -1)
        v = np.stack([none, a, c, c * y - a * z, -c * x, a * x], -1)
        pixels = self.canvas.pixels(np.stack([x / z, y / z], -1)).astype(np.float32)
        return pixels, np.stack([u, v], 1)


def align_by_contrast(
    imager: EdgeImager, image: EdgeImage, points: np.ndarray, T_cam_world: np.ndarray, config: UnionConfig
) -> np.ndarray | None:
    """T_cam_world (4, 4) of largest union contrast near a start, coarse to fine; None when few points are in view.

    Args:
        imager: canvas.
        image: edge image of the moment.
        points: (N, 3) world, on edges.
        T_cam_world: (4, 4) to start from, a few pixels off at most.
        config: weight of the map, binning, evaluations.
    """
    if len(points) < _MIN_POINTS:
        return None
    for level in image.levels:
        contrast = UnionContrast(imager.canvas, level, points, T_cam_world, config)
        metric = contrast.metric(T_cam_world) + 1e-9 * np.eye(6)
        unit = np.linalg.inv(np.linalg.cholesky(metric)).T  # one unit moves the points by one pixel RMS
        most, function = config.max_evaluations, _negative(contrast, T_cam_world, unit)
        found = minimize(function, np.zeros(6), (), "L-BFGS-B", True, options={"maxfun": most, "maxiter": most})
        if np.linalg.norm(found.x) > config.max_step_px:
            return None
        T_cam_world = _moved(T_cam_world, unit @ found.x)
    return T_cam_world


def _negative(
    contrast: UnionContrast, start: np.ndarray, unit: np.ndarray
) -> Callable[[np.ndarray], tuple[float, np.ndarray]]:
    """The function to minimise over steps (6,) in pixels; its gradient is exact for small turns."""

    def function(step: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = contrast.value_and_gradient(_moved(start, unit @ step))
        return -value, -unit.T @ slope

    return function


def _moved(pose: np.ndarray, twist: np.ndarray) -> np.ndarray:
    """exp(omega) and v on the left of a pose (4, 4)."""
    change = np.eye(4)
    change[:3, :3], change[:3, 3] = Rotation.from_rotvec(twist[3:]).as_matrix(), twist[:3]
    return change @ pose
