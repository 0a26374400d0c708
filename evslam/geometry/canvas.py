"""The canvas: an undistorted image plane with square pixels on which points and edges are tracked and mapped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from evslam.geometry.camera import Camera


@dataclass(frozen=True)
class Canvas:
    """An image plane without distortion; pixel = focal * bearing + centre.

    Attributes:
        focal: pixels per unit of bearing, along x and y.
        centre: (2,) float64, pixel (x, y) of the optical axis.
        height, width: pixels.
        valid: (height, width) bool, the sensor sees this pixel.
        sensor_cell: (height, width, 2) float32, place (x, y) of the pixel on the grid of sensor cells.
        cell_of_pixel: (sensor height * sensor width,) int32, flat index of each sensor pixel's cell.
        cells: (rows, columns) of the grid of sensor cells: the sensor's pixels, joined by k x k on large sensors.
    """

    focal: float
    centre: np.ndarray
    height: int
    width: int
    valid: np.ndarray
    sensor_cell: np.ndarray
    cell_of_pixel: np.ndarray
    cells: tuple[int, int]

    @staticmethod
    def of(camera: Camera, max_width: int, margin: float) -> Canvas:
        """The canvas of a camera: as fine as its sensor, but the sensor at most `max_width` pixels wide.

        Args:
            camera: calibrated camera.
            max_width: pixels that the sensor's width may take.
            margin: canvas beyond the sensor on each side, as a share of its width: lenses bend rays outwards.
        """
        height, width = camera.size.height, camera.size.width
        scale = min(1.0, max_width / width)
        border = round(margin * scale * width)
        shape = round(scale * height) + 2 * border, round(scale * width) + 2 * border
        focal = scale * (camera.fx + camera.fy) / 2
        centre = scale * np.array([camera.cx, camera.cy]) + border
        y, x = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
        bearing = (np.stack([x, y], -1) - centre) / focal
        rays = torch.from_numpy(np.concatenate([bearing, np.ones((*shape, 1))], -1))
        pixels, in_front = camera.project(rays)
        valid = (in_front & camera.contains(pixels)).numpy()
        join = max(round(1 / scale), 1)
        cells = -(-height // join), -(-width // join)
        row, column = np.meshgrid(np.arange(height) // join, np.arange(width) // join, indexing="ij")
        sensor_cell = ((pixels.numpy() + 0.5) / join - 0.5).astype(np.float32)
        cell_of_pixel = (row * cells[1] + column).astype(np.int32).ravel()
        return Canvas(focal, centre, *shape, valid, sensor_cell, cell_of_pixel, cells)

    def pixels(self, bearing: np.ndarray) -> np.ndarray:
        """Canvas pixels (..., 2) of bearings (..., 2)."""
        return self.focal * bearing + self.centre

    def bearings(self, pixels: np.ndarray) -> np.ndarray:
        """Bearings (..., 2) of canvas pixels (..., 2)."""
        return (pixels - self.centre) / self.focal


def inside(pixel: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """(N,) bool, whether pixels (N, 2) lie in an image where it is valid (H, W)."""
    height, width = valid.shape
    place = np.round(pixel)
    inside = (place >= 0).all(1) & (place[:, 0] < width) & (place[:, 1] < height)
    place = np.where(inside[:, None], place, 0).astype(np.int64)
    return np.asarray(inside & valid[place[:, 1], place[:, 0]])
