"""The trajectory of a turning camera: a spline that grows with the batches, and the events that hold it."""

from __future__ import annotations

import math
from bisect import bisect_right
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from evslam.backend.rotation_adjustment import Priors, SplineContrast, sharpen
from evslam.errors import ConfigError
from evslam.geometry.spline import RotationSpline
from evslam.ops.kernels import DEGREE
from evslam.ops.sphere import SphereContrast, SphereEvents, SphereGrid, sphere_events
from evslam.settings import AdjustConfig
from evslam.types import EventBatch, Trajectory

SPLINE_DEGREE = 3
_US = 1e-6


class RotationTrajectory:
    """Cumulative cubic B-spline on SO(3) whose knots lie closer where the camera turns faster.

    Args:
        config: knots, thinning of events, evaluations.
        focal: pixels per radian of the sensor.
        start_us: where the trajectory begins; its first rotation is the identity.
        omega: (3,) rad/s, how it begins.
    """

    def __init__(self, config: AdjustConfig, focal: float, start_us: int, omega: np.ndarray) -> None:
        self.config, self.focal, self.start_us = config, focal, start_us
        self.speed = float(np.linalg.norm(omega))  # rad/s; falls slowly, because a turn of the hand is not a rest
        step = self._spacing(self.speed)
        self.knots = [step * k for k in range(-SPLINE_DEGREE, SPLINE_DEGREE + 2)]
        times = step * np.arange(-1, SPLINE_DEGREE)
        self.control = list(Rotation.from_rotvec(times[:, None] * omega).as_quat())
        self.retired = 0  # knot intervals whose events have gone to the panorama
        self.recent = np.empty(0), np.empty((0, 2), np.float32)
        self.kept: list[tuple[np.ndarray, np.ndarray]] = []
        self.gaps: list[tuple[float, float]] = []  # seconds [start, stop] without events, see `Priors`
        self.stride = 1  # of the kept events, for the refinement at the end

    @property
    def num_intervals(self) -> int:
        """Knot intervals of the whole span."""
        return len(self.knots) - 2 * SPLINE_DEGREE - 1

    def spline(self, first: int = 0) -> RotationSpline:
        """The spline from knot interval `first` to its end."""
        knots, control = np.array(self.knots[first:]), np.array(self.control[first:])
        return RotationSpline(knots, Rotation.from_quat(control), SPLINE_DEGREE)

    def poses(self, t_us: np.ndarray) -> np.ndarray:
        """T_world_cam (M, 7) at increasing times (M,) that the spline covers; the position is the origin."""
        t = (t_us - self.start_us) * _US
        quaternions = self._around(t[0]).quaternions(t)
        return np.concatenate([np.zeros_like(quaternions[:, :3]), quaternions], 1)

    def sampled(self, start_us: int, stop_us: int) -> Trajectory:
        """Poses at all multiples of `pose_interval_us` in [start_us, stop_us), or else in the middle."""
        step = self.config.pose_interval_us
        t_us = np.arange(-(-start_us // step) * step, stop_us, step)
        t_us = t_us if len(t_us) else np.array([(start_us + stop_us) // 2])
        return Trajectory(t_us, self.poses(t_us))

    def times_us(self, step_us: int) -> np.ndarray:
        """(M,) times of the span, `step_us` apart, that lie in no gap."""
        t_us = np.arange(self.start_us, self.start_us + int(self.knots[-SPLINE_DEGREE - 1] / _US), step_us)
        t = (t_us - self.start_us) * _US
        measured = np.ones(len(t), bool)
        for start, stop in self.gaps:
            measured &= (t < start) | (t > stop)
        return t_us[measured]

    def omega(self, t_us: np.ndarray) -> np.ndarray:
        """(M, 3) angular velocity in camera axes, rad/s, at increasing times (M,) that the spline covers."""
        t = (t_us - self.start_us) * _US
        return self._around(t[0]).angular_velocity(t)

    def extend(self, batch: EventBatch, omega: np.ndarray) -> None:
        """Grow to the end of a batch, which follows the last one without gap, at angular velocity omega (3,) rad/s."""
        start, stop = ((us - self.start_us) * _US for us in (batch.start_us, batch.stop_us))
        decayed = self.speed * math.exp((start - stop) / self.config.speed_decay_s)
        self.speed = max(float(np.linalg.norm(omega)), decayed)
        while self.knots[-SPLINE_DEGREE - 1] < stop:
            self.knots.append(self.knots[-1] + self._spacing(self.speed))
            self.control.append(self.control[-1])
        self._extrapolate(start, omega)

    def take(self, batch: EventBatch) -> None:
        """Take the events of the newest batch, thinned."""
        duration = batch.duration_s
        few = batch.thinned(max(round(self.config.events_per_knot * duration / self._spacing(self.speed)), 1))
        t = few.t.cpu().numpy().astype(np.float64) + (batch.t_ref_us - self.start_us) * _US
        self.recent = np.concatenate([self.recent[0], t]), np.concatenate([self.recent[1], few.bearing.cpu().numpy()])

    def skip(self, batch: EventBatch) -> None:
        """Do without the events of the newest batch: there the trajectory keeps the shape that it has been given."""
        start, stop = ((us - self.start_us) * _US for us in (batch.start_us, batch.stop_us))
        if self.gaps and self.gaps[-1][1] == start:
            start, _ = self.gaps.pop()
        self.gaps.append((start, stop))

    def packet(self, batch: EventBatch, max_events: int) -> tuple[SphereEvents, np.ndarray]:
        """A few events of a batch between nodes, and the rotations (S, 3, 3) of the nodes."""
        few = batch.thinned(max_events)
        start, stop = ((us - self.start_us) * _US for us in (batch.start_us, batch.stop_us))
        nodes = np.linspace(start, stop, self.config.nodes_per_knot + 1)
        t = few.t.cpu().numpy().astype(np.float64) + (batch.t_ref_us - self.start_us) * _US
        return sphere_events(t, few.bearing.cpu().numpy(), nodes), self._around(start).matrices(nodes)

    def jump(self, start_us: int, turn: Rotation) -> None:
        """Turn what comes after a time from the left, in world axes."""
        start = (start_us - self.start_us) * _US
        tail, first = self._end()
        for k, time in enumerate(tail.control_times, first):
            if time > start:
                self.control[k] = (turn * Rotation.from_quat(self.control[k])).as_quat()
        self.gaps.append((start, start))

    def visited(self, apart: float, most: int) -> Rotation:
        """Control rotations that were passed, thinned so that neighbours are `apart` radians, at most so many."""
        control = Rotation.from_quat(np.array(self.control[:: max(len(self.control) // (4 * most), 1)]))
        vectors, chosen = control.as_quat(), [0]
        for k in range(1, len(vectors)):
            nearest = np.abs(vectors[chosen] @ vectors[k]).max()
            if nearest < np.cos(0.5 * apart) and len(chosen) < most:
                chosen.append(k)
        return control[np.array(chosen)]

    def adjust(self, grid: SphereGrid, panorama: np.ndarray) -> int:
        """Make the newest events sharpest on top of the panorama; returns evaluations.

        Args:
            grid: of the panorama. panorama: flat memory of the image of older events.
        """
        first = max(self.num_intervals - self.config.window_knots, 0)
        spline = self.spline(first)
        nodes = _nodes(spline.knots, self.config.nodes_per_knot)
        events = sphere_events(*self.recent, nodes)
        if events.num_events == 0:
            return 0
        contrast = SphereContrast(events, grid, panorama)
        free = len(spline.control) - (SPLINE_DEGREE if first else 0)
        problem = SplineContrast(contrast, spline.at(nodes), spline, free, self._prior())
        control, evaluations = sharpen(problem, self.config.window_evaluations, self.config.window_tolerance)
        self.control[first:] = list(control.as_quat())
        return evaluations

    def retire(self) -> tuple[SphereEvents, np.ndarray] | None:
        """Events that have left the window, between nodes, and the rotations (S, 3, 3) of the nodes; None if none."""
        stop = self.num_intervals - self.config.window_knots
        if stop <= self.retired:
            return None
        spline = self.spline(self.retired)
        nodes = _nodes(spline.knots[: len(spline.knots) - (self.num_intervals - stop)], self.config.nodes_per_knot)
        t, bearing = self.recent
        count = int(np.searchsorted(t, nodes[-1]))
        self.kept.append((t[: count : self.stride], bearing[: count : self.stride]))
        self.recent, self.retired = (t[count:], bearing[count:]), stop
        self._thin()
        return sphere_events(t[:count], bearing[:count], nodes), spline.matrices(nodes)

    def refine(self) -> int:
        """Adjust the whole trajectory, coarse to fine; the first rotation stays the identity. Returns evaluations."""
        spline, evaluations = self.spline(), 0
        nodes = _nodes(spline.knots, self.config.nodes_per_knot)
        events, samples = self.events(nodes), spline.at(nodes)
        with ThreadPoolExecutor(1, "refine") as helper:
            for width in self.config.refine_widths:
                contrast = SphereContrast(events, panorama_grid(self.config, width), helper=helper)
                problem = SplineContrast(contrast, samples, spline, len(spline.control), self._prior())
                control, spent = sharpen(problem, self.config.refine_evaluations, self.config.refine_tolerance)
                spline, evaluations = RotationSpline(spline.knots, control, SPLINE_DEGREE), evaluations + spent
        home = spline.rotation(np.zeros(1))[0].inv()
        self.control = list((home * spline.control).as_quat())
        return evaluations

    def panorama(self, width: int) -> np.ndarray:
        """Image (width / 2, width) of all kept events at the present rotations."""
        spline, grid = self.spline(), panorama_grid(self.config, width)
        nodes = _nodes(spline.knots, self.config.nodes_per_knot)
        flat = grid.zeros()
        SphereContrast(self.events(nodes), grid).add_to(flat, spline.matrices(nodes))
        return grid.pixels(flat).copy()

    def events(self, nodes: np.ndarray) -> SphereEvents:
        """All kept events between nodes."""
        parts = [*self.kept, self.recent]
        t, bearing = (np.concatenate(each) for each in zip(*parts, strict=True))
        return sphere_events(t, bearing, nodes)

    def state_dict(self) -> dict[str, Any]:
        """What `from_state` needs."""
        parts = [*self.kept, self.recent]
        return {
            "start_us": self.start_us,
            "knots": self.knots,
            "control": torch.from_numpy(np.array(self.control)),
            "speed": self.speed,
            "retired": self.retired,
            "stride": self.stride,
            "gaps": self.gaps,
            "events": [(torch.from_numpy(t), torch.from_numpy(bearing)) for t, bearing in parts],
        }

    @staticmethod
    def from_state(config: AdjustConfig, focal: float, state: dict[str, Any]) -> RotationTrajectory:
        """The trajectory that `state_dict` came from."""
        out = RotationTrajectory(config, focal, state["start_us"], np.zeros(3))
        out.knots, out.control = list(state["knots"]), list(state["control"].numpy())
        out.speed, out.retired, out.stride = state["speed"], state["retired"], state["stride"]
        out.gaps = list(state["gaps"])
        *out.kept, out.recent = [(t.numpy(), bearing.numpy()) for t, bearing in state["events"]]
        return out

    def _spacing(self, speed: float) -> float:
        """Seconds between knots at a speed in rad/s."""
        shortest, longest = self.config.knot_s
        return float(np.clip(self.config.knot_px / max(speed * self.focal, 1e-9), shortest, longest))

    def _prior(self) -> Priors:
        return Priors(self.config.smoothness, self.config.stiffness, self.focal, tuple(self.gaps))

    def _around(self, t: float) -> RotationSpline:
        """The spline from shortly before a time in seconds to its end."""
        interval = min(bisect_right(self.knots, t) - 1 - SPLINE_DEGREE, self.num_intervals - 1)
        return self.spline(max(interval - 1, 0))

    def _extrapolate(self, start: float, omega: np.ndarray) -> None:
        """Set the control rotations that act after `start`, where nothing has been measured yet."""
        tail, first = self._end()
        origin, times = tail.rotation(np.array([start]))[0], tail.control_times
        first += int(np.searchsorted(times, start, side="right"))
        turns = Rotation.from_rotvec(np.outer(times[times > start] - start, omega))
        self.control[first:] = list((origin * turns).as_quat())

    def _end(self) -> tuple[RotationSpline, int]:
        """The spline of the last control rotations that a batch can touch, and the index of the first of them."""
        first = max(len(self.control) - 2 * SPLINE_DEGREE - self.config.window_knots, 0)
        return self.spline(first), first

    def _thin(self) -> None:
        """Keep every other event once there are too many."""
        if sum(len(t) for t, _ in self.kept) > self.config.max_events:
            self.kept = [(t[::2], bearing[::2]) for t, bearing in self.kept]
            self.stride *= 2


def panorama_grid(config: AdjustConfig, width: int) -> SphereGrid:
    """Grid of a panorama of so many columns with the configured kernel."""
    if config.kernel not in DEGREE:
        raise ConfigError(f"adjust.kernel is {config.kernel!r}; choose one of {', '.join(DEGREE)}")
    return SphereGrid(width, DEGREE[config.kernel], config.gradient)


def _nodes(knots: np.ndarray, per_interval: int) -> np.ndarray:
    """Times (S,) that divide every knot interval of the span evenly."""
    inner = knots[SPLINE_DEGREE : len(knots) - SPLINE_DEGREE]
    share = np.arange(per_interval) / per_interval
    return np.append((inner[:-1, None] + share * np.diff(inner)[:, None]).ravel(), inner[-1])
