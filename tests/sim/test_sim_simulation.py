"""Whole simulated recordings."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from evslam.errors import ConfigError
from evslam.geometry.camera import Camera
from evslam.sim import SEQUENCES, SensorConfig, SimConfig, sequence, simulate, texture
from evslam.sim.config import MotionConfig
from evslam.sim.motion import Motion
from evslam.sim.panorama import cube_from_equirectangular
from evslam.sim.paths import LOOK_FORWARD
from evslam.sim.scene import Box, Scene, Texture
from evslam.types import Events, SensorSize

CAMERA = Camera(fx=40.0, fy=40.0, cx=23.5, cy=17.5, size=SensorSize(height=36, width=48), model="none", distortion=())
IDEAL = SensorConfig(c_sigma=0, refractory_us=0, eps=0, noise_hz=0, hot_pixels=0, jitter_us=0)
IDEAL = replace(IDEAL, cutoff_hz=np.inf, cutoff_min_hz=np.inf, cutoff_max_hz=np.inf)


def collect(config: SimConfig) -> Events:
    return Events.concatenate(list(simulate(config).events()))


def look_around(seed: int = 0, duration: float = 0.3) -> SimConfig:
    """A rotating camera before a natural-looking panorama."""
    image = texture.intensity(texture.natural((256, 512), np.random.default_rng(5)), 0.7)
    scene = Scene(environment=cube_from_equirectangular(image, 128))
    motion = MotionConfig("handheld", rate_deg=150, frequency_hz=1.0)
    return SimConfig(scene, motion, CAMERA, duration_s=duration, seed=seed)


def edge(direction: float) -> SimConfig:
    """A step edge at y = 0 on the plane x = 2, dark for y > 0; the camera moves along -y times direction at 1 m/s."""
    wall = np.full((64, 6400), 0.2, np.float32)
    wall[:, :3200] = 0.8
    scene = Scene((Box((2.0, 0.0, 0.0), (0.0, 4.0, 4.0), (0,) * 6),), (Texture(wall, 800.0),))
    t = np.linspace(-0.1, 1.1, 30)
    position = np.stack([np.zeros(30), direction * (0.5 - t), np.zeros(30)], axis=1)
    motion = Motion(t, position, Rotation.concatenate([LOOK_FORWARD] * 30))
    return SimConfig(scene, motion, CAMERA, IDEAL, duration_s=1.0)


@pytest.mark.parametrize(("direction", "threshold"), [(1.0, 0.27), (-1.0, 0.22)])
def test_moving_edge_fires_where_and_when_predicted(direction: float, threshold: float) -> None:
    events = collect(edge(direction))
    columns = np.arange(15, 32) if direction > 0 else np.arange(16, 32)
    number = int(np.log(4) / threshold)  # 5 ON events or 6 OFF events
    inner = np.isin(events.x, columns)
    # Moving to the right shifts the bright side (image right) to the left: pixels brighten.
    assert (events.p[inner] == (direction > 0)).all()
    counts = np.zeros((36, 48), int)
    np.add.at(counts, (events.y, events.x), 1)
    assert (counts[:, columns] == number).all()
    # Column of the edge: 23.5 + 40 * y / 2 with y = direction (.5 - t).
    for column in columns:
        crossing = 0.5 - direction * (column - 23.5) / 20
        t = events.t[events.x == column] * 1e-6
        assert t.mean() == pytest.approx(crossing, abs=0.5 / 20)
        assert t.max() - t.min() < 1.5 / 20


def test_true_motion_sharpens_the_events() -> None:
    simulation = simulate(look_around())
    events = Events.concatenate(list(simulation.events()))
    part = (events.t > 100_000) & (events.t < 160_000)
    t, x, y = events.t[part] * 1e-6, events.x[part].astype(float), events.y[part].astype(float)
    motion = simulation.motion
    rays = np.stack([(x - 23.5) / 40, (y - 17.5) / 40, np.ones_like(x)], axis=-1)
    world = np.einsum("nij,nj->ni", motion.axes(t), rays)
    warped = world @ motion.axes(np.array([0.13]))[0]
    columns, rows = (warped[:, :2] / warped[:, 2:]).T * 40 + [[23.5], [17.5]]
    assert sharpness(columns, rows) > 1.5 * sharpness(x, y)


def sharpness(x: np.ndarray, y: np.ndarray) -> float:
    """Variance of the histogram of events over the part of the image that all of them share."""
    image = np.histogram2d(y, x, bins=(np.arange(3.5, 33), np.arange(3.5, 45)))[0]
    return float(image.var() / image.mean())


def test_same_seed_same_events_and_each_reading_starts_anew() -> None:
    simulation = simulate(look_around(seed=4, duration=0.1))
    first, second = (Events.concatenate(list(simulation.events())) for _ in range(2))
    third, other = collect(look_around(seed=4, duration=0.1)), collect(look_around(seed=5, duration=0.1))
    for again in (second, third):
        for name in "txyp":
            np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert len(first) > 500
    assert len(other) != len(first) or not np.array_equal(other.t, first.t)


def test_events_stream_in_order_with_progress() -> None:
    shares: list[float] = []
    chunks = list(simulate(look_around(duration=0.2)).events(shares.append))
    t = np.concatenate([chunk.t for chunk in chunks])
    assert (np.diff(t) >= 0).all()
    assert t[0] >= 0
    assert t[-1] <= 200_000
    assert len(chunks) > 5
    np.testing.assert_allclose(shares, np.arange(1, 11) / 10)


def test_ground_truth_imu_and_depth_cover_the_recording() -> None:
    simulation = simulate(replace(edge(1.0), duration_s=0.7))
    assert simulation.trajectory.t_us[[0, 1, -1]].tolist() == [0, 5000, 700_000]
    assert simulation.imu.t_us[[0, 1, -1]].tolist() == [0, 1000, 700_000]
    np.testing.assert_allclose(simulation.trajectory.position[-1], [0, -0.2, 0], atol=1e-9)
    t_us, maps = simulation.depth()
    assert t_us.tolist() == [0, 500_000]
    assert maps.shape == (2, 36, 48)
    np.testing.assert_allclose(maps, 2.0, rtol=1e-6)


def test_pixels_without_a_ray_stay_silent() -> None:
    fisheye = Camera(16.0, 16.0, 23.5, 17.5, CAMERA.size, model="equidistant", distortion=(0.0, 0.0, 0.0, 0.0))
    config = replace(look_around(), camera=fisheye, sensor=SensorConfig(noise_hz=20.0))
    y, x = np.indices((36, 48))
    blind = np.hypot(x - 23.5, y - 17.5) > 16 * np.pi / 2 + 0.1
    events = collect(config)
    assert not blind[events.y, events.x].any()
    assert len(events) > 1000
    assert (np.isnan(simulate(config).depth()[1][0]) >= blind).all()


def test_meta_describes_the_recording() -> None:
    meta = simulate(look_around(seed=3)).meta
    assert meta["seed"] == 3
    assert (meta["width"], meta["height"]) == (48, 36)
    assert meta["calib_params"] == [40.0, 40.0, 23.5, 17.5]
    assert meta["sensor"]["c_pos"] == 0.27
    assert meta["sensor"]["hot_hz"] == [20.0, 250.0]
    assert len(meta["hot_pixels"]) == 8
    assert meta["motion"]["w_mean_deg"] == pytest.approx(150, rel=0.2)
    assert meta["imu"]["rate_hz"] == 1000
    assert len(meta["imu"]["gyro_bias0"]) == 3


@pytest.mark.parametrize("name", ["shapes_6dof", "corridor", "dynamic"])
def test_sequences_simulate(name: str) -> None:
    simulation = simulate(replace(sequence(name, seed=1, duration=0.02), camera=CAMERA))
    assert sum(len(chunk) for chunk in simulation.events()) > 5
    depth = simulation.depth()[1]
    assert np.median(depth) > 0.5
    assert simulation.images(np.array([0.01])).std() > 0.02


def test_sequence_names_and_durations() -> None:
    wanted = "demo rot_pan rot_fast poster_6dof shapes_6dof boxes_6dof slider_depth loop_room corridor dynamic"
    assert set(SEQUENCES) >= set(wanted.split())
    assert sequence("rot_pan").duration_s == 14.0
    assert sequence("slider_depth", duration=2.0).motion.speed == 0.5  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="'boxes' is unknown; did you mean 'boxes_6dof'"):
        sequence("boxes")
    with pytest.raises(ConfigError, match="duration is -1"):
        simulate(sequence("demo", duration=-1.0))
