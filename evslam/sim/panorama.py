"""Environments at infinity: a town square and a hall, built as scenes and baked into cube maps."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

from evslam.sim import texture
from evslam.sim.config import SceneConfig
from evslam.sim.render import Renderer, Views
from evslam.sim.scene import Scene, direction_grid, face_axes
from evslam.sim.stage import Stage
from evslam.sim.workers import RowWorkers

TEXELS_PER_PIXEL = 1.5  # at the centre of a face of the cube map
EYE_HEIGHT = 1.7  # metres


def face_texels(pitch: float) -> int:
    """Texels along the edge of a cube face that suit a camera of the given pixel side (bearing units)."""
    return int(np.clip(round(2 * TEXELS_PER_PIXEL / pitch), 16, 4096))


def cube_from_equirectangular(image: np.ndarray, texels: int) -> np.ndarray:
    """Cube map of an equirectangular image.

    Arguments:
        image: (H, W) linear intensity; row 0 is the zenith, column 0 world heading 0, headings grow to the right.
        texels: edge of a face.
    Returns: (6, texels + 2, texels + 2) float32, the layout of `Scene.environment`.
    """
    x, y, z = np.moveaxis(direction_grid(texels), -1, 0)
    row = (0.5 - np.arctan2(z, np.hypot(x, y)) / np.pi) * image.shape[0] - 0.5
    column = np.mod(np.arctan2(y, x) / (2 * np.pi), 1.0) * image.shape[1] - 0.5
    padded = np.pad(np.pad(image, ((0, 0), (1, 2)), mode="wrap"), ((1, 1), (0, 0)), mode="edge")
    cube = map_coordinates(padded, [row + 1, column + 1], order=1, output=np.float32)
    return np.asarray(cube)


def bake(scene: Scene, texels: int) -> np.ndarray:
    """Cube map (6, texels + 2, texels + 2) of what is seen from the origin of a scene."""
    grid = direction_grid(texels)[4]  # looking up: columns are x, rows are y
    axes = np.stack([face_axes(face) for face in range(6)])
    renderer = Renderer(scene, grid[..., :2])
    with RowWorkers(texels + 2) as workers:
        return renderer.render(Views(np.zeros(6), axes, np.zeros((6, 3))), workers)


def _sky(rng: np.random.Generator, texels: int) -> np.ndarray:
    """Cube map of a bright sky with clouds, lighter towards the horizon."""
    shape = (256, 512)
    clouds = np.clip(texture.noise(shape, rng, slope=1.6), 0, None)
    height = np.linspace(1, -1, shape[0])[:, None]
    return cube_from_equirectangular(np.clip(0.62 - 0.25 * height + 0.16 * clouds, 0, 1), min(texels, 256))


def _houses(stage: Stage, number: int) -> None:
    """Two rows of houses around the square, the further one higher."""
    rng = stage.rng
    fronts = []
    for _ in range(8):
        window = int(rng.integers(44, 64)), int(rng.integers(30, 50))
        fronts.append(stage.texture(texture.facade((640, 384), rng, window), 18.0, float(rng.uniform(0.15, 0.45))))
    angles = (np.arange(number) + rng.uniform(-0.25, 0.25, number)) * 2 * np.pi / number
    for index, angle in enumerate(angles):
        far = index % 3 == 2
        distance = rng.uniform(34, 48) if far else rng.uniform(16, 26)
        size = (rng.uniform(6, 10), rng.uniform(7, 13), rng.uniform(18, 32) if far else rng.uniform(5, 14))
        center = (distance * np.cos(angle), distance * np.sin(angle), size[2] / 2 - EYE_HEIGHT)
        stage.box(center, size, int(rng.choice(fronts)), heading=angle + rng.normal(0, 0.15))


def _street(stage: Stage, number: int) -> None:
    """Trees, lamp posts, kiosks and cars on the square."""
    rng = stage.rng
    prints = stage.pictures(6, 4.0, 48.0, finest=12.0)
    foliage = stage.texture(texture.natural((256, 256), rng, finest=5.0), 64.0, 0.12)
    post = stage.texture(0.2 * texture.noise((64, 64), rng), 32.0, 0.06)
    for angle in rng.permutation(number) * 2 * np.pi / number + rng.uniform(0, 2 * np.pi):
        distance = rng.uniform(5, 14)
        x, y = distance * np.cos(angle), distance * np.sin(angle)
        kind, turn = rng.random(), rng.uniform(0, np.pi)
        if kind < 0.25:
            stage.box((x, y, 2.5 - EYE_HEIGHT), (0.14, 0.14, 5.0), post, turn)
            stage.box((x, y, 5.0 - EYE_HEIGHT), (0.8, 0.3, 0.25), post, turn)
        elif kind < 0.55:
            top = rng.uniform(2.5, 4.5)
            stage.box((x, y, top / 2 - EYE_HEIGHT), (0.25, 0.25, top), post, turn)
            for shift in rng.uniform(-0.5, 0.5, (3, 3)):
                stage.box((x + shift[0], y + shift[1], top + shift[2] - EYE_HEIGHT), (1.6, 1.6, 1.4), foliage, turn)
        else:
            size = (rng.uniform(0.5, 3.5), rng.uniform(0.5, 1.8), rng.uniform(0.9, 2.3))
            stage.box((x, y, size[2] / 2 - EYE_HEIGHT), size, int(rng.choice(prints)), turn)


def city(config: SceneConfig, rng: np.random.Generator, pitch: float) -> Scene:
    """A town square at infinity: houses, trees, lamp posts, cars, paving, sky."""
    stage, texels = Stage(rng, config.contrast), face_texels(pitch)
    paving = stage.texture(texture.paving((1024, 1024), rng, 32), 40.0, 0.22)
    stage.box((0.0, 0.0, -EYE_HEIGHT), (160.0, 160.0, 0.0), paving)
    _houses(stage, config.num_objects)
    _street(stage, config.num_objects)
    note = f"panorama at infinity: a square with {config.num_objects} houses"
    return Scene(environment=bake(stage.finish(note, _sky(rng, texels)), texels), note=note)


def hall(config: SceneConfig, rng: np.random.Generator, pitch: float) -> Scene:
    """A furnished hall at infinity: pictures on the walls, paved floor, cupboards and crates."""
    stage = Stage(rng, config.contrast)
    stage.furnish((0.0, 0.0, 2.2 - EYE_HEIGHT), (11.0, 9.0, 4.4), pictures=0.4, density=80.0)
    prints = stage.pictures(8, 2.0, 96.0, finest=6.0)
    for angle in np.arange(config.num_objects) * 2 * np.pi / config.num_objects:
        distance = rng.uniform(2.2, 4.0)
        size = (rng.uniform(0.3, 0.9), rng.uniform(0.3, 0.9), rng.uniform(0.4, 2.0))
        center = (distance * np.cos(angle), distance * np.sin(angle), size[2] / 2 - EYE_HEIGHT)
        stage.box(center, size, int(rng.choice(prints)), rng.uniform(0, np.pi))
    note = f"panorama at infinity: a hall with {config.num_objects} pieces of furniture"
    return Scene(environment=bake(stage.finish(note), face_texels(pitch)), note=note)
