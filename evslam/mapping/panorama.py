"""Panoramic map of a turning camera: where in the world its events came from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from evslam.ops.sphere import SphereContrast, SphereEvents, SphereGrid
from evslam.types import PointMap


class Panorama:
    """Equirectangular event counts; column is longitude atan2(X, Z), row is latitude, in the world frame.

    The world frame is the first camera frame, so the first view is in the middle. Votes are never taken back: a
    direction that was often seen weighs more and holds what is aligned with it later.

    Attributes:
        grid: columns and kernel.
        flat: memory of the image, see `SphereGrid`.
    """

    def __init__(self, grid: SphereGrid) -> None:
        self.grid = grid
        self.flat = grid.zeros()

    @property
    def image(self) -> np.ndarray:
        """(W / 2, W) float32 events per bin."""
        return self.grid.pixels(self.flat)

    def add(self, events: SphereEvents, rotations: np.ndarray) -> None:
        """Count events in the directions they came from; rotations (S, 3, 3) R_world_cam of the nodes."""
        SphereContrast(events, self.grid).add_to(self.flat, rotations)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on."""
        return {"flat": torch.from_numpy(self.flat)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the state of another panorama."""
        self.flat = state["flat"].numpy().copy()


def brightest_points(image: np.ndarray, max_points: int) -> PointMap:
    """The brightest pixels (H, W) as directions on the unit sphere, at most `max_points`; confidence by count."""
    height, width = image.shape
    counts = image.ravel()
    index = np.argsort(counts, kind="stable")[::-1][:max_points]
    index = index[counts[index] > 0]
    longitude = ((index % width + 0.5) / width - 0.5) * 2 * np.pi
    latitude = ((index // width + 0.5) / height - 0.5) * np.pi
    flat = np.cos(latitude)
    points = np.stack([np.sin(longitude) * flat, np.sin(latitude), np.cos(longitude) * flat], 1)
    full = np.quantile(counts[index], 0.95) if len(index) else 1.0
    return PointMap(points, np.minimum(counts[index] / full, 1.0).astype(np.float64))
