"""Rays, depth, textures and environments."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from evslam.errors import ConfigError
from evslam.sim import texture
from evslam.sim.config import DAVIS_CAMERA, MotionConfig, SceneConfig
from evslam.sim.motion import Motion
from evslam.sim.panorama import cube_from_equirectangular
from evslam.sim.paths import LOOK_FORWARD, build_motion
from evslam.sim.planner import Planner
from evslam.sim.render import GREY, Renderer, Views
from evslam.sim.scene import Box, Scene, Sway, Texture, direction_grid
from evslam.sim.workers import RowWorkers
from evslam.sim.worlds import build_scene

HEIGHT, WIDTH, FOCAL = 36, 48, 40.0
GREYS = tuple(Texture(np.full((64, 64), value, np.float32), 10.0) for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6))


def pinhole() -> np.ndarray:
    y, x = np.indices((HEIGHT, WIDTH))
    return np.stack([(x - 23.5) / FOCAL, (y - 17.5) / FOCAL], axis=-1)


def look_along_x(*position: float) -> Views:
    """A view along world x: image right is -y, down is -z."""
    return Views(np.zeros(1), LOOK_FORWARD.as_matrix()[None], np.array([position]))


def render(scene: Scene, view: Views) -> np.ndarray:
    with RowWorkers(HEIGHT) as workers:
        return Renderer(scene, pinhole()).render(view, workers)[0]


def test_depth_of_a_tilted_plane_through_a_real_lens() -> None:
    bearing = DAVIS_CAMERA.bearing_table(torch.float64)[0].numpy()
    angle = np.deg2rad(25)
    wall = Box((2.0, 0.0, 0.0), (0.0, 50.0, 50.0), (0,) * 6, rotvec=(0.0, 0.0, angle))
    depth, box = Renderer(Scene((wall,), GREYS), bearing).cast(look_along_x(0.3, 0.1, 0.2), bearing)
    # Normal (cos, sin, 0), point (2, 0, 0); the ray is (1, -x, -y) in world axes.
    expected = (1.7 * np.cos(angle) - 0.1 * np.sin(angle)) / (np.cos(angle) - bearing[..., 0] * np.sin(angle))
    np.testing.assert_allclose(depth, expected, rtol=1e-12)
    assert (box == 0).all()


def test_depth_of_a_box_in_a_room() -> None:
    crate = Box((3.0, 0.0, 0.0), (0.5, 0.4, 0.3), (0,) * 6)
    room = Box((0.0, 0.0, 0.0), (4.0, 1.5, 1.2), (1,) * 6, inside=True)
    bearing = pinhole()
    depth, box = Renderer(Scene((crate, room), GREYS), bearing).cast(look_along_x(0.0, 0.0, 0.0), bearing)
    x, y = np.abs(bearing[..., 0]), np.abs(bearing[..., 1])
    walls = np.minimum(4.0, np.minimum(1.5 / x, 1.2 / y))
    front = (2.5 * x < 0.4) & (2.5 * y < 0.3)
    np.testing.assert_allclose(depth, np.where(front, 2.5, walls), rtol=1e-12)
    assert (box == np.where(front, 0, 1)).all()


def test_nothing_is_infinitely_far_and_grey() -> None:
    renderer = Renderer(Scene(), pinhole())
    depth, box = renderer.cast(look_along_x(0, 0, 0), pinhole())
    assert np.isinf(depth).all()
    assert (box == -1).all()
    np.testing.assert_allclose(render(Scene(), look_along_x(0, 0, 0)), GREY, rtol=1e-6)


def test_each_face_shows_its_own_texture() -> None:
    crate = Box((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0, 1, 2, 3, 4, 5))
    image = render(Scene((crate,), GREYS), look_along_x(-2.0, 0.0, 0.0))
    assert image[18, 24] == pytest.approx(0.1)
    inside = Box((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0, 1, 2, 3, 4, 5), inside=True)
    image = render(Scene((inside,), GREYS), look_along_x(0.0, 0.0, 0.0))
    # Ahead +x, image left +y, image top +z.
    assert image[18, 24] == pytest.approx(0.2)
    wide = render(Scene((inside,), GREYS), look_along_x(-0.4, 0.4, 0.4))
    assert wide[18, 0] == pytest.approx(0.4)
    assert wide[0, 24] == pytest.approx(0.6)


def test_texture_lies_where_it_should_and_is_bilinear() -> None:
    ramp = np.tile(np.linspace(0.1, 0.9, 64, dtype=np.float32), (64, 1))
    wall = Box((2.0, 0.0, 0.0), (0.0, 3.2, 3.2), (0,) * 6)
    image = render(Scene((wall,), (Texture(ramp, 10.0),)), look_along_x(0.0, 0.0, 0.0))
    y = -2.0 * pinhole()[..., 0]  # world y of each pixel; texel centres at (i + .5) / 10 - 3.2
    np.testing.assert_allclose(image, 0.1 + 0.8 * ((y + 3.2) * 10 - 0.5) / 63, atol=2e-4)


def test_fine_texture_far_away_is_averaged() -> None:
    fine = (np.indices((256, 256)).sum(0) % 2).astype(np.float32)
    wall = Box((5.0, 0.0, 0.0), (0.0, 50.0, 50.0), (0,) * 6)
    np.testing.assert_allclose(render(Scene((wall,), (Texture(fine, 200.0),)), look_along_x(0, 0, 0)), 0.5, atol=1e-3)


def test_pixels_on_an_outline_are_mixed() -> None:
    crate = Box((2.0, 0.0125, 0.0), (0.1, 0.5, 0.5), (0,) * 6)
    row = render(Scene((crate,), GREYS), look_along_x(0.0, 0.0, 0.0))[18]
    mixed = row[(row > 0.101) & (row < GREY - 0.001)]
    assert 1 <= len(mixed) <= 4


def test_environment_shows_the_direction() -> None:
    x, y, z = np.moveaxis(direction_grid(64), -1, 0)
    height = z / np.sqrt(x * x + y * y + z * z)
    image = render(Scene(environment=(0.5 + 0.4 * height).astype(np.float32)), look_along_x(7.0, -3.0, 2.0))
    rays = np.concatenate([pinhole(), np.ones((HEIGHT, WIDTH, 1))], axis=-1)
    np.testing.assert_allclose(image, 0.5 - 0.4 * rays[..., 1] / np.linalg.norm(rays, axis=-1), atol=1e-3)


def test_cube_map_of_an_equirectangular_image() -> None:
    row, column = np.indices((128, 256))
    heading = (column + 0.5) / 256 * 2 * np.pi
    cube = cube_from_equirectangular(np.cos(heading) * np.sin((row + 0.5) / 128 * np.pi), 32)
    grid = direction_grid(32)
    np.testing.assert_allclose(cube, grid[..., 0] / np.linalg.norm(grid, axis=-1), atol=2e-3)


def test_moving_box_moves_and_its_velocity_is_the_derivative() -> None:
    sway = Sway((0.1, 0.5, 0.2), (0.3, 0.2, 0.5), (0.0, 1.0, 2.0))
    scene = Scene((Box((1.5, 0.0, 0.0), (0.1, 0.1, 0.1), (0,) * 6, sway=sway),), GREYS)
    t, h = np.array([0.4, 2.0]), 1e-5
    slope = (scene.centers(t + h) - scene.centers(t - h)) / (2 * h)
    np.testing.assert_allclose(scene.velocities(t), slope, atol=1e-8)
    assert np.abs(slope).max() > 0.1


def test_images_move_at_most_the_given_part_of_a_pixel_between_renders() -> None:
    motion = build_motion(MotionConfig("handheld", speed=1.0, rate_deg=200), np.random.default_rng(0), 0.5)
    wall = Box((1.0, 0.0, 0.0), (0.0, 50.0, 50.0), (0,) * 6)
    renderer = Renderer(Scene((wall,), GREYS), pinhole())
    times = np.append(0.1, Planner(renderer, motion, 0.5, 0.005).render_times(0.1, 0.12))
    assert times[-1] == 0.12
    assert (np.diff(times) > 0).all()
    moved = [pixel_motion(motion, pinhole(), t0, t1) for t0, t1 in pairwise(times)]
    assert 0.35 < max(moved) < 0.55


def pixel_motion(motion: Motion, bearing: np.ndarray, t0: float, t1: float) -> float:
    """Largest motion in pixels of points on the wall x = 1 between two times."""
    axes, position = motion.axes(np.array([t0, t1])), motion.position(np.array([t0, t1]))
    rays = np.concatenate([bearing, np.ones((*bearing.shape[:2], 1))], axis=-1) @ axes[0].T
    points = position[0] + rays * ((1.0 - position[0, 0]) / rays[..., :1])
    seen = (points - position[1]) @ axes[1]
    return float(FOCAL * np.linalg.norm(seen[..., :2] / seen[..., 2:] - bearing, axis=-1).max())


def test_natural_texture_has_the_spectrum_of_natural_images() -> None:
    image = texture.natural((256, 256), np.random.default_rng(0))
    power = np.abs(np.fft.fft2(image)) ** 2
    frequency = np.hypot(np.fft.fftfreq(256)[:, None], np.fft.fftfreq(256)[None])
    bands = [power[(frequency > low) & (frequency < 1.3 * low)].mean() for low in (0.02, 0.04, 0.08, 0.16)]
    slopes = np.diff(np.log2(bands))
    assert (slopes < -0.7).all()
    assert (slopes > -4).all()


def test_unknown_scene_is_named() -> None:
    with pytest.raises(ConfigError, match="scene kind 'moon' is unknown; use one of city"):
        build_scene(SceneConfig("moon"), np.random.default_rng(0), 0.005)
