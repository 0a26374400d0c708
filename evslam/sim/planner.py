"""When to render: as often as the image moves by a given part of a pixel, never less often than a given interval."""

from __future__ import annotations

import numpy as np

from evslam.sim.motion import Motion
from evslam.sim.render import Renderer, Views

SPAN_S = 0.02  # depth is looked up once per span
CHECK_S = 0.0005  # the image velocity is looked at this often
MAX_SKEW = 30.0  # ratio of the sides of a pixel in bearing units
GRID = (9, 12)  # rows and columns of the rays that measure depth


class Planner:
    """Finds render times from the true motion and the depth on a coarse grid of rays."""

    def __init__(self, renderer: Renderer, motion: Motion, max_motion_px: float, max_interval_s: float) -> None:
        self._renderer, self._motion = renderer, motion
        self._max_motion_px, self._max_interval_s = max_motion_px, max_interval_s
        rays = renderer.lens.rays
        height, width = rays.shape
        rows = np.linspace(0, height - 1, GRID[0]).astype(int)
        columns = np.linspace(0, width - 1, GRID[1]).astype(int)
        rays = rays[np.ix_(rows, columns)].ravel()
        steps = np.stack([rays[name] for name in ("right_x", "down_x", "right_y", "down_y")], axis=-1).reshape(-1, 2, 2)
        # Where the lens sees nothing, and next to it, the steps from ray to ray mean nothing.
        regular = np.linalg.cond(steps) < MAX_SKEW
        self._bearing = np.stack([rays["x"], rays["y"]], axis=-1)[regular]
        self._pixels_per_bearing = np.linalg.inv(steps[regular])

    def flow(self, t: np.ndarray) -> np.ndarray:
        """Largest image velocity (N,) in (distorted) pixels/s at t (N,) seconds; depth is that of t[0]."""
        view = Views(t[:1], self._motion.axes(t[:1]), self._motion.position(t[:1]))
        depth, box = self._renderer.cast(view, self._bearing)
        velocity = np.repeat(self._motion.velocity(t)[:, None], len(box), axis=1)
        hit = box >= 0
        velocity[:, hit] -= self._renderer.scene.velocities(t)[:, box[hit]]
        # Velocity of the points in the camera frame divided by their depth, P' / Z = -R^T v / Z - omega x (bx, by, 1).
        rays = np.concatenate([self._bearing, np.ones((len(box), 1))], axis=1)
        drift = -np.einsum("nji,nmj->nmi", self._motion.axes(t), velocity) / depth[:, None]
        drift -= np.cross(self._motion.angular_velocity(t)[:, None], rays)
        rate = drift[..., :2] - self._bearing * drift[..., 2:]
        return np.linalg.norm(np.einsum("mij,nmj->nmi", self._pixels_per_bearing, rate), axis=-1).max(1)

    def render_times(self, start: float, stop: float) -> np.ndarray:
        """Render times in (start, stop] in seconds, stop included; stop - start is best at most SPAN_S."""
        t = np.linspace(start, stop, int(np.ceil((stop - start) / CHECK_S)) + 1)
        density = np.maximum(self.flow(t) / self._max_motion_px, 1 / self._max_interval_s)
        renders = np.concatenate([[0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(t))])
        number = max(int(np.ceil(renders[-1])), 1)
        times = np.interp(np.arange(1, number + 1) * (renders[-1] / number), renders, t)
        times[-1] = stop
        return times
