"""Tracks held against true depth and poses."""

from __future__ import annotations

import numpy as np
import pytest

from evslam.eval.bench.tracks import errors
from evslam.geometry.camera import Camera
from evslam.geometry.canvas import Canvas
from evslam.types import PointFrame, SensorSize

CAMERA = Camera(200.0, 200.0, 119.5, 89.5, size=SensorSize(height=180, width=240))
CANVAS = Canvas.of(CAMERA, 240, 0.0)
DEPTH, SPEED = 2.0, 1.0  # metres; metres per second to the right


class Wall:
    """A wall that a camera moves along."""

    canvas = CANVAS
    t_us = np.array([100_000])

    def T_world_cam(self, t_us: int) -> np.ndarray:
        """(4, 4)."""
        pose = np.eye(4)
        pose[0, 3] = SPEED * (t_us - 100_000) * 1e-6
        return pose

    def depth(self, k: int, pixel: np.ndarray) -> np.ndarray:
        """Steps of depth every two pixels in the left half."""
        return np.where(pixel[:, 0] < 120, 1.0 + 0.5 * (pixel[:, 0] // 2 % 2), DEPTH)


def frames(along_px: float, across_px: float) -> list[PointFrame]:
    """Points of the wall in images of every 10 ms, and how far those after the first are off."""
    x, y = np.meshgrid(np.arange(20.0, 230.0, 20.0), np.arange(20.0, 170.0, 20.0))
    first, found = np.stack([x.ravel(), y.ravel()], 1), [PointFrame(90_000, np.zeros(0, np.int64), np.zeros((0, 2)))]
    for t_us in range(100_000, 300_000, 10_000):
        place = first - np.array([CANVAS.focal / DEPTH * SPEED * (t_us - 100_000) * 1e-6, 0.0])
        if t_us > 100_000:
            place += np.array([-along_px, -across_px])
        found.append(PointFrame(t_us, np.arange(len(first)), CANVAS.bearings(place)))
    return found


@pytest.mark.parametrize(("along_px", "across_px"), [(0.0, 0.0), (-0.8, 0.0), (0.3, -0.5)])
def test_errors_are_told_along_and_across_the_motion(along_px: float, across_px: float) -> None:
    found = errors(Wall(), 0, frames(along_px, across_px))  # type: ignore[arg-type]
    assert len(found) == 40 * 9  # five columns and eight rows in the right half; 110 to 190 ms after the first
    assert np.allclose(found, [along_px, across_px], atol=1e-6)


def test_frames_without_points_tell_nothing() -> None:
    assert errors(Wall(), 0, frames(0.0, 0.0)[:1]).shape == (0, 2)  # type: ignore[arg-type]
