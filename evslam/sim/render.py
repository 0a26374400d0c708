"""Renderer: what the camera sees of a scene, in distorted pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from evslam.sim.raycast import (
    BOX,
    CAMERA,
    CONE,
    HIT,
    MAX_LEVELS,
    RAY,
    TEXTURE,
    TILE,
    Frames,
    Lens,
    World,
    cast_rays,
    render_rows,
)
from evslam.sim.scene import Scene, Texture
from evslam.sim.workers import RowWorkers

GREY = 0.3  # intensity of the environment of a scene that has none


@dataclass(frozen=True)
class Views:
    """Camera poses at N times.

    Attributes:
        t: (N,) seconds.
        axes: (N, 3, 3) R_world_cam. position: (N, 3) metres, world.
    """

    t: np.ndarray
    axes: np.ndarray
    position: np.ndarray


def build_lens(bearing: np.ndarray) -> Lens:
    """Rays, their steps and tile cones from a bearing table (H, W, 2) at pixel centres."""
    step_y, step_x = np.gradient(bearing, axis=(0, 1))
    height, width = bearing.shape[:2]
    rays = np.empty((height, width), RAY)
    rays["x"], rays["y"] = np.moveaxis(bearing, -1, 0)
    rays["right_x"], rays["right_y"] = np.moveaxis(step_x, -1, 0)
    rays["down_x"], rays["down_y"] = np.moveaxis(step_y, -1, 0)
    rays["pitch"] = np.sqrt(np.abs(rays["right_x"] * rays["down_y"] - rays["right_y"] * rays["down_x"]))
    row, column = np.indices((height, width)) // TILE
    rays["tile"] = row * (-(-width // TILE)) + column
    directions = np.concatenate([bearing, np.ones((height, width, 1))], axis=-1)
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    tiles = np.empty((-(-height // TILE), -(-width // TILE)), CONE)
    widest = rays["pitch"].max()
    for row, column in np.ndindex(tiles.shape):
        tile = directions[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE].reshape(-1, 3)
        mean = tile.mean(0)
        axis = mean / np.linalg.norm(mean)
        tiles[row, column]["axis"] = axis
        # The rays inside a pixel leave its centre by half a pixel.
        spread = min(np.arccos(min((tile @ axis).min(), 1.0)) + widest, np.pi / 2)
        tiles[row, column]["cosine"], tiles[row, column]["sine"] = np.cos(spread), np.sin(spread)
    return Lens(rays, tiles)


def _mip_levels(texture: Texture) -> list[np.ndarray]:
    """The texture and its halvings as long as they stay even."""
    levels = [np.asarray(texture.intensity, np.float32)]
    while len(levels) < MAX_LEVELS and min(levels[-1].shape) >= 8 and not np.any(np.mod(levels[-1].shape, 2)):
        rows, columns = levels[-1].shape
        levels.append(levels[-1].reshape(rows // 2, 2, columns // 2, 2).mean((1, 3), dtype=np.float32))
    return levels


def build_world(scene: Scene, pitch: float) -> World:
    """Pack the textures of a scene into arrays.

    Arguments:
        scene: what to pack.
        pitch: typical pixel side in bearing units; an environment finer than that is blurred to it.
    """
    cube = scene.environment if scene.environment is not None else np.full((6, 4, 4), GREY, np.float32)
    sigma = 0.5 * pitch / (2.0 / (cube.shape[1] - 2))
    if sigma > 0.6:
        cube = gaussian_filter(cube, (0.0, sigma, sigma), mode="nearest")
    packed = np.zeros(len(scene.textures), TEXTURE)
    texels, start = [cube.astype(np.float32).ravel()], cube.size
    for record, texture in zip(packed, scene.textures, strict=True):
        levels = _mip_levels(texture)
        record["density"], record["levels"] = texture.density, len(levels)
        for index, level in enumerate(levels):
            record["start"][index], (record["rows"][index], record["columns"][index]) = start, level.shape
            start += level.size
            texels.append(level.ravel())
    return World(packed, np.concatenate(texels), cube.shape[1])


class Renderer:
    """Renders a scene through a lens."""

    def __init__(self, scene: Scene, bearing: np.ndarray) -> None:
        """Arguments: scene; bearing: (H, W, 2) X / Z and Y / Z at the centres of the (distorted) pixels."""
        self.scene = scene
        self.lens = build_lens(np.asarray(bearing, np.float64))
        self._world = build_world(scene, float(np.median(self.lens.rays["pitch"])))
        self._turns = np.array([Rotation.from_rotvec(box.rotvec).as_matrix() for box in scene.boxes]).reshape(-1, 3, 3)
        self._boxes = np.zeros(len(scene.boxes), BOX)
        for record, box in zip(self._boxes, scene.boxes, strict=True):
            record["half"], record["faces"], record["inside"] = box.half, box.faces, box.inside
            record["radius"] = np.linalg.norm(box.half)

    def _frames(self, views: Views) -> Frames:
        boxes = np.repeat(self._boxes[None], len(views.t), axis=0)
        apart = views.position[:, None] - self.scene.centers(views.t)
        boxes["axes"] = np.einsum("nji,fjk->fnik", self._turns, views.axes)
        boxes["origin"] = np.einsum("nji,fnj->fni", self._turns, apart)
        boxes["center"] = np.einsum("fji,fnj->fni", views.axes, -apart)
        cameras = np.zeros(len(views.t), CAMERA)
        cameras["axes"] = views.axes
        return Frames(cameras, boxes)

    def render(self, views: Views, workers: RowWorkers) -> np.ndarray:
        """Linear intensity (N, H, W) float32 at N poses."""
        images = np.empty((len(views.t), *self.lens.rays.shape), np.float32)
        frames = self._frames(views)
        workers.map(self._row_job(frames, images))
        return images

    def _row_job(self, frames: Frames, images: np.ndarray) -> Callable[[int, int], None]:
        return lambda first, last: render_rows(self._world, self.lens, frames, images, first, last)

    def cast(self, view: Views, bearings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First hits of single rays.

        Arguments:
            view: one pose. bearings: (..., 2) in the camera frame.
        Returns: depth Z (...) in metres, inf for the environment; number of the box hit (...), -1 for none.
        """
        rays, hits = np.zeros(bearings.shape[:-1], RAY), np.empty(bearings.shape[:-1], HIT)
        rays["x"], rays["y"] = bearings[..., 0], bearings[..., 1]
        cast_rays(self._frames(view).boxes[0], rays.ravel(), hits.ravel())
        return hits["depth"], hits["surface"] // 6
