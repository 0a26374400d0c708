"""A wall with a panel in front of it, both textured: event images of a camera that moves before them."""

from __future__ import annotations

import cv2
import map_scenes as scene
import numpy as np

from evslam.types import PointFrame

PLANES = ((4.0, (-5.0, 5.0, -4.0, 4.0)), (2.6, (-0.7, 0.5, -0.9, 0.3)))  # depth; left, right, top, bottom; far to near
_TEXELS = 100  # per unit of length
_WIDE_PX, _EDGE = 5.0, 12.0


class World:
    """Rendered views.

    Args:
        seed: of the texture.
    """

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.textures = [self._texture(rng, extent) for _, extent in PLANES]
        self.points = np.concatenate(
            [self._corners(texture, *plane) for texture, plane in zip(self.textures, PLANES, strict=True)]
        )

    @staticmethod
    def _texture(rng: np.random.Generator, extent: tuple[float, ...]) -> np.ndarray:
        """Grey patches with sharp edges."""
        left, right, top, bottom = extent
        shape = round((bottom - top) * _TEXELS), round((right - left) * _TEXELS)
        noise = cv2.GaussianBlur(rng.normal(0, 1, shape).astype(np.float32), (0, 0), 12.0)
        return np.asarray(np.digitize(noise / noise.std(), (-0.8, 0.0, 0.8)) * 60.0 + 30.0, np.float32)

    @staticmethod
    def _corners(texture: np.ndarray, depth: float, extent: tuple[float, ...]) -> np.ndarray:
        """(N, 3) points that are easy to track."""
        smooth = cv2.GaussianBlur(texture, (0, 0), 3.0)
        found = cv2.goodFeaturesToTrack(smooth, 400, 0.05, 12)[:, 0]
        return np.column_stack([found / _TEXELS + np.array([extent[0], extent[2]]), np.full(len(found), depth)])

    def view(self, T_cam_world: np.ndarray) -> np.ndarray:
        """(H, W) float32 grey values on the canvas."""
        canvas = scene.CANVAS
        lens = np.array([[canvas.focal, 0, canvas.centre[0]], [0, canvas.focal, canvas.centre[1]], [0, 0, 1]])
        image = np.zeros((canvas.height, canvas.width), np.float32)
        for texture, (depth, extent) in zip(self.textures, PLANES, strict=True):
            place = np.array([[1 / _TEXELS, 0, extent[0]], [0, 1 / _TEXELS, extent[2]], [0, 0, depth]])
            across = lens @ (T_cam_world[:3, :3] @ place + np.outer(T_cam_world[:3, 3], (0, 0, 1)))
            size = canvas.width, canvas.height
            covered = cv2.warpPerspective(np.ones_like(texture), across, size) > 0.5
            image[covered] = cv2.warpPerspective(texture, across, size)[covered]
        return image

    def frame(self, t_us: int, T_cam_world: np.ndarray, points: PointFrame) -> PointFrame:
        """Points with the images of the moment."""
        image = self.view(T_cam_world)
        signed = 128 + cv2.GaussianBlur(image, (0, 0), 1.0) - cv2.GaussianBlur(image, (0, 0), _WIDE_PX)
        return PointFrame(t_us, points.ids, points.bearing, self.votes(image), signed.clip(0, 255).astype(np.uint8))

    @staticmethod
    def votes(image: np.ndarray) -> np.ndarray:
        """(H, W) float16, events on the edges."""
        smooth = cv2.GaussianBlur(image, (0, 0), 0.7)
        steep = np.hypot(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
        return np.asarray(np.round(steep / _EDGE) * scene.CANVAS.valid, np.float16)

    def events(self, T_cam_world: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bearings (N, 2) and seconds (N,) of events that all fall in one moment."""
        votes = self.votes(self.view(T_cam_world)).astype(int)
        row, column = np.nonzero(votes)
        pixel = np.repeat(np.column_stack([column, row]), votes[row, column], axis=0).astype(float)
        return scene.CANVAS.bearings(pixel).astype(np.float32), np.zeros(len(pixel), np.float32)
