"""The canvas holds every bearing of the sensor where pinhole geometry says."""

from __future__ import annotations

import numpy as np
import torch

from evslam.geometry.camera import Camera
from evslam.geometry.canvas import Canvas
from evslam.sim.config import DAVIS_CAMERA
from evslam.types import SensorSize


def test_canvas_pixel_leads_back_to_the_sensor_pixel() -> None:
    canvas = Canvas.of(DAVIS_CAMERA, max_width=400, margin=1 / 12)
    bearing, _ = DAVIS_CAMERA.bearing_table(torch.float64)
    sensor = np.array([[120, 90], [60, 140], [200, 30]])
    pixels = canvas.pixels(bearing[sensor[:, 1], sensor[:, 0]].numpy())
    assert np.allclose(canvas.bearings(pixels), bearing[sensor[:, 1], sensor[:, 0]].numpy())
    near = np.round(pixels).astype(int)
    assert canvas.valid[near[:, 1], near[:, 0]].all()
    back = canvas.sensor_cell[near[:, 1], near[:, 0]]
    assert np.abs(back - sensor).max() < 0.75  # half a canvas pixel away, a little compressed by the lens


def test_large_sensor_is_reduced_and_its_pixels_are_joined() -> None:
    camera = Camera(fx=1000.0, fy=1000.0, cx=639.5, cy=359.5, size=SensorSize(720, 1280))
    canvas = Canvas.of(camera, max_width=320, margin=0.1)
    assert (canvas.height, canvas.width) == (180 + 64, 320 + 64)
    assert canvas.focal == 250.0
    assert canvas.cells == (180, 320)
    assert np.bincount(canvas.cell_of_pixel).tolist() == [16] * (180 * 320)
    middle = canvas.sensor_cell[round(canvas.centre[1]), round(canvas.centre[0])]
    assert np.allclose(middle, [159.5, 89.5], atol=0.51)
    assert canvas.valid.sum() == 180 * 320
