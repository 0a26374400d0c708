"""A camera before a plane with short lines on it: edge images whose every depth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from evslam.config import load_config
from evslam.geometry.camera import Camera
from evslam.geometry.canvas import Canvas
from evslam.mapping.edge_image import EdgeImager
from evslam.mapping.edge_kernels import vote_flow
from evslam.multiview.edges import EdgeImage
from evslam.types import SensorSize

DEPTH = 2.0
CAMERA = Camera(fx=200.0, fy=200.0, cx=119.5, cy=89.5, size=SensorSize(180, 240))


def imager() -> EdgeImager:
    """An imager with the default settings, and a coarse scale to climb on."""
    edges = replace(load_config().edges, scales_px=(1.5, 0.8))
    return EdgeImager(Canvas.of(CAMERA, max_width=400, margin=1 / 12), edges)


def lines(seed: int = 1, number: int = 60) -> np.ndarray:
    """(M, 3) points along lines of random directions on the plane z = DEPTH."""
    rng = np.random.default_rng(seed)
    middle, angle = rng.uniform((-1.3, -1.0), (1.3, 1.0), (number, 2)), rng.uniform(0, np.pi, number)
    along = np.linspace(-0.15, 0.15, 120)[None, :, None] * np.stack([np.cos(angle), np.sin(angle)], 1)[:, None]
    plane = (middle[:, None] + along).reshape(-1, 2)
    return np.column_stack([plane, np.full(len(plane), DEPTH)])


def image_from(
    imager: EdgeImager, points: np.ndarray, T_cam_world: np.ndarray, hidden: np.ndarray | None = None
) -> EdgeImage:
    """The edge image of points (M, 3) from a pose, each of them an event; nothing is seen where it is hidden."""
    camera = points @ T_cam_world[:3, :3].T + T_cam_world[:3, 3]
    bearing = (camera[:, :2] / camera[:, 2:]).astype(np.float32)
    votes = np.zeros((imager.canvas.height, imager.canvas.width), np.float32)
    canvas = tuple(np.float32([imager.canvas.focal, *imager.canvas.centre]))
    still = np.zeros(6, np.float32)
    vote_flow(bearing, np.zeros(len(bearing), np.float32), np.arange(len(bearing)), still, canvas, votes)
    return imager.of_votes(votes, len(bearing), hidden)


def moved(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """(4, 4) pose of the world in a camera that moved by -(x, y, z)."""
    pose = np.eye(4)
    pose[:3, 3] = x, y, z
    return pose
