"""Procedural worlds by name: walls with pictures or shapes, rooms with boxes, a table, a corridor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from evslam.errors import ConfigError
from evslam.sim import texture
from evslam.sim.config import SceneConfig
from evslam.sim.panorama import city, hall
from evslam.sim.scene import Scene, Sway
from evslam.sim.stage import Stage

WALL_DISTANCE = 1.9  # metres from the origin along world x
Sizes = tuple[float, float]


def poster(config: SceneConfig, rng: np.random.Generator, pitch: float) -> Scene:
    """A rock-like poster on a wall, 1.9 m ahead of the origin."""
    stage, (width, height) = Stage(rng, config.contrast), config.size
    density = 150.0
    shape = texture.texel_shape(width, height, density)
    picture = stage.texture(texture.natural(shape, rng, finest=6.0), density)
    stage.box((WALL_DISTANCE, 0.0, 0.0), (0.0, width, height), picture)
    return stage.finish(f"poster {width} x {height} m, {WALL_DISTANCE} m ahead of the mean position")


def shapes(config: SceneConfig, rng: np.random.Generator, pitch: float) -> Scene:
    """Dark flat shapes on a bright wall, 1.9 m ahead of the origin."""
    stage, (width, height) = Stage(rng, config.contrast), config.size
    density = 120.0
    image = texture.wall_of_shapes(texture.texel_shape(width, height, density), rng, config.num_objects)
    stage.box((WALL_DISTANCE, 0.0, 0.0), (0.0, width, height), stage.linear_texture(image, density))
    return stage.finish(f"{config.num_objects} shapes on a wall, {WALL_DISTANCE} m ahead of the mean position")


def _scatter(stage: Stage, number: int, distance: Sizes, sides: Sizes, floor: float) -> None:
    """Boxes around the origin, half of them on the floor, half stacked up or hung; all values in metres."""
    rng = stage.rng
    prints = stage.pictures(16, 1.0, 200.0, finest=8.0)
    for angle in (rng.permutation(number) + rng.uniform(-0.3, 0.3, number)) * 2 * np.pi / number:
        away = rng.uniform(*distance)
        size = (rng.uniform(*sides), rng.uniform(*sides), rng.uniform(*sides))
        z = floor + size[2] / 2 if rng.random() < 0.4 else rng.uniform(floor + 0.6, 1.0)
        faces = [int(face) for face in rng.choice(prints, 6)]
        stage.box((away * np.cos(angle), away * np.sin(angle), z), size, faces, rng.uniform(0, np.pi))


def boxes(config: SceneConfig, rng: np.random.Generator, pitch: float) -> Scene:
    """A room full of textured boxes around the origin."""
    stage, (width, depth, height) = Stage(rng, config.contrast), config.size
    floor = -1.3
    stage.furnish((0.0, 0.0, floor + height / 2), (width, depth, height), pictures=0.4, density=110.0)
    _scatter(stage, config.num_objects, (1.2, 0.45 * min(width, depth)), (0.25, 0.75), floor)
    return stage.finish(f"room {width} x {depth} x {height} m with {config.num_objects} boxes")


def room(config: SceneConfig, rng: np.random.Generator, pitch: float) -> Scene:
    """A room with pictures on the walls and furniture along them; the middle is free for walking."""
    stage, (width, depth, height) = Stage(rng, config.contrast), config.size
    floor = -1.5
    stage.furnish((0.0, 0.0, floor + height / 2), (width, depth, height), pictures=0.45, density=120.0)
    prints = stage.pictures(12, 1.2, 160.0, finest=7.0)
    for angle in (np.arange(config.num_objects) + 0.5) * 2 * np.pi / config.num_objects:
        size = (rng.uniform(0.3, 0.7), rng.uniform(0.3, 1.0), rng.uniform(0.4, 2.0))
        x, y = (0.5 * side - 0.55 for side in (width, depth))
        reach = 1 / max(abs(np.cos(angle)) / x, abs(np.sin(angle)) / y)
        faces = [int(face) for face in rng.choice(prints, 6)]
        center = (reach * np.cos(angle), reach * np.sin(angle), floor + size[2] / 2)
        stage.box(center, size, faces, angle + rng.normal(0, 0.2))
    return stage.finish(f"room {width} x {depth} x {height} m with {config.num_objects} pieces of furniture")


def corridor(config: SceneConfig, rng: np.random.Generator, pitch: float) -> Scene:
    """A corridor along world x that starts behind the origin, with pictures, doors and cupboards."""
    stage, (length, width, height) = Stage(rng, config.contrast), config.size
    floor = -1.5
    stage.furnish((length / 2 - 1.5, 0.0, floor + height / 2), (length, width, height), pictures=0.4, density=90.0)
    prints = stage.pictures(8, 1.2, 130.0, finest=7.0)
    for x in np.linspace(1.5, length - 3.0, config.num_objects):
        size = (rng.uniform(0.3, 0.9), rng.uniform(0.15, 0.4), rng.uniform(0.4, 2.0))
        y = rng.choice([-1, 1]) * (width - size[1]) / 2
        stage.box((x, y, floor + size[2] / 2), size, [int(face) for face in rng.choice(prints, 6)])
    return stage.finish(f"corridor {length} x {width} x {height} m with {config.num_objects} cupboards")


def table(config: SceneConfig, rng: np.random.Generator, pitch: float) -> Scene:
    """Objects on a table 0.75 to 2.6 m ahead of the origin, before a wall with pictures."""
    stage = Stage(rng, config.contrast)
    top = -0.35
    stage.furnish((0.0, 0.0, 0.3), (6.4, 7.0, 2.8), pictures=0.4, density=130.0)
    cloth = stage.texture(texture.natural(texture.texel_shape(3.0, 3.0, 200.0), rng, 8.0), 200.0)
    stage.box((1.9, 0.0, top - 0.02), (2.4, 3.0, 0.04), cloth)
    prints = stage.pictures(14, 0.6, 320.0, finest=7.0)
    away = np.linspace(0.85, 2.7, config.num_objects)
    side = rng.permutation(np.linspace(-0.75, 0.75, config.num_objects)) * (0.45 + 0.4 * away)
    for x, y in zip(away, side, strict=True):
        size = tuple(rng.uniform(0.08, 0.18, 3) * (0.6 + 0.5 * x) * np.array([1.0, 1.0, 1.5]))
        faces = [int(face) for face in rng.choice(prints, 6)]
        stage.box((x, y, top + size[2] / 2), size, faces, rng.uniform(0, np.pi))
    return stage.finish(f"table with {config.num_objects} objects at 0.8-2.7 m")


def crossing(config: SceneConfig, rng: np.random.Generator, pitch: float) -> Scene:
    """A room with boxes in which one cuboid moves to and fro 1.4 m ahead of the origin."""
    stage, (width, depth, height) = Stage(rng, config.contrast), config.size
    floor = -1.3
    stage.furnish((0.0, 0.0, floor + height / 2), (width, depth, height), pictures=0.4, density=110.0)
    _scatter(stage, config.num_objects, (2.0, 0.45 * min(width, depth)), (0.25, 0.75), floor)
    phase = rng.uniform(0, 2 * np.pi, 3)
    sway = Sway((0.1, 0.5, 0.12), (0.11, 0.17, 0.23), (phase[0], phase[1], phase[2]))
    stage.moving_box((1.5, 0.0, -0.05), (0.36, 0.42, 0.62), stage.pictures(6, 0.64, 250.0, finest=8.0), sway)
    return stage.finish("room with boxes; one cuboid 0.36 x 0.42 x 0.62 m moves at about 1.4 m")


WORLDS: dict[str, Callable[[SceneConfig, np.random.Generator, float], Scene]] = {
    "city": city,
    "hall": hall,
    "poster": poster,
    "shapes": shapes,
    "boxes": boxes,
    "room": room,
    "corridor": corridor,
    "table": table,
    "crossing": crossing,
}


def build_scene(config: SceneConfig, rng: np.random.Generator, pitch: float) -> Scene:
    """Build a world.

    Arguments: config: which and how; rng: decides layout and textures; pitch: radians per pixel of the camera,
        which sets the resolution of a panorama.
    Raises: ConfigError for an unknown kind.
    """
    if config.kind not in WORLDS:
        raise ConfigError(f"scene kind '{config.kind}' is unknown; use one of {', '.join(WORLDS)}")
    return WORLDS[config.kind](config, rng, pitch)
