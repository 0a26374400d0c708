"""Tracks of the points of a synthetic scene, seen by a camera that moves: with noise, outliers and movers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from evslam.tracking.bootstrap import Bootstrap, Start
from evslam.types import PointFrame

FOCAL = 200.0
STEP_US = 10_000


@dataclass(frozen=True)
class Motion:
    """Steady motion of a camera: velocity (3,) in scene units per second, angular velocity (3,) in rad/s."""

    velocity: tuple[float, float, float]
    omega: tuple[float, float, float]

    def pose(self, seconds: float) -> tuple[np.ndarray, np.ndarray]:
        """R_world_cam (3, 3) and the camera's centre (3,)."""
        return Rotation.from_rotvec(seconds * np.array(self.omega)).as_matrix(), seconds * np.array(self.velocity)


def room(rng: np.random.Generator, number: int = 150) -> np.ndarray:
    """Points (N, 3) at depths of 1.5 to 6, over a field of view of 60 degrees."""
    depth = rng.uniform(1.5, 6.0, number)
    return np.column_stack([rng.uniform(-0.6, 0.6, (number, 2)) * depth[:, None], depth])


def wall(rng: np.random.Generator, number: int = 150) -> np.ndarray:
    """Points (N, 3) of a slanted plane."""
    place = rng.uniform(-0.6, 0.6, (number, 2))
    depth = 3.0 / (1.0 - 0.4 * place[:, 0])
    return np.column_stack([place * depth[:, None], depth])


def tracks(
    points: np.ndarray, motion: Motion, rng: np.random.Generator, seconds: float = 1.5, noise_px: float = 0.3
) -> list[PointFrame]:
    """Frames every 10 ms of the points (N, 3) in view, with the error of each track half constant, half changing."""
    constant = rng.normal(0, noise_px / np.sqrt(2), (len(points), 2))
    frames = []
    for k in range(round(seconds * 1e6) // STEP_US):
        rotation, centre = motion.pose(k * STEP_US * 1e-6)
        local = (points - centre) @ rotation
        bearing = local[:, :2] / local[:, 2:]
        bearing += (constant * min(k / 10, 1) + rng.normal(0, noise_px / np.sqrt(2), bearing.shape)) / FOCAL
        seen = np.flatnonzero((local[:, 2] > 0.1) & (np.abs(bearing) < 0.65).all(1))
        frames.append(PointFrame(k * STEP_US, seen.astype(np.int64), bearing[seen]))
    return frames


def joined(one: list[PointFrame], other: list[PointFrame]) -> list[PointFrame]:
    """The tracks of both, those of the other with numbers from 10 000 on."""
    return [
        PointFrame(a.t_us, np.concatenate([a.ids, b.ids + 10_000]), np.concatenate([a.bearing, b.bearing]))
        for a, b in zip(one, other, strict=True)
    ]


def first_start(bootstrap: Bootstrap, frames: list[PointFrame]) -> Start | None:
    """The start that feeding the frames leads to."""
    return next((start for start in map(bootstrap.add, frames) if start is not None), None)


def direction_error_deg(start: Start, motion: Motion) -> float:
    """Angle between the motion found, first to last frame of the start, and the true one."""
    first = motion.pose(start.frames[0].t_us * 1e-6)
    last = motion.pose(start.frames[-1].t_us * 1e-6)
    true = first[0].T @ (last[1] - first[1])
    found = -start.T_cam_world[-1, :3, :3].T @ start.T_cam_world[-1, :3, 3]
    cosine = true @ found / np.linalg.norm(true) / np.linalg.norm(found)
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
