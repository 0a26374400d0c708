"""Simulated recordings: events, poses, inertial measurements and depth of a scene, a motion and a sensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from evslam.errors import ConfigError
from evslam.sim.config import SceneConfig, SimConfig
from evslam.sim.imu import simulate_imu
from evslam.sim.motion import Motion
from evslam.sim.paths import build_motion
from evslam.sim.planner import SPAN_S, Planner
from evslam.sim.render import Renderer, Views
from evslam.sim.sensor import Sensor
from evslam.sim.workers import RowWorkers
from evslam.sim.worlds import build_scene
from evslam.types import Events, Trajectory

POSE_HZ, DEPTH_HZ = 200, 2
PIXELS_PER_BLOCK = 2_000_000  # renders are made in blocks of this many pixels, which bounds the memory
CONVENTIONS = {
    "pose": "T_world_camera (camera to world): t px py pz qx qy qz qw; camera x right, y down, z forward; "
    "world z up, gravity (0,0,-9.81)",
    "imu": "camera frame (T_cam_imu = identity), same clock; specific force R^T(a-g) in m/s^2, gyro rad/s",
    "depth": "Z along the optical axis (m) at pixel centres of the distorted image; inf = environment at infinity",
    "pixels": "integer coordinates are pixel centres, (0,0) top left, distorted",
}


class Simulation:
    """A simulated recording; build it with `simulate`.

    Attributes:
        camera: the lens; events are in its distorted pixels.
        motion: the true motion, continuous in time.
        trajectory: T_world_cam at 200 Hz. imu: camera frame, with noise and bias.
        meta: what was simulated, plain values for a YAML file.
    """

    def __init__(self, config: SimConfig) -> None:
        self._config = config
        self.camera = config.camera
        scene_seed, motion_seed, self._sensor_seed, imu_seed = np.random.SeedSequence(config.seed).spawn(4)
        table, valid = config.camera.bearing_table(torch.float64)
        self._valid = valid.numpy()
        self._bearing = np.where(self._valid[..., None], table.numpy(), 0.0)
        motion = config.motion
        if not isinstance(motion, Motion):
            motion = build_motion(motion, np.random.default_rng(motion_seed), config.duration_s)
        self.motion = motion
        scene = config.scene
        if isinstance(scene, SceneConfig):
            scene = build_scene(scene, np.random.default_rng(scene_seed), 1.0 / config.camera.fx)
        self._renderer = Renderer(scene, self._bearing)
        self.trajectory: Trajectory = self.motion.trajectory(self._times(POSE_HZ))
        self.imu, self._biases = simulate_imu(self.motion, config.imu, config.duration_s, imu_seed)
        self.meta = self._describe(scene.note)

    def _times(self, rate_hz: int) -> np.ndarray:
        """Seconds 0, 1 / rate, ... and the end of the recording."""
        t = np.arange(int(self._config.duration_s * rate_hz - 1e-6) + 1) / rate_hz
        return np.append(t, self._config.duration_s)

    def _sensor(self) -> Sensor:
        size = self.camera.size
        sensor = Sensor(self._config.sensor, size, self._sensor_seed, round(self._config.duration_s * 1e6))
        sensor.switch_off(~self._valid)
        return sensor

    def _views(self, t: np.ndarray) -> Views:
        return Views(t, self.motion.axes(t), self.motion.position(t))

    def events(self, progress: Callable[[float], None] | None = None) -> Iterator[Events]:
        """Simulate the events; each call starts anew and gives the same events.

        Arguments: progress: called with the share of the duration that is done.
        Yields: chunks sorted by time and in the order of time; memory use does not grow with the duration.
        """
        config, sensor = self._config, self._sensor()
        planner = Planner(self._renderer, self.motion, config.max_motion_px, config.max_interval_s)
        edges = np.linspace(0, config.duration_s, int(np.ceil(config.duration_s / SPAN_S)) + 1)
        with RowWorkers(self.camera.size.height) as workers:
            sensor.start(self._renderer.render(self._views(np.zeros(1)), workers)[0])
            for start, stop in pairwise(edges):
                times = planner.render_times(start, stop)
                block = max(PIXELS_PER_BLOCK // self._valid.size, 1)
                for first in range(0, len(times), block):
                    t = times[first : first + block]
                    events = sensor.advance(t * 1e6, self._renderer.render(self._views(t), workers), workers)
                    if len(events):
                        yield events
                if progress is not None:
                    progress(stop / config.duration_s)
        last = sensor.finish()
        if len(last):
            yield last

    def depth(self) -> tuple[np.ndarray, np.ndarray]:
        """Depth maps at 2 Hz.

        Returns: t_us (N,) int64 and maps (N, H, W) float32, see `meta["conventions"]`; NaN where the lens has no ray.
        """
        t = np.arange(int(self._config.duration_s * DEPTH_HZ + 1e-6) + 1) / DEPTH_HZ
        maps = [self._renderer.cast(self._views(t[i : i + 1]), self._bearing)[0] for i in range(len(t))]
        visible = np.where(self._valid, np.stack(maps), np.nan).astype(np.float32)
        return np.round(t * 1e6).astype(np.int64), visible

    def images(self, t: np.ndarray) -> np.ndarray:
        """What an ordinary camera would see: linear intensity (N, H, W) float32 in [0, 1] at t (N,) seconds."""
        with RowWorkers(self.camera.size.height) as workers:
            return self._renderer.render(self._views(np.asarray(t, np.float64)), workers)

    def _describe(self, note: str) -> dict[str, Any]:
        config, camera = self._config, self.camera
        hot = [[x, y, round(rate, 1)] for x, y, rate in self._sensor().hot_pixels]
        motion = "given" if isinstance(config.motion, Motion) else config.motion.kind
        sensor = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(config.sensor).items()}
        return {
            "name": config.name,
            "seed": config.seed,
            "simulator": "evslam.sim",
            "width": camera.size.width,
            "height": camera.size.height,
            "calib_model": camera.model,
            "calib_params": [camera.fx, camera.fy, camera.cx, camera.cy, *camera.distortion],
            "duration_s": config.duration_s,
            "hot_pixels": hot,
            "trajectory": motion,
            "motion": self.motion.summary(config.duration_s),
            "sensor": sensor,
            "imu": asdict(config.imu) | self._biases,
            "conventions": dict(CONVENTIONS),
            "note": note,
        }


def simulate(config: SimConfig) -> Simulation:
    """Set up a simulated recording; its events are made while they are read.

    Raises: ConfigError for settings that cannot be simulated.
    """
    if not 0 < config.duration_s < np.inf:
        raise ConfigError(f"duration is {config.duration_s} s; give a positive number of seconds")
    if not (config.max_motion_px > 0 and config.max_interval_s > 0):
        raise ConfigError(f"render step is {config.max_motion_px} px, {config.max_interval_s} s; give positive values")
    return Simulation(config)
