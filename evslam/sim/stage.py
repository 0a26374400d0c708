"""Putting scenes together: textures and boxes are added one by one."""

from __future__ import annotations

import numpy as np

from evslam.sim import texture
from evslam.sim.scene import Box, Scene, Sway, Texture

Vector = tuple[float, float, float]


class Stage:
    """A scene under construction."""

    def __init__(self, rng: np.random.Generator, contrast: float) -> None:
        """Arguments: rng: source of all randomness; contrast: deviation of the log intensity of the textures."""
        self.rng = rng
        self.contrast = contrast
        self._textures: list[Texture] = []
        self._boxes: list[Box] = []

    def texture(self, log_image: np.ndarray, density: float, mean: float = 0.3) -> int:
        """Add a texture (H, W) of log intensity in units of the contrast; density: texels per metre."""
        return self.linear_texture(texture.intensity(log_image, self.contrast, mean), density)

    def linear_texture(self, intensity: np.ndarray, density: float) -> int:
        """Add a texture (H, W) of linear intensity."""
        self._textures.append(Texture(intensity, density))
        return len(self._textures) - 1

    def pictures(self, number: int, side: float, density: float, finest: float = 6.0) -> list[int]:
        """Add picture-like textures of side x side metres; finest: texels, radius of the smallest detail."""
        shape = texture.texel_shape(side, side, density)
        means = self.rng.uniform(0.12, 0.45, number)
        return [self.texture(texture.natural(shape, self.rng, finest), density, float(mean)) for mean in means]

    def box(self, center: Vector, size: Vector, faces: int | list[int], heading: float = 0.0) -> None:
        """Add an upright cuboid of size (x, y, z) metres, turned by heading radians about the vertical."""
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self._boxes.append(Box(center, half, _six(faces), rotvec=(0.0, 0.0, heading)))

    def moving_box(self, center: Vector, size: Vector, faces: int | list[int], sway: Sway) -> None:
        """Add an upright cuboid that sways around its centre."""
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self._boxes.append(Box(center, half, _six(faces), sway=sway))

    def room(self, center: Vector, size: Vector, faces: int | list[int]) -> None:
        """Add a room of size (x, y, z) metres that is seen from inside."""
        half = (size[0] / 2, size[1] / 2, size[2] / 2)
        self._boxes.append(Box(center, half, _six(faces), inside=True))

    def furnish(self, center: Vector, size: Vector, pictures: float, density: float) -> None:
        """Add a room with pictures on its four walls, a paved floor and a panelled ceiling.

        Arguments: pictures: per square metre of wall; density: texels per metre.
        """
        walls = [self._wall(length, size[2], pictures, density) for length in (size[1], size[1], size[0], size[0])]
        ground = texture.texel_shape(size[0], size[1], 0.7 * density)
        floor = self.texture(texture.paving(ground, self.rng, int(0.7 * density * 0.5)), 0.7 * density, 0.2)
        shape = texture.texel_shape(size[0], size[1], 0.35 * density)
        ceiling = texture.paving(shape, self.rng, int(0.35 * density * 0.8))
        self.room(center, size, [*walls, floor, self.texture(0.5 * ceiling, 0.35 * density, 0.45)])

    def _wall(self, length: float, height: float, pictures: float, density: float) -> int:
        shape = texture.texel_shape(length, height, density)
        plain = 0.25 * texture.noise(shape, self.rng, slope=1.3) + self.rng.normal(0.3, 0.3)
        number = round(pictures * length * height)
        hung = texture.patches(plain, self.rng, number, (0.35 * density, 1.2 * density))
        foot = int((height - 0.12) * density)
        hung[foot : foot + int(0.12 * density)] = -1.5
        return self.texture(hung, density)

    def finish(self, note: str, environment: np.ndarray | None = None) -> Scene:
        """The scene; note: one line on what it shows; environment: cube map, see Scene."""
        return Scene(tuple(self._boxes), tuple(self._textures), environment, note)


def _six(faces: int | list[int]) -> tuple[int, int, int, int, int, int]:
    if isinstance(faces, int):
        return (faces, faces, faces, faces, faces, faces)
    first, second, third, fourth, fifth, sixth = faces
    return (first, second, third, fourth, fifth, sixth)
